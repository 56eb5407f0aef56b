"""Whether each committed export has all that its program needs, by what the members declare and what that needs in turn."""

import re
from collections.abc import Iterator
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from e2e.cache import ROOT

WORKSPACE = "stoker-"
"""How the members' names begin: images have their code, not their packages."""
EXPORTS = {
    "operator": "stoker-operator",
    "orchestrator": "stoker-orchestrator",
    "worker": "stoker-worker[diffusers,bench]",
    "worker-stub": "stoker-worker",
    "cli": "stoker-cli",
}
"""Each export and what it was made for."""


def exported(name: str) -> dict[str, str]:
    """The packages of an export that are installed on this platform, with their versions."""
    lines = re.findall(r"^(\w\S+==.+?) *\\?$", (ROOT / f"requirements/{name}.txt").read_text(), re.MULTILINE)
    wanted = [each for each in map(Requirement, lines) if each.marker is None or each.marker.evaluate()]
    return {each.name: str(each.specifier).removeprefix("==") for each in wanted}


def needed(asked: Requirement, seen: set[str]) -> Iterator[Requirement]:
    """What `asked` needs, itself included, but for what was `seen`."""
    if str(asked) in seen:
        return
    seen.add(str(asked))
    yield asked
    for each in map(Requirement, metadata.requires(asked.name) or ()):
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras)):
            yield from needed(each, seen)


def satisfied(asked: Requirement, version: str | None) -> bool:
    """Whether that version of a package, or none of it, is what is asked for."""
    return version is not None and asked.specifier.contains(version)


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_satisfies_its_program(name: str) -> None:
    has = exported(name)
    wanted = [each for each in needed(Requirement(EXPORTS[name]), set()) if not each.name.startswith(WORKSPACE)]
    unmet = [str(each) for each in wanted if not satisfied(each, has.get(canonicalize_name(each.name)))]
    assert unmet == []
