"""Lets clients take turns by decreasing id. That is not wrong: the order is open."""

import json
import sys

from tracker import Tracker


class Other(Tracker):
    def tell(self, what):
        for id, link in sorted(self.links.items(), reverse=True):
            link.write(json.dumps(what) + "\n")
            link.flush()
            if isinstance(what, int):
                self.changed.wait_for(lambda: id in self.completed)


if __name__ == "__main__":
    Other(int(sys.argv[1]) if sys.argv[1:] else None).run()
