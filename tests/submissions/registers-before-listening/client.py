"""Registers first and listens only after timestep 3."""

import random
import sys
from time import sleep

from peer import Peer


class Wrong(Peer):
    def join(self):
        random.seed(self.id)
        self.me = (self.id, "127.0.0.1", random.randint(9000, 9999))
        self.register()

    def complete(self, time):
        if time == 3:
            sleep(2)
            self.listen()
        super().complete(time)


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
