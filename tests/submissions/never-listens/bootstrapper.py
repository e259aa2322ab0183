"""Gets ready for ever."""

import threading


def get_ready():
    threading.Event().wait()


if __name__ == "__main__":
    get_ready()
