"""What a worker and a decoder say to each other: short words on a socket, files and pixels in memory that both have.

All of a picture at once instead of socket buffers by turns: 3 MB cost two changes of process instead of dozens.
"""

import struct
from enum import IntEnum

from stoker_contracts.uploads import MAX_UPLOAD_BYTES, MAX_UPLOAD_PIXELS

SHARED_BYTES = max(MAX_UPLOAD_BYTES, 3 * MAX_UPLOAD_PIXELS)
"""The memory: first the file lies there, then its pixels, height × width × 3, RGB."""
READY = b"R"
"""A decoder's first word."""
LENGTH = struct.Struct("!I")
"""Bytes of the file."""
ANSWER = struct.Struct("!BII")
"""An `Answer` and its two numbers."""


class Answer(IntEnum):
    """What became of a file."""

    PICTURE = 1
    """Width and height."""
    REFUSED = 2
    """How many bytes of the memory are the words, in UTF-8; and 0."""
