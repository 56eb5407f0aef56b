"""An unforeseen error, for the log."""

import traceback
from pathlib import PurePath


def report(error: BaseException) -> str:
    """Kinds and places of `error` and of those that led to it, in one line.

    Its text is left out: libraries quote what they were given, and a prompt belongs to its caller.
    """
    told = []
    seen: BaseException | None = error
    while seen is not None:
        places = [f"{PurePath(at.filename).name}:{at.lineno}" for at in traceback.extract_tb(seen.__traceback__)]
        told.append(f"{type(seen).__name__} ({' > '.join(places)})")
        seen = seen.__cause__ or seen.__context__
    return ", after ".join(told)
