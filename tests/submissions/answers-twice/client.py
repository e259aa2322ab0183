"""Says of each key that it was obtained, and that it is unavailable: one of both will be right."""

import sys

from peer import Peer


class Wrong(Peer):
    def acted(self, time):
        word, *rest = self.log[-1]["text"].split()
        if word == "Obtained":
            self.log.append({"time": time, "text": "Content {} is unavailable".format(rest[0])})


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
