"""Takes its script as the assignment says, and in no other way."""

import argparse

from peer import Peer

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-file", required=True)
    Peer(parser.parse_args().file).run()
