"""What a setting that reloads is good for: a change of it changes something in a running daemon."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from uploadd.auth import Access
from uploadd.config import Config
from uploadd.measures import Each, Measures
from uploadd.parts import rules
from uploadd.settings import SECTIONS

ROOT = Path(__file__).parents[1] / "uploadd"
RELOADS = [
    (name, key)
    for name, section in SECTIONS.items()
    for key, setting in section.settings.items()
    if setting.reloads and not section.repeated
]


def another(key: str, value: object) -> object:
    """A value of the same kind that is not the same."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case tuple():
            return (*value, "10.0.0.0/8" if key == "proxies" else "https://new.example")
        case _:
            return 12345


def with_another(section: str, key: str) -> Config:
    """The defaults, but for one setting."""
    values: Any = getattr(Config(), section)
    changed = dataclasses.replace(values, **{key: another(key, getattr(values, key))})
    return dataclasses.replace(Config(), **{section: changed})


@pytest.mark.parametrize(("section", "key"), RELOADS)
async def test_a_setting_that_reloads_counts_in_a_daemon_that_runs(section: str, key: str) -> None:
    """It is among the rules of conversations, or what takes it at a reload reads it by name.

    Else ``systemctl reload`` would say that all went well, and change nothing.
    """
    access, measures = Access(listing=True), Measures(Each())
    if rules(with_another(section, key), access, measures) != rules(Config(), access, measures):
        return
    takers = ("parts.py", "permissions.py", "daemon.py")
    source = "".join((ROOT / name).read_text() for name in takers)
    assert f".{key}" in source, "declare it with reloads=False, or give it to one of the parts"
