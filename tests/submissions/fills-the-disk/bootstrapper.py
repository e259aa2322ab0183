"""Writes one file after the other, each small enough, from children that it waits for."""

import os
import sys

from tracker import Tracker

if __name__ == "__main__":
    for number in range(100):
        if os.fork() == 0:
            with open(f"junk-{number}", "wb") as junk:
                junk.write(bytes(1 << 20))
            os._exit(0)
        os.wait()
    Tracker(int(sys.argv[1])).run()
