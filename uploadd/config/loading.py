"""From what was given to one frozen ``Config``, with every mistake at once.  Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from uploadd.config.layers import (
    Given,
    Sources,
    givens,
    home_of,
    keys_of,
    meant,
    unknown_section,
)
from uploadd.config.problems import ConfigError, Place, Problem
from uploadd.config.spelling import FILE, toml
from uploadd.settings import Config, Section, Setting, sections_of
from uploadd.settings.together import contradictions

C = TypeVar("C")


class Written(NamedTuple):
    """What a setting was given, and where."""

    key: str
    """Its name there; with `FILE` behind it for a secret that stands in a file."""
    raw: object
    place: Place


@dataclass(frozen=True, slots=True)
class Loaded(Generic[C]):
    """A configuration, and who gave what; what is not in *written* has its default."""

    config: C
    written: Mapping[tuple[str, ...], Written]
    files: tuple[str, ...] = ()
    """Names of the files that were read."""


def load(
    sources: Sources = Sources(),  # noqa: B008 - frozen
    *,
    read_file: Callable[[str], str] | None = None,
) -> Loaded[Config]:
    """The configuration of all *sources*; *read_file* gets the text of a file with a secret.

    Raises ConfigError with every mistake, also of values that a later layer covers.  What
    *read_file* raises as ValueError is one of them.
    """
    loaded = settle(Config, sources, read_file=read_file)
    _check(loaded.config, loaded.written)
    return dataclasses.replace(loaded, files=tuple(name for name, _ in sources.files))


def _check(config: Config, written: Mapping[tuple[str, ...], Written]) -> None:
    """Raises ConfigError for what contradicts itself, where it was *written*."""
    problems = []
    for setting, message, hint in contradictions(config):
        where = written.get(tuple(setting.split(".")))
        place = where.place if where else Place("configuration")
        problems.append(Problem(place, f"{setting} {message}", hint))
    if problems:
        raise ConfigError(problems)


def settle(
    kind: type[C], sources: Sources, *, read_file: Callable[[str], str] | None = None
) -> Loaded[C]:
    """The values of each setting of *kind*, the dataclass of all sections, by itself."""
    known = sections_of(kind)
    problems: list[Problem] = []
    values: dict[tuple[str, ...], Any] = {}
    written: dict[tuple[str, ...], Written] = {}
    for given in givens(sources, known):
        if isinstance(given, Problem):
            problems.append(given)
            continue
        try:
            path, value, raw = _settled(given, known, read_file)
        except _Wrong as wrong:
            problems.append(Problem(given.place, *wrong.args))
            continue
        values[path], written[path] = value, Written(given.path[-1], raw, given.place)
    if problems:
        raise ConfigError(problems)
    return Loaded(_filled(kind, known, values), written)


def _filled(
    kind: type[C], known: Mapping[str, Section], values: Mapping[tuple[str, ...], Any]
) -> C:
    """*kind* with these values, and the defaults for all others."""
    made: dict[str, Any] = {}
    for name, section in known.items():
        tables: dict[str, dict[str, Any]] = {}
        for path, value in values.items():
            if path[0] == name:
                tables.setdefault(path[1] if section.repeated else "", {})[path[-1]] = value
        filled = {own: section.make(**table) for own, table in tables.items()}
        made[name] = filled if section.repeated else filled.get("", section.make())
    return kind(**made)


class _Wrong(Exception):
    """Message and hint for what was given; the place is the caller's."""


def _settled(
    given: Given, known: Mapping[str, Section], read_file: Callable[[str], str] | None
) -> tuple[tuple[str, ...], object, object]:
    """The setting that is meant, its value, and what was written; raises _Wrong."""
    path, setting, from_file = _meant_setting(given.path, known)
    if setting.kind.secret and not from_file and not given.covert:
        value = '"/etc/uploadd/keys/…"'
        wanted = given.spell((*path[:-1], path[-1] + FILE), value)
        raise _Wrong(f"{'.'.join(path)} is a secret: others could read it here", f"write {wanted}")
    first: ValueError | None = None
    for reading in given.readings:
        try:
            if not from_file:
                return path, setting.kind.read(reading), reading
            if not isinstance(reading, str) or read_file is None:
                raise ValueError("expected the path of a file")
            return path, setting.kind.read(read_file(reading)), reading
        except ValueError as error:
            first = first or error
    example = f"for example: {given.spell(given.path, toml(_example(setting, from_file)))}"
    raise _Wrong(f"{'.'.join(given.path)}: {first}", example)


def _example(setting: Setting, from_file: bool) -> object:
    """A value that could be written for *setting*."""
    if setting.kind.secret:
        return "/etc/uploadd/keys/…" if from_file else "…"
    return setting.default if setting.default not in ("", [], "none") else setting.kind.example


def _meant_setting(
    path: tuple[str, ...], known: Mapping[str, Section]
) -> tuple[tuple[str, ...], Setting, bool]:
    """The path of the setting that *path* names, the setting, and whether a file with it is given.

    Raises _Wrong.
    """
    if (section := known.get(path[0])) is None:
        raise _Wrong(*unknown_section(path[0], known))
    if len(path) != (3 if section.repeated else 2):
        raise _Wrong(*_unknown_key(path, section, known))
    name = path[-1]
    if (setting := section.settings.get(name)) is not None:
        return path, setting, False
    secret = section.settings.get(name.removesuffix(FILE))
    if name.endswith(FILE) and secret is not None and secret.kind.secret:
        return (*path[:-1], name.removesuffix(FILE)), secret, True
    raise _Wrong(*_unknown_key(path, section, known))


def _unknown_key(
    path: tuple[str, ...], section: Section, known: Mapping[str, Section]
) -> tuple[str, str]:
    key = path[-1]
    message = f'unknown key "{key}" in [{".".join(path[:-1])}]'
    near = meant(key, dict.fromkeys(keys_of(section))) if key else ""
    return message, home_of(key, known) or near


def changed(old: C, new: C) -> Iterator[tuple[tuple[str, ...], Setting]]:
    """The settings in which *new* differs from *old*, with their paths."""
    for name, section in sections_of(type(old)).items():
        before, after = getattr(old, name), getattr(new, name)
        if not section.repeated:
            before, after = {"": before}, {"": after}
        for own in {**before, **after}:
            one, other = before.get(own, section.make()), after.get(own, section.make())
            for field in dataclasses.fields(section.make):
                if getattr(one, field.name) != getattr(other, field.name):
                    path = (name, own, field.name) if own else (name, field.name)
                    yield path, section.settings[field.name]


def reloaded(old: Config, new: Loaded[Config]) -> tuple[Config, list[str]]:
    """*new*, but *old* in all that only a restart changes; and the names of what waits for one.

    Raises ConfigError when the two do not go together.
    """
    config = new.config
    waiting = [path for path, setting in changed(old, config) if not setting.reloads]
    for section, key in waiting:  # in repeated sections everything reloads
        kept = {key: getattr(getattr(old, section), key)}
        mixed = dataclasses.replace(getattr(config, section), **kept)
        config = dataclasses.replace(config, **{section: mixed})
    _check(config, new.written)
    return config, [".".join(path) for path in waiting]
