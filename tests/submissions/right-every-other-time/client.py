"""Is right or wrong by turns, as the file that TURNS names counts."""

import os
import sys

from peer import Peer


class Wrong(Peer):
    def run(self):
        if self.id == 1:
            with open(os.environ["TURNS"], "a+") as turns:
                turns.write("x")
                self.wrong = turns.tell() % 2 == 0
        super().run()

    def act(self, **action):
        text = super().act(**action)
        return text.upper() if self.id == 1 and self.wrong else text


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
