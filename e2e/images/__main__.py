"""``python -m e2e.images [NAME ...]``: build the images, or those named, and print their references."""

import sys

from e2e.cluster.engine import engine
from e2e.command_line import command_line
from e2e.commands import CommandError
from e2e.images.build import NAMES, build


def main() -> int:
    """Build and tell."""
    parser = command_line("e2e.images", __doc__, 'make images IMAGES="worker-stub operator"')
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; all where none is named")
    chosen = parser.parse_args()
    try:
        for reference in build(engine(), *(chosen.names or NAMES)).values():
            print(reference)
    except CommandError as error:
        print(f"The images could not be built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
