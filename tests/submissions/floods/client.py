"""Client 2 says what it does without end."""

import sys

from peer import Peer


class Wrong(Peer):
    def timestep(self, time):
        while self.id == 2:
            print("still looking" * 1000)
        super().timestep(time)


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
