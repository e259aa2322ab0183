"""Says complete after each action, and again after the timestep."""

import sys
from time import sleep

from peer import Peer


class Wrong(Peer):
    def act(self, **action):
        sleep(0.1)
        return super().act(**action)

    def acted(self, time):
        self.complete(time)


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
