"""Needs a module that was not handed in."""

import p2pbootstrapper

if __name__ == "__main__":
    p2pbootstrapper.run()
