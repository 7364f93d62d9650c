"""Tokens and keys as files: made whole, read strictly, revoked by removing one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from uploadd.auth import files
from uploadd.auth.files import Unusable
from uploadd.protocol import tokens
from uploadd.protocol.tokens import Claims, Scope


def test_a_new_token_is_kept_as_a_hash(tmp_path: Path) -> None:
    """The daemon can read it, whoever has made it; the folder around is its own."""
    folder = tmp_path / "state" / "tokens"
    claims = Claims("ana", frozenset({Scope.CREATE}), 2e9)
    text = files.new_token(str(folder), claims)
    [(id, kept)] = files.stored(str(folder)).items()
    assert tokens.id_of(text) == id
    assert kept.claims() == claims
    assert kept.sha256 == tokens.hashed(text)
    [path] = folder.iterdir()
    assert text.removeprefix(f"uploadd_{id}_") not in path.read_text()
    assert (path.stat().st_mode & 0o777, folder.parent.stat().st_mode & 0o777) == (0o644, 0o700)


def test_a_token_in_a_new_folder_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every name on the way to it: whoever was given one could not come any more."""
    synced, fsync = set(), os.fsync

    def note(fd: int) -> None:
        synced.add(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    files.new_token(str(tmp_path / "state" / "tokens"), Claims("ana"))
    folders = {tmp_path, tmp_path / "state", tmp_path / "state" / "tokens"}
    assert set(map(str, folders)) <= synced


def test_a_token_is_revoked_once(tmp_path: Path) -> None:
    """And nothing else is removed."""
    text = files.new_token(str(tmp_path), Claims("ana"))
    files.new_token(str(tmp_path), Claims("ben"))
    id = tokens.id_of(text)
    assert id is not None
    assert files.revoke(str(tmp_path), id)
    assert not files.revoke(str(tmp_path), id)
    assert not files.revoke(str(tmp_path), "../tokens")
    assert [kept.subject for kept in files.stored(str(tmp_path)).values()] == ["ben"]


@pytest.mark.parametrize(
    "change",
    [
        *[{"scopes": ["raed"]}, {"subject": "@x"}, {"sha256": "short"}, {"expire": 7}],
        *[{"expires": -1}, {"expires": "soon"}, {"subject": None}],
    ],
)
def test_a_file_that_is_not_understood_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    """It might have been meant to permit less."""
    files.new_token(str(tmp_path), Claims("ana"))
    [path] = tmp_path.iterdir()
    said = json.loads(path.read_text()) | change
    path.write_text(json.dumps({name: value for name, value in said.items() if value is not None}))
    with pytest.raises(Unusable, match=str(path)):
        files.stored(str(tmp_path))


def test_a_file_with_another_name_is_named(tmp_path: Path) -> None:
    """Half-written ones are passed over."""
    (tmp_path / ".abcd1234.json").write_text("half")
    (tmp_path / "README").write_text("not a token")
    assert files.stored(str(tmp_path)) == {}
    (tmp_path / "Ana.json").write_text("{}")
    with pytest.raises(Unusable, match=r"Ana\.json"):
        files.stored(str(tmp_path))


def test_no_folder_holds_nothing(tmp_path: Path) -> None:
    """And one that cannot be read is named."""
    assert files.stored(str(tmp_path / "none")) == {}
    assert files.keys(str(tmp_path / "none")) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(Unusable):
        files.stored(str(tmp_path / "file"))


def test_the_newest_key_signs(tmp_path: Path) -> None:
    """All of them verify; nobody else may read them."""
    first = files.new_key(str(tmp_path / "keys"))
    [path] = (tmp_path / "keys").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    os.utime(path, ns=(1, 1))
    second = files.new_key(str(tmp_path / "keys"))
    assert files.keys(str(tmp_path / "keys")) == [second, first]


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "é"])
def test_a_weak_key_is_named(tmp_path: Path, text: str) -> None:
    """Not its text."""
    (tmp_path / "a.key").write_text(text)
    with pytest.raises(Unusable, match="32 bytes in hex"):
        files.keys(str(tmp_path))


def test_a_change_is_seen(tmp_path: Path) -> None:
    """A file more, another text, a file less; the same is the same."""
    folder, seen = str(tmp_path), []
    seen.append(files.stamp(folder))
    text = files.new_token(folder, Claims("ana"))
    seen.append(files.stamp(folder))
    (tmp_path / f"{tokens.id_of(text)}.json").write_text("x")
    seen.append(files.stamp(folder))
    files.revoke(folder, tokens.id_of(text) or "")
    seen.append(files.stamp(folder))
    assert len(set(seen)) == 4
    assert files.stamp(folder) == seen[-1]
    assert files.stamp(str(tmp_path / "none")) == files.stamp(str(tmp_path / "none2"))
