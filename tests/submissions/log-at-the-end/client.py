"""Writes its log only at the end."""

import sys

from peer import Peer


class Wrong(Peer):
    def save(self):
        pass

    def end(self):
        super().save()


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
