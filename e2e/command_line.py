"""How a program that make runs takes its options."""

import argparse


def command_line(module: str, words: str | None, make: str) -> argparse.ArgumentParser:
    """A parser for ``python -m module``, described by its docstring; `make` is how the same is asked of make.

    make takes words with dashes for its own options, so that the usage must not show them behind a target.
    """
    described = (words or "").replace("``", "`")
    return argparse.ArgumentParser(prog=f"python -m {module}", description=described, epilog=f"By make: {make}")
