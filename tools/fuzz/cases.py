"""What strangers send to a worker: good jobs, bad jobs, and what is no request at all."""

import json
import random

from stoker_contracts.pipelines import FACTS, Pipeline
from tools.fuzz import no_http
from tools.fuzz.case import Case, damaged, noise, rarely, request
from tools.fuzz.fields import GOOD, fields
from tools.fuzz.forms import form, good_parts, odd_form, with_picture
from tools.fuzz.headers import odd
from tools.fuzz.pictures import sound

_NO_OBJECTS = (
    b"[" * 60_000, b'{"a":' * 30_000, b'{"prompt": NaN}', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"null", b"[]", b'"x"', b"", b"1e999",
)  # fmt: skip
_ROUTES = ("/", "/health", "/ready", "/metrics", "/version", "/hardware/stats", "/docs", "/..%2f..", "/é", "/text-to-image/", "//")
_METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")


def good(pipeline: Pipeline) -> Case:
    """A job that must be done."""
    route = FACTS[pipeline].route
    if FACTS[pipeline].takes_image:
        body, kind = form(good_parts(pipeline), sound("PNG", "RGB", 64, 64)), "multipart/form-data; boundary=x"
    else:
        body, kind = json.dumps(GOOD[pipeline]).encode(), "application/json"
    return Case("good", request(route, body, {"Content-Type": kind}), good=True)


def _odd_json(pipeline: Pipeline, chance: random.Random) -> Case:
    """JSON with odd fields, or that is none."""
    body = json.dumps(fields(pipeline, chance)).encode()
    match chance.randrange(8):
        case 0:
            body = damaged(body, chance)
        case 1:
            body = chance.choice(_NO_OBJECTS)
        case 2:
            body = body.replace(b"red", chance.choice((b"\xff", b"\\ud800", b"\xed\xa0\x80", b"\\u0000")))
        case 3:
            body = b'{"prompt": "p", "prompt": ' + noise(chance, 20) + b"}"
    kind = chance.choice(("application/json", "text/plain", "application/json; charset=utf-16", "", "multipart/form-data"))
    return Case("json", request(FACTS[pipeline].route, body, {"Content-Type": kind} | odd(chance)))


def _cut_off(pipeline: Pipeline, chance: random.Random) -> Case:
    return Case("no http", no_http.wire(FACTS[pipeline].route, good(pipeline).wire, chance), whole=False)


def _elsewhere(_pipeline: Pipeline, chance: random.Random) -> Case:
    """Other routes and methods."""
    return Case("elsewhere", request(chance.choice(_ROUTES), noise(chance, 50), {}, chance.choice(_METHODS)))


def _good(pipeline: Pipeline, _chance: random.Random) -> Case:
    return good(pipeline)


def case(pipeline: Pipeline, chance: random.Random) -> Case:
    """Any of them, those that reach farthest most often."""
    if rarely(chance):
        return chance.choice((_cut_off, _elsewhere, _good))(pipeline, chance)
    if rarely(chance):
        return chance.choice((_odd_json, odd_form))(pipeline, chance)
    if FACTS[pipeline].takes_image:
        return chance.choice((odd_form, with_picture))(pipeline, chance)
    return _odd_json(pipeline, chance)
