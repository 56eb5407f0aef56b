"""``python -m stoker_operator``: run one operator, set up by its environment."""

import sys

from stoker_operator.app.process import main

if __name__ == "__main__":
    sys.exit(main())
