"""``python -m stoker_worker``: run one worker, set up by its environment."""

import os
import sys

from stoker_worker.app.process import main

if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # A hung model's thread must not keep the process: skip the interpreter's own good-byes.
    os._exit(code)
