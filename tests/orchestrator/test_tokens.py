"""Tokens in files, as a Secret is mounted."""

from pathlib import Path

import pytest

from stoker_orchestrator.adapters.tokens import NoTokenError, Tokens
from stoker_orchestrator.domain.model import Url


def named(key: str) -> Url:
    return Url("https://host", 1, key)


def mounted(folder: Path, version: str, token: str) -> None:
    """What the kubelet does: a new folder, and one link that is turned over to it."""
    (folder / version).mkdir()
    (folder / version / "provider").write_text(token)
    new = folder / "..data_tmp"
    new.symlink_to(version)
    new.replace(folder / "..data")
    if not (folder / "provider").is_symlink():
        (folder / "provider").symlink_to("..data/provider")


def test_a_token_is_read_anew_when_the_secret_is_another_one(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    mounted(tmp_path, "..1", "one\n")
    assert tokens.authorization(named("provider")) == b"Bearer one"

    mounted(tmp_path, "..2", "two\n")

    assert tokens.authorization(named("provider")) == b"Bearer two"


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(tmp_path)
    mounted(tmp_path, "..1", "one")
    tokens.authorization(named("provider"))
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read again"))

    assert tokens.authorization(named("provider")) == b"Bearer one"


def test_a_key_that_is_taken_away_is_missed(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    (tmp_path / "provider").write_text("one")
    tokens.authorization(named("provider"))
    (tmp_path / "provider").unlink()

    with pytest.raises(NoTokenError, match="no key provider"):
        tokens.authorization(named("provider"))


@pytest.mark.parametrize("key", ["../secret", "..data", ".", "a/b", "", "absent"])
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_text("one")
    (tmp_path / "tokens").mkdir()

    with pytest.raises(NoTokenError, match="no key"):
        Tokens(tmp_path / "tokens").authorization(named(key))


@pytest.mark.parametrize("text", ["", "\n", "a b", "a\r\nX-Evil: 1", "schlüssel", "x\x00y"])
def test_what_could_break_a_header_is_no_token(tmp_path: Path, text: str) -> None:
    (tmp_path / "provider").write_bytes(text.encode())

    with pytest.raises(NoTokenError, match=r"the key provider .* one line of visible ASCII"):
        Tokens(tmp_path).authorization(named("provider"))
    if text:
        with pytest.raises(NoTokenError, match="its entry"):
            Tokens().authorization(Url("http://host", token=text))


def test_who_asks_for_none_gets_none_and_without_a_folder_there_are_none() -> None:
    assert Tokens().authorization(Url("http://host")) is None
    assert Tokens().authorization(Url("http://host", token="given")) == b"Bearer given"
    with pytest.raises(NoTokenError, match="no key provider"):
        Tokens().authorization(named("provider"))
