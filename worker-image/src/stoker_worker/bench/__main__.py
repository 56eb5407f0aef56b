"""``python -m stoker_worker.bench``: the same as the command ``stoker-bench``."""

import sys

_NEEDED = {"click", "httpx2", "rich"}


def main() -> None:
    """Run the command, or say what it lacks. The image of the stub engine has not all of it."""
    try:
        from stoker_worker.bench.main import stoker_bench  # noqa: PLC0415 - what it needs may be missing
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        sys.stderr.write(f"Error: {error.name} is not installed here. Install stoker-worker[bench].\n")
        sys.exit(2)
    stoker_bench(prog_name="stoker-bench")


if __name__ == "__main__":
    main()
