"""The orchestrator as its image has it, with a compiled job path.

``python -m tools.compiled`` prints the folder to import it from, with the Python of the image.
"""

import sys
from pathlib import Path

from e2e.cache import made
from e2e.cluster.engine import engine
from e2e.commands import CommandError
from e2e.images.build import build


def compiled() -> Path:
    """The folder with what the image has of our own, copied out of it where that was not done yet. Raises CommandError."""
    containers = engine()
    reference = build(containers, "orchestrator")["orchestrator"]

    def copy(folder: Path) -> None:
        container = containers.docker("create", reference).strip()
        try:
            containers.docker("cp", f"{container}:/app/.", str(folder))
        finally:
            containers.docker("rm", container)

    return made("compiled", reference.rpartition(":")[2], copy)


if __name__ == "__main__":
    try:
        print(compiled())
    except CommandError as error:
        sys.exit(f"The orchestrator could not be compiled: {error}")
