"""What is remembered of an upload between two runs of the command."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.client.state import KEEP_SECONDS, Known, States, directory

KNOWN = Known("/home/ana/holiday.mp4", 123, 456, "http://host/")


def test_what_is_saved_is_found_until_it_is_forgotten(tmp_path: Path) -> None:
    """Also by another process, which has another States."""
    folder = tmp_path / "new" / "uploadd"
    assert States(folder).find(KNOWN) is None
    States(folder).forget(KNOWN)
    States(folder).save(KNOWN, "u1")
    States(folder).save(KNOWN, "u2")
    assert States(folder).find(KNOWN) == "u2"
    States(folder).forget(KNOWN)
    assert States(folder).find(KNOWN) is None
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [
        KNOWN._replace(path="/home/ana/holiday.mp5"),
        KNOWN._replace(size=124),
        KNOWN._replace(mtime_ns=457),
        KNOWN._replace(server="https://host/"),
        KNOWN._replace(name="video.mp4"),
        KNOWN._replace(link="ticket.a.b"),
    ],
)
def test_another_file_state_or_server_is_another_upload(tmp_path: Path, other: Known) -> None:
    """All of it must be the same."""
    states = States(tmp_path)
    states.save(KNOWN, "u1")
    assert states.find(other) is None


@given(
    st.tuples(
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        st.integers(0),
        st.integers(),
        st.just("s"),
    ),
    st.tuples(
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        st.integers(0),
        st.integers(),
        st.just("s"),
    ),
)
def test_different_files_have_different_names(
    one: tuple[str, int, int, str], other: tuple[str, int, int, str]
) -> None:
    """Which are plain, whatever the file is called."""
    assert (Known(*one).id == Known(*other).id) == (one == other)
    assert Known(*one).id.isalnum()


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    """An id is the right to append."""
    States(tmp_path / "folder").save(KNOWN, "u1")
    [path] = (tmp_path / "folder").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"upload":7}', b"\xff\xfe"])
def test_a_broken_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    """It starts anew, and the next save replaces it."""
    states = States(tmp_path)
    states.save(KNOWN, "u1")
    [path] = tmp_path.iterdir()
    path.write_bytes(content)
    assert states.find(KNOWN) is None
    states.save(KNOWN, "u2")
    assert states.find(KNOWN) == "u2"


def test_a_name_that_is_not_text_can_be_remembered(tmp_path: Path) -> None:
    """File names are bytes."""
    known = KNOWN._replace(path=os.fsdecode(b"/home/\xff\xfe"))
    States(tmp_path).save(known, "u1")
    assert States(tmp_path).find(known) == "u1"


def test_what_nobody_came_back_for_is_forgotten(tmp_path: Path) -> None:
    """When the next command saves something; the folder does not grow for ever."""
    states = States(tmp_path)
    states.save(KNOWN, "u1")
    [path] = tmp_path.iterdir()
    old = time.time() - KEEP_SECONDS - 60
    os.utime(path, (old, old))
    later = States(tmp_path)
    later.save(KNOWN._replace(size=1), "u2")
    assert later.find(KNOWN) is None
    assert later.find(KNOWN._replace(size=1)) == "u2"


def test_the_folder_is_where_the_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is to be ignored (XDG Base Directory Specification)."""
    monkeypatch.setenv("HOME", "/home/ana")
    for value, expected in (
        ("/state", "/state/uploadd"),
        ("", "/home/ana/.local/state/uploadd"),
        ("state", "/home/ana/.local/state/uploadd"),
    ):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert directory() == Path(expected)
