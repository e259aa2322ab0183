"""Counts how often somebody says complete, not who."""

import sys

from tracker import Tracker


class Wrong(Tracker):
    counted = 0

    def begin(self, time):
        pass

    def complete(self, id, time):
        self.counted += 1

    def is_over(self):
        if self.counted < len(self.links):
            return False
        self.counted -= len(self.links)
        return True


if __name__ == "__main__":
    Wrong(int(sys.argv[1]) if sys.argv[1:] else None).run()
