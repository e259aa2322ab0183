"""Is always a timestep late: what it does takes longer than a timestep."""

import sys

from peer import Peer


class Wrong(Peer):
    late = 0

    def timestep(self, time):
        super().timestep(self.late)
        self.late = time


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
