"""``python -m stoker_orchestrator``: run one orchestrator, set up by its environment."""

import sys

from stoker_orchestrator.app.process import main

if __name__ == "__main__":
    sys.exit(main())
