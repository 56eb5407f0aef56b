"""Where a worker is reached: ``host:port``, or the URL of an external container."""

import functools
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"[A-Za-z0-9._\-:\[\]]+")
_BASE = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=:@%-]*")
"""What a path may consist of (RFC 3986, section 3.3); anything else could break the request line."""


@dataclass(frozen=True, slots=True)
class Address:
    """One worker's address. `base` stands before each route and ends without a slash; `authority` is the header Host."""

    host: str
    port: int
    authority: bytes
    base: bytes = b""
    secure: bool = False


@functools.lru_cache(maxsize=4096)
def parsed(address: str) -> Address:
    """The parts of ``host:port``, ``http://host:port/base`` or ``https://host:port/base``. Raises ValueError for anything else."""
    if "://" not in address:
        host, _, digits = address.rpartition(":")
        return Address(host.strip("[]"), int(digits), address.encode())
    url = urlsplit(address)
    whole = url.hostname and _AUTHORITY.fullmatch(url.netloc) and not url.query and not url.fragment
    if url.scheme not in _PORTS or not whole:
        message = "an address must be host:port or a URL like https://host:port/base"
        raise ValueError(message)
    if not _BASE.fullmatch(url.path):
        message = "the path of an address must be percent-encoded"
        raise ValueError(message)
    port = url.port or _PORTS[url.scheme]
    return Address(url.hostname or "", port, url.netloc.encode(), url.path.rstrip("/").encode(), url.scheme == "https")
