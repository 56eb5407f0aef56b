import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.app.accept import preferred

OFFERS = ("application/json", "image/png", "image/jpeg", "image/webp")
LOSSY = ("image/jpeg", "image/webp")


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("image/png, */*", "image/png"),
        ("image/png, application/json;q=0.9", "image/png"),
        ("image/png;q=0.8, application/json", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("application/json, image/png", "application/json"),
        ("image/png, application/json", "image/png"),
        ("image/*", "image/png"),
        ("image/*, application/json", "application/json"),
        ("image/*;q=0.5, */*;q=0.1", "image/png"),
        ("image/png;q=0, */*", "application/json"),
        ("image/jpeg", "image/jpeg"),
        ("image/webp, image/jpeg;q=0.9, */*;q=0.1", "image/webp"),
        ("image/png;q=0, image/*", "application/json"),
        ("image/avif", "application/json"),
        ("text/html", "application/json"),
        ("image/png; q = 0.7 , application/json;q=0.6", "image/png"),
        ("image/png;level=1;q=0.2, application/json;q=0.1", "image/png"),
        ("image/png;q=high, application/json;q=0.1", "application/json"),
        ("image/png;q=nan, application/json;q=0.1", "application/json"),
        ("image/png;q=7, application/json;q=0.1", "application/json"),
        ("application/json;q=0, */*;q=0", "application/json"),
    ],
)
def test_the_caller_gets_what_it_would_rather_have(accept: str, media: str) -> None:
    assert preferred(accept, OFFERS, LOSSY) == media


@given(st.text(alphabet="image/pngjw*;q=0.19, ", max_size=80))
def test_any_header_gets_one_of_the_offers_and_a_lossy_one_only_by_its_name(accept: str) -> None:
    media = preferred(accept, OFFERS, LOSSY)

    assert media in OFFERS
    assert media not in LOSSY or media in accept
