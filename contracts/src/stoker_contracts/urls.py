"""Where the container of somebody else is, as an entry of a models config says it."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from stoker_contracts.resources.model_deployment import MAX_URL

_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?(/([A-Za-z0-9/._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)?")
"""What the API server takes for a URL and an orchestrator can ask: nothing in it needs an escape (RFC 3986, section 3)."""


@dataclass(frozen=True, slots=True)
class EntryUrl:
    """A container that somebody else runs, and what proves to it who asks: a key of the token Secret, or the token itself."""

    url: str
    capacity: int = 1
    token_key: str | None = None
    token: str = field(default="", repr=False)


def checked_url(url: object) -> str:
    """The URL that an entry names. Raises ValueError, in words for its author."""
    if not isinstance(url, str) or len(url) > MAX_URL or not _is_url(url):
        problem = "url must be http:// or https:// with a host, and no user name, query or fragment"
        message = f"{problem}; at most {MAX_URL} characters, others percent-encoded"
        raise ValueError(message)
    return url


def _is_url(text: str) -> bool:
    try:
        return _URL.fullmatch(text) is not None and urlsplit(text).port != 0
    except ValueError:
        return False
