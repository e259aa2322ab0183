"""Client 2 fails in timestep 2."""

import sys

from peer import Peer


class Wrong(Peer):
    def timestep(self, time):
        if (self.id, time) == (2, 2):
            raise KeyError("no such client")
        super().timestep(time)


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
