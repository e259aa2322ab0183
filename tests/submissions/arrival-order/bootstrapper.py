"""Lists clients in the order in which they came."""

import sys

from tracker import Tracker


class Wrong(Tracker):
    def listed(self):
        return [(id, *self.addresses[id]) for id in self.registered]


if __name__ == "__main__":
    Wrong(int(sys.argv[1]) if sys.argv[1:] else None).run()
