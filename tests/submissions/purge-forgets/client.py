"""Purges a key from both lists."""

import sys

from peer import Peer


class Wrong(Peer):
    def purge(self, key):
        self.originators.pop(key, None)
        return super().purge(key)


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
