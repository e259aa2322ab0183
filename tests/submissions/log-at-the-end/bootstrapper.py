"""Writes its log only at the end."""

import sys

from tracker import Tracker


class Wrong(Tracker):
    def save(self):
        pass

    def end(self):
        super().save()


if __name__ == "__main__":
    Wrong(int(sys.argv[1]) if sys.argv[1:] else None).run()
