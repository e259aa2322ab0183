import sys

from tracker import Tracker

if __name__ == "__main__":
    Tracker(int(sys.argv[1]) if sys.argv[1:] else None).run()
