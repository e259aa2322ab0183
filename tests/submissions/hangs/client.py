"""Client 2 waits for ever in timestep 2; logs are written only at the end."""

import sys
import threading

from peer import Peer


class Wrong(Peer):
    def save(self):
        pass

    def timestep(self, time):
        if (self.id, time) == (2, 2):
            self.wait_for_nobody()
        super().timestep(time)

    def wait_for_nobody(self):
        threading.Event().wait()

    def end(self):
        super().save()


if __name__ == "__main__":
    Wrong(sys.argv[2]).run()
