"""The pages of docs/ say what the code does: computed sections are fresh, nothing is missing."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import msgspec
import pytest

from uploadd.errors import GoneReason
from uploadd.protocol import wsmessages as m
from uploadd.protocol.answers import ANSWERS
from uploadd.protocol.api import Listed
from uploadd.protocol.questions import cursor
from uploadd.protocol.wsmessages import Message

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "protocol.md").read_text(encoding="utf-8")
API = (DOCS / "api.md").read_text(encoding="utf-8")
SETTINGS = (DOCS / "configuration.md").read_text(encoding="utf-8")


def load(path: Path) -> ModuleType:
    """The script at *path*, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


diagrams = load(DOCS / "diagrams.py")


def test_the_computed_sections_are_fresh() -> None:
    """If not: python docs/diagrams.py."""
    assert diagrams.computed(PAGE) == PAGE
    assert diagrams.computed(API) == API
    assert diagrams.computed(SETTINGS) == SETTINGS


def test_every_section_that_can_be_computed_is_on_one_page_once() -> None:
    """And no mark is spelled in a way that nobody finds; the states stand on both."""
    both = PAGE + API + SETTINGS
    names = [mark[1] for mark in diagrams.SECTION.finditer(both)]
    assert sorted(names) == sorted([*diagrams.SECTIONS, "seen"])
    assert both.count("<!-- computed") == both.count("<!-- end -->") == len(names)


def test_a_stale_section_is_noticed() -> None:
    """By the check that the command line offers, too."""
    stale = PAGE.replace("| `credit-exceeded` | yes |", "| `credit-exceeded` | no |")
    assert stale != PAGE
    assert diagrams.computed(stale) == PAGE


def test_every_error_is_explained_or_is_never_said_in_a_session() -> None:
    """A new class of errors must be put into one of the two."""
    assert set(diagrams.WHAT_TO_DO) | diagrams.ELSEWHERE == set(ANSWERS)
    assert not set(diagrams.WHAT_TO_DO) & diagrams.ELSEWHERE


def test_every_close_code_of_an_error_is_explained() -> None:
    """Each code that can end a session."""
    assert {ANSWERS[kind].close for kind in diagrams.WHAT_TO_DO} <= set(diagrams.CLOSES)
    assert {m.PROTOCOL_ERROR, m.MESSAGE_TOO_BIG, m.BAD_MESSAGE} <= set(diagrams.CLOSES)


def part(kind: str) -> str:
    """What the page says of the message *kind*."""
    found = re.search(rf"^### `{kind}`\n(.*?)^##", PAGE, re.DOTALL | re.MULTILINE)
    assert found, kind
    return found[1]


@pytest.mark.parametrize(
    "message", sorted(Message.__subclasses__(), key=lambda kind: kind.__name__)
)
def test_every_message_is_described_with_all_its_members(message: type[Message]) -> None:
    """Under a heading of its own, each member in a row, and no row for what is none."""
    kind = message.__struct_config__.tag
    rows = [line.split("|")[1] for line in part(str(kind)).splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    members = {field.encode_name for field in msgspec.structs.fields(message)}
    assert named == members


def test_optional_members_are_called_optional() -> None:
    """And those that are always there are not."""
    for message in Message.__subclasses__():
        text = part(str(message.__struct_config__.tag))
        for field in msgspec.structs.fields(message):
            row = re.search(rf"^\| [^|]*`{field.encode_name}`[^|]* \|([^|]*)\|", text, re.MULTILINE)
            assert row, (message, field.name)
            if field.name not in ("start", "end", "ticket"):
                assert ("optional" in row[1]) is not field.required, (message, field.name)


def test_every_reason_of_gone_and_every_limit_of_welcome_is_named() -> None:
    """They are values, not members."""
    assert all(f"`{reason}`" in part("gone") for reason in get_args(GoneReason))
    limits = [field.encode_name for field in msgspec.structs.fields(m.Limits)]
    assert all(f"`{name}`" in part("welcome") for name in limits)


def test_the_dialogues_of_the_page_are_of_the_protocol() -> None:
    """Every whole message of the examples can be read by the machines."""
    dialogues = PAGE[PAGE.index("## An upload, word for word") :].replace("\n   ", "")
    read = 0
    for side, text in re.findall(r"^([<>]) (\{.*\})$", dialogues, re.MULTILINE):
        if "…" not in text:
            said = m.decode(text, m.FROM_CLIENT if side == ">" else m.FROM_SERVER)
            assert isinstance(said, Message)
            assert json.loads(m.encode(said)) == json.loads(text)
            read += 1
    assert read >= 8


def test_the_page_of_a_list_is_what_is_answered() -> None:
    """Member for member; a list without the page to go on with would be misread as all there is."""
    [shown] = [
        text for text in re.findall(r"```json\n(.*?)```", API, re.DOTALL) if '"next"' in text
    ]
    listed = msgspec.json.decode(shown, type=Listed)
    assert json.loads(msgspec.json.encode(listed)) == json.loads(shown)
    assert listed.next == cursor(listed.uploads[-1].created, listed.uploads[-1].upload)


def test_every_test_that_the_faults_name_is_there() -> None:
    """Else the page promises what nobody looks at."""
    root = DOCS.parent
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (DOCS / "faults.md").read_text("utf-8"))
    assert len(named) > 50
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(
            rf"^(?:async )?def {name}\(", (root / file).read_text("utf-8"), re.MULTILINE
        )
    ]
    assert missing == []


def test_the_command_line_checks_and_rewrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stale: 1. Rewritten: 0."""
    page = tmp_path / "protocol.md"
    page.write_text("<!-- computed: can -->\nold\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr(diagrams, "PAGES", [page])
    assert diagrams.main(["--check"]) == 1
    assert diagrams.main([]) == 0
    assert diagrams.main(["--check"]) == 0
    assert "`flush`" in page.read_text(encoding="utf-8")
