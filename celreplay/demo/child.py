"""`python -m celreplay.demo.child PARENT COMMAND…`: a command of celreplay that ends with the process that
started it, whatever ends that: nobody is left to stop a daemon whose demo was killed."""

import ctypes
import os
import signal
import sys

from celreplay.cli import main

_PR_SET_PDEATHSIG = 1  # prctl(2), Linux


def end_with(parent: int) -> None:
    """SIGTERM comes when `parent` has died; at once where it has already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    main(sys.argv[2:])
