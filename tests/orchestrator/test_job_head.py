import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_orchestrator.domain.job_head import FormHead, MalformedBodyError, json_fields

TYPE = "multipart/form-data; boundary=x"
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    + b"\x89PNG" * 500
    + b'\r\n--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nsecret\r\n'
    b'--x\r\nContent-Disposition: form-data; name="model_id"\r\n\r\norg/model\r\n--x--\r\n'
)


@given(st.integers(1, 300))
def test_the_model_is_found_behind_the_file_however_the_body_is_cut(size: int) -> None:
    head = FormHead(TYPE)
    for start in range(0, len(FORM), size):
        head.feed(FORM[start : start + size])

    assert head.fields == {"model_id": "org/model"}


def test_an_endless_field_is_kept_only_in_part() -> None:
    head = FormHead(TYPE)
    head.feed(b'--x\r\nContent-Disposition: form-data; name="model_id"\r\n\r\n')
    for _ in range(100):
        head.feed(b"m" * 1000)
    head.feed(b"\r\n--x--\r\n")

    assert len(head.fields["model_id"]) == 512


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data"])
def test_what_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(MalformedBodyError, match="multipart/form-data with a boundary"):
        FormHead(content_type)


def test_a_broken_form_is_refused() -> None:
    with pytest.raises(MalformedBodyError, match="not well-formed"):
        FormHead(TYPE).feed(b"no boundary at all\r\n")


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"null"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBodyError, match="JSON"):
        json_fields(body)
