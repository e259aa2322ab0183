import sys

from peer import Peer

if __name__ == "__main__":
    Peer(sys.argv[2]).run()
