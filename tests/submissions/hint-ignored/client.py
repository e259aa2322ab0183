"""Asks down the list, whatever it is hinted at."""

import sys

from peer import Peer


class Wrong(Peer):
    def follow(self, peer, key, hints=3):
        return peer if self.has(peer, key)["have"] else None


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
