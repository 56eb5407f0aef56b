"""Kubernetes' timestamps, and lengths of time in words."""

from datetime import UTC, datetime

_MINUTE = 60
_HOUR = 3600


def timestamp(now: float) -> str:
    """Unix seconds as Kubernetes writes them."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_since(moment: str | None, now: float) -> float:
    """How long ago a Kubernetes timestamp was; 0 where there is none."""
    if not moment:
        return 0.0
    return max(0.0, now - datetime.fromisoformat(moment).timestamp())


def seconds_until(moment: str, now: float) -> float:
    """How far ahead a Kubernetes timestamp lies; negative where it has passed."""
    return datetime.fromisoformat(moment).timestamp() - now


def earlier(moment: str, seconds: float) -> str:
    """The moment so many seconds before a Kubernetes timestamp."""
    return timestamp(datetime.fromisoformat(moment).timestamp() - seconds)


def in_words(seconds: float) -> str:
    """A length of time, coarse enough that a status which holds it changes once a minute at most."""
    if seconds < _MINUTE:
        return "less than a minute"
    count, unit = (int(seconds // _MINUTE), "minute") if seconds < _HOUR else (int(seconds // _HOUR), "hour")
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
