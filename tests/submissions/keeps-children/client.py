"""Each client starts two children, which stay, and waits for them before it listens."""

import os
import signal
import sys

from peer import Peer


class Wrong(Peer):
    def listen(self):
        for _ in range(2):
            if os.fork() == 0:
                signal.pause()
        os.wait()


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
