"""A timestep is over when its time is over; nobody is waited for."""

import sys
from time import monotonic

from tracker import Tracker


class Wrong(Tracker):
    def is_over(self):
        until = monotonic() + 0.3
        while monotonic() < until:
            self.changed.wait(until - monotonic())
        return True


if __name__ == "__main__":
    Wrong(int(sys.argv[1]) if sys.argv[1:] else None).run()
