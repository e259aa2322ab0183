"""Listens on another port than everybody expects."""

import sys

from tracker import Tracker


class Wrong(Tracker):
    port = 8889


if __name__ == "__main__":
    Wrong(int(sys.argv[1]) if sys.argv[1:] else None).run()
