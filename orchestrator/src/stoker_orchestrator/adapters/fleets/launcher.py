"""Start a program that cannot outlive its parent: ``python -m ...launcher PARENT_PID PROGRAM ARGUMENT...``.

The kernel sends SIGKILL to the program when the parent ends, whatever ended it (prctl(2), PR_SET_PDEATHSIG).
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Bind to the parent, make sure that it still lives, become the program."""
    parent, program = int(arguments[0]), arguments[1:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent has ended")
    os.execv(program[0], program)  # noqa: S606 - the orchestrator's own command line


if __name__ == "__main__":
    main(sys.argv[1:])
