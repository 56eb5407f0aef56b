"""Multipart bodies, whole and torn."""

import random

from stoker_contracts.pipelines import FACTS, Pipeline
from tools.fuzz.case import Case, damaged, noise, rarely, request
from tools.fuzz.fields import GOOD, fields
from tools.fuzz.headers import odd
from tools.fuzz.pictures import picture, sound

_CHARSETS = (
    "utf-8", "utf-16", "utf-7", "idna", "punycode", "undefined", "unicode_escape", "hex", "rot13", "latin-1", "\xff", "x" * 300,
)  # fmt: skip
_BOUNDARIES = ("x", "-" * 70, "y" * 5000, "a b", '"', "é", "--", "")
_FILE = 'name="image"; filename="a.png"'
_ODD_FILES = (
    'name="image"', 'filename="a"', "name=image; filename*=utf-8''%ff", "x" * 9000, 'name="prompt"; filename="p"',
    'name="image"; filename=""',
)  # fmt: skip

Parts = list[tuple[str, bytes]]


def form(parts: Parts, image: bytes | None, boundary: str = "x", file: str = _FILE) -> bytes:
    """Fields and a file."""
    mark = f"--{boundary}\r\n".encode()
    said = "Content-Disposition: form-data; "
    body = b"".join(mark + f'{said}name="{name}"\r\n\r\n'.encode() + value + b"\r\n" for name, value in parts)
    if image is not None:
        body += mark + f"{said}{file}\r\nContent-Type: image/png\r\n\r\n".encode() + image + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def good_parts(pipeline: Pipeline) -> Parts:
    """The fields of a good job."""
    return [(name, str(value).encode()) for name, value in GOOD[pipeline].items()]


def odd_form(pipeline: Pipeline, chance: random.Random) -> Case:
    """A form with odd fields and an odd picture, or that is none."""
    given = [(name, str(value).encode(errors="replace")) for name, value in fields(pipeline, chance).items()]
    image = chance.choice((picture(chance), sound("PNG", "RGB", 64, 64), None))
    boundary = chance.choice(_BOUNDARIES)
    body = _torn(form(given, image, boundary, chance.choice(_ODD_FILES) if rarely(chance) else _FILE), chance)
    if rarely(chance):
        many = [(f"f{number}", b"") for number in range(chance.choice((33, 2000)))]
        body = form([*given, *many], image, boundary)
    kind = f"multipart/form-data; boundary={boundary}"
    if rarely(chance):
        kind += f"; charset={chance.choice(_CHARSETS)}"
    return Case("form", request(FACTS[pipeline].route, body, {"Content-Type": kind} | odd(chance)))


def _torn(body: bytes, chance: random.Random) -> bytes:
    match chance.randrange(8):
        case 0:
            return damaged(body, chance)
        case 1:
            return noise(chance, 3000)
        case 2:
            return body.replace(b"--\r\n", b"") + chance.choice((b"", b"\r\n" * 5000, body))
        case _:
            return body


def with_picture(pipeline: Pipeline, chance: random.Random) -> Case:
    """A good form whose picture is odd."""
    body = form(good_parts(pipeline), picture(chance))
    headers = {"Content-Type": "multipart/form-data; boundary=x"} | odd(chance)
    return Case("picture", request(FACTS[pipeline].route, body, headers))
