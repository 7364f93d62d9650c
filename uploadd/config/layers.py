"""The layers of a configuration: what was given, by whom, and how to write it there.  Pure.

Each layer lies over the one before: defaults, files, credentials, environment, ``--set``, flags.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, NamedTuple

from uploadd.config.places import place, syntax
from uploadd.config.problems import Place, Problem
from uploadd.config.spelling import BETWEEN, FILE, PREFIX, in_environment, in_file, in_set
from uploadd.settings import Section

FLAGS: Final = {"--host": "server.host", "--port": "server.port"}
"""Flags of ``uploadd serve`` for settings that are often given; DIR is ``storage.dir``."""
DEEPEST: Final = 32
"""Tables and lists in one another; settings have three."""
_TOO_DEEP: Final = "tables and lists stand too deep in one another"


@dataclass(frozen=True, slots=True)
class Sources:
    """What somebody wrote, before it is read."""

    state: str = ""
    """The folder that systemd has made for files (``StateDirectory=``), if any."""
    runtime: str = ""
    """The one for what ends with the daemon (``RuntimeDirectory=``), if any."""
    files: Sequence[tuple[str, str]] = ()
    """Name and text of each file, the later over the earlier."""
    credentials: Mapping[str, str] = field(default_factory=dict)
    """Secrets by the name of their setting, as systemd hands them over."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """``UPLOADD_SECTION__KEY``; all other names are nobody's business here."""
    sets: Sequence[str] = ()
    """``section.key=value``, the value in TOML or plain."""
    flags: Mapping[str, object] = field(default_factory=dict)
    """Values by ``section.key``; None: the flag was not given."""


class Given(NamedTuple):
    """A value for the setting *path*, and the ways to read it: the first that fits counts."""

    place: Place
    path: tuple[str, ...]
    readings: tuple[object, ...]
    spell: Callable[[tuple[str, ...], str], str]
    """How a setting is written in this layer: from its path and its value in TOML."""
    covert: bool = True
    """Whether a secret may stand here: nobody else reads it."""


def givens(sources: Sources, sections: Mapping[str, Section]) -> Iterator[Given | Problem]:
    """All that was given, the last that speaks of a setting counts."""
    return chain(
        from_state(sources.state),
        from_runtime(sources.runtime),
        *(from_file(text, name, sections) for name, text in sources.files),
        from_credentials(sources.credentials, sections),
        from_environment(sources.environment, sections),
        from_sets(sources.sets),
        from_flags(sources.flags),
    )


# --- files --------------------------------------------------------------------------------------


def from_file(text: str, name: str, sections: Mapping[str, Section]) -> Iterator[Given | Problem]:
    text = text.removeprefix("\ufeff")
    try:
        tree = _parsed(text)
    except ValueError as error:
        yield syntax(text, name, error)
        return
    for section, body in tree.items():
        yield from _table(text, name, (section,), body, sections)


def _table(
    text: str, name: str, path: tuple[str, ...], body: Any, sections: Mapping[str, Section]
) -> Iterator[Given | Problem]:
    """What stands in the table *path*; of a repeated section, in each table below it."""
    where = place(text, name, *path)
    section = sections.get(path[0])
    deeper = section is not None and section.repeated and len(path) == 1
    if not isinstance(body, dict):
        yield Problem(where, *_no_table(path, body, section, sections))
    elif section is None:
        yield Problem(where, *unknown_section(path[0], sections))
    else:
        for key, value in body.items():
            if deeper:
                yield from _table(text, name, (*path, key), value, sections)
            else:
                at = place(text, name, *path, key)
                yield Given(at, (*path, key), (value,), in_file, covert=False)


def _no_table(
    path: tuple[str, ...], body: object, section: Section | None, sections: Mapping[str, Section]
) -> tuple[str, str]:
    """Message and hint for a value where a table belongs."""
    key = path[-1]
    if section is not None and not (len(path) > 1 and key in keys_of(section)):
        name = ".".join(path) if len(path) > 1 or not section.repeated else f"{key}.NAME"
        return f'"{key}" is a section', f"write [{name}], once"
    return f'"{key}" stands outside of a section', home_of(key, sections)


def home_of(key: str, sections: Mapping[str, Section]) -> str:
    """Where *key* belongs; empty when that is nowhere."""
    for name, section in sections.items():
        if key in keys_of(section):
            return f"it belongs to [{name}.NAME]" if section.repeated else f"it belongs to [{name}]"
    return ""


def keys_of(section: Section) -> list[str]:
    """All keys that may stand in *section*; of a secret also that which names a file with it."""
    secrets = [name + FILE for name, setting in section.settings.items() if setting.kind.secret]
    return [*section.settings, *secrets]


def unknown_section(name: str, sections: Mapping[str, Section]) -> tuple[str, str]:
    return f'unknown section "{name}"', meant(name, sections)


def meant(word: str, known: Mapping[str, object]) -> str:
    """A question for somebody who may have misspelt one of *known*; all of them if none is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f'did you mean "{near[0]}"?' if near else f"there is {', '.join(known)}"


# --- what is no file ----------------------------------------------------------------------------


def from_state(folder: str) -> Iterator[Given]:
    if folder:
        yield Given(Place("STATE_DIRECTORY"), ("storage", "dir"), (folder,), in_file)


def from_runtime(folder: str) -> Iterator[Given]:
    if folder:
        socket = f"unix:{folder}/admin.sock"
        yield Given(Place("RUNTIME_DIRECTORY"), ("admin", "listen"), (socket,), in_file)


def from_credentials(
    credentials: Mapping[str, str], sections: Mapping[str, Section]
) -> Iterator[Given | Problem]:
    for name, text in sorted(credentials.items()):
        if name.split(".")[0] in sections:  # others may be for others
            where = Place(f"credential {name}")
            yield Given(where, tuple(name.split(".")), (text,), lambda path, _: ".".join(path))


def from_environment(
    environment: Mapping[str, str], sections: Mapping[str, Section]
) -> Iterator[Given | Problem]:
    for name, value in sorted(environment.items()):
        rest = name.removeprefix(PREFIX).lower()
        if not name.startswith(PREFIX):
            continue
        if BETWEEN in rest:
            path = tuple(rest.split(BETWEEN))
            yield Given(Place(name), path, _plain(value), in_environment)
        elif found := _run_together(rest, sections):
            hint = f"two underscores between section and key: {in_environment(found, value)}"
            yield Problem(Place(name), "is no setting", hint)


def _run_together(rest: str, sections: Mapping[str, Section]) -> tuple[str, str] | None:
    """The setting that *rest* names with one underscore; UPLOADD_TOKEN and the like are none."""
    for name, section in sections.items():
        for key in section.settings:
            if rest == f"{name}_{key}":
                return name, key
    return None


def from_sets(sets: Sequence[str]) -> Iterator[Given | Problem]:
    for text in sets:
        name, equals, value = (part.strip() for part in text.partition("="))
        path = tuple(name.split("."))
        if not (equals and len(path) > 1 and all(path)):
            yield Problem(Place(f"--set {text}"), "write it as section.key=value")
        else:
            yield Given(Place("--set"), path, _plain(value), in_set, covert=False)


def from_flags(flags: Mapping[str, object]) -> Iterator[Given]:
    names = {setting: flag for flag, setting in FLAGS.items()}
    for setting, value in flags.items():
        if value is not None:
            where = Place(names.get(setting, "DIR"))
            said = isinstance(value, str) and setting in names
            readings = _plain(str(value)) if said else (value,)
            yield Given(where, tuple(setting.split(".")), readings, in_set, covert=False)


def _plain(value: str) -> tuple[object, ...]:
    """*value* as TOML when it parses, plain text, a list with commas: whichever fits first."""
    return (*_toml(value), value, [part.strip() for part in value.split(",")])


def _toml(value: str) -> tuple[object, ...]:
    """*value* read as one TOML value, or nothing when it is none."""
    try:
        tree = _parsed(f"value = {value}")
    except ValueError:
        return ()
    return (tree["value"],) if len(tree) == 1 else ()


# --- TOML ---------------------------------------------------------------------------------------


def _parsed(text: str) -> dict[str, Any]:
    """What *text* says.  Raises ValueError: TOMLDecodeError, Python's own about endless numbers, or
    for what nobody can look at without being as deep.
    """
    try:
        tree = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if _is_deep(tree, DEEPEST):
        raise ValueError(_TOO_DEEP)
    return tree


def _is_deep(value: object, left: int) -> bool:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not left or any(_is_deep(one, left - 1) for one in below)
