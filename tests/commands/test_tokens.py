"""``uploadd token`` and ``uploadd link``: an operator needs no other tool."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pytest

from uploadd.auth import files
from uploadd.cli import main
from uploadd.protocol import tickets, tokens
from uploadd.protocol.tokens import Scope

BENS = 'the token of "ben"\n'


def test_a_token_is_made_listed_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It alone is on standard output; what is listed is no token."""
    folder = str(tmp_path / "served")
    scopes = ["--scopes", "create, read", "--expires", "30 d"]
    assert main(["token", "new", "ana", folder, *scopes]) == 0
    text, told = capsys.readouterr()
    id = tokens.id_of(text.strip())
    assert id is not None
    assert text.strip() not in told
    assert "restart a daemon" in told
    assert main(["token", "new", "ben", folder]) == 0
    second, told = capsys.readouterr()
    assert "restart" not in told
    assert main(["token", "revoke", str(tokens.id_of(second.strip())), folder]) == 0
    assert capsys.readouterr() == ("", f"{tokens.id_of(second.strip())} is revoked, {BENS}")
    assert main(["token", "ls", folder, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["subject"], shown["scopes"]) == (id, "ana", ["create", "read"])
    assert main(["token", "ls", folder]) == 0
    assert f"{id}  ana  create,read  until " in capsys.readouterr().out
    assert main(["token", "revoke", id, folder]) == 0
    assert main(["token", "revoke", id, folder]) == 1
    assert f"there is no token {id!r}\n→ its ID, " in capsys.readouterr().err
    assert main(["token", "ls", folder]) == 0
    assert f"→ uploadd token new NAME {folder}\n" in capsys.readouterr().err


def test_what_is_to_be_typed_names_the_same_folder_and_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name is no ID, and the line that tells the ID can be typed as it stands."""
    config = tmp_path / "u p.toml"
    config.write_text("")
    given = ["--config", str(config), "--port", "81", "--set", "log.level=info"]
    assert main(["token", "revoke", "ana", str(tmp_path), *given]) == 1
    line = capsys.readouterr().err.strip().partition(" in: ")[2]
    assert shlex.split(line) == ["uploadd", "token", "ls", str(tmp_path), *given]
    assert main(shlex.split(line)[1:]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["new", "@ana"], "begins with a letter"),
        (["new", "ana", "--scopes", "raed"], "'raed' is no scope: create"),
        (["new", "ana", "--expires", "30"], "with its unit"),
    ],
)
def test_a_mistake_makes_no_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    """It says what may be written."""
    assert main(["token", *words[:2], str(tmp_path), *words[2:]]) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert not (tmp_path / ".uploadd").exists()


def test_which_folder_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Or a file with settings that says it."""
    assert main(["token", "ls"]) == 64
    assert main(["link", "send"]) == 64
    assert capsys.readouterr().err.count("which folder?") == 2


def test_links_are_printed_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the server as others reach it."""
    send = ["--for", "ana", "--max-length", "2 GiB", "--url", "https://files.example/"]
    assert main(["link", "send", str(tmp_path), *send]) == 0
    base, _, text = capsys.readouterr().out.strip().partition("#ticket=")
    assert base == "https://files.example/"
    [key] = files.keys(str(tmp_path / ".uploadd" / "keys"))
    ticket, _ = tickets.verify([key], text)
    assert (ticket.may, ticket.owner, ticket.max_length) == ("send", "ana", 2 << 30)
    id = "x" * 24
    assert main(["link", "get", id, str(tmp_path), "--set", "server.names=files.example"]) == 0
    url, _, text = capsys.readouterr().out.strip().partition("?ticket=")
    assert url == f"https://files.example/f/{id}"
    assert tickets.verify([key], text)[0].claims().scopes == {Scope.READ}
    assert main(["link", "get", "../x", str(tmp_path)]) == 64


@pytest.mark.parametrize(("asked", "warned"), [("2 GiB", True), ("1 GiB", False)])
def test_a_link_for_more_than_the_server_takes_is_made_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str, *, warned: bool
) -> None:
    """The lesser limit holds; on standard output there is the link all the same."""
    words = ["--max-length", asked, "--set", "limits.max_length=1 GiB"]
    assert main(["link", "send", str(tmp_path), *words]) == 0
    out, err = capsys.readouterr()
    assert "#ticket=" in out
    told = "the link is for 2.0 GiB, and the server takes 1.0 GiB at most\n→ less with --max-length"
    assert err.startswith(told) if warned else err == ""


def test_a_link_lives_no_longer_than_the_settings_permit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where nothing is said; a longer one is refused with what to write."""
    set = ["--set", 'access.link_life="1 d"']
    assert main(["link", "send", str(tmp_path), "--expires", "2 d", *set]) == 64
    assert 'access.link_life="2 d"' in capsys.readouterr().err
    assert main(["link", "send", str(tmp_path), "--expires", "32 d"]) == 64
    for said, life in ((set, 1), ([], 7)):
        assert main(["link", "send", str(tmp_path), *said]) == 0
        ticket = capsys.readouterr().out.strip().partition("#ticket=")[2]
        [key] = files.keys(str(tmp_path / ".uploadd" / "keys"))
        ends = tickets.verify([key], ticket)[0].expires
        assert ends - 60 < time.time() + life * 86400 - 1 < ends
