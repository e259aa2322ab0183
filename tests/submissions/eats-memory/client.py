"""Client 2 takes more and more memory."""

import sys
from time import sleep

from peer import Peer


class Wrong(Peer):
    def timestep(self, time):
        taken = []
        while self.id == 2:
            taken.append(bytearray(b"x" * (1 << 20)))
            sleep(0.001)
        super().timestep(time)


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
