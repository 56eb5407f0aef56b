"""The written pages hold together: links lead somewhere, and what programs go by is told."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker_contracts.errors import ErrorType

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(page for folder in ("docs", "designs", "deploy") for page in sorted((ROOT / folder).rglob("*.md")))]
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def _anchors(page: Path) -> set[str]:
    """Those that a page's headings have where GitHub shows it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _broken(page: Path) -> Iterator[str]:
    for place, anchor in _LINK.findall(page.read_text()):
        target = (page.parent / place) if place else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            yield f"{place}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert list(_broken(page)) == []


def test_the_page_about_http_tells_every_kind_of_error_and_no_other() -> None:
    errors = (ROOT / "docs/reference/http-api.md").read_text().partition("### Errors")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `(\w+)` \|", errors, re.MULTILINE) == list(ErrorType)
