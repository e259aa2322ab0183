"""Starts children that leave its session, are forked twice, and stay."""

import os
import signal
import sys

from peer import Peer


class Wrong(Peer):
    def join(self):
        for again in (False, True):
            if os.fork() == 0:
                os.setsid()
                if again and os.fork():
                    os._exit(0)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                while True:
                    signal.pause()
        super().join()


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
