"""Does everything right, and stays."""

import sys
import threading

from peer import Peer


class Wrong(Peer):
    def end(self):
        threading.Event().wait()


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
