"""How a setting is declared: once, in one call, with all that anybody needs to know of it.  Pure.

A section is a frozen dataclass, a setting one of its fields::

    @section
    class Timeouts:
        '''How long the daemon waits for a peer.'''

        head: float = setting(DURATION, "15 s", "From the first byte ...", reloads=True)

Everything else follows: the type that the rest of the daemon sees, ``conf/uploadd.toml``,
``uploadd config default`` and ``show``, the table in ``docs/configuration.md``, messages about
mistakes, the names in the environment, and what a reload may change.  To add a setting, write it
into its section (``sections.py`` has them all) and run ``make settings``.  A section that comes as
often as the operator likes, ``[hook.NAME]``, stands in ``Config`` as ``hook: Mapping[str, Hook] =
repeated(Hook)``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, dataclass_transform

from uploadd.settings.kinds import Kind, Secret

T = TypeVar("T")
_SETTING: Final = "uploadd"


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of a setting beside its name; *default* as an operator would write it."""

    kind: Kind[Any]
    default: object
    why: str
    """What it is, in its unit, and why one would change it: whole sentences."""
    reloads: bool
    """Whether ``systemctl reload`` changes it; if not, a restart does."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the file: its settings in order, and the dataclass that holds their values."""

    make: type[Any]
    about: str
    settings: Mapping[str, Setting]
    repeated: bool


@dataclass_transform(frozen_default=True, kw_only_default=True)
def section(kind: type[T]) -> type[T]:
    """Make a section of a class whose fields are settings."""
    return dataclass(frozen=True, kw_only=True)(kind)


def setting(kind: Kind[T], default: object, why: str, *, reloads: bool = False) -> T:
    """A field of a section; *default* is read as if it stood in the file."""
    value = Secret() if kind.secret else kind.read(default)
    about = Setting(kind, default, why, reloads)
    # As dataclasses.field itself is typed: what stands in the class is its default.
    field: T = dataclasses.field(default=value, metadata={_SETTING: about})  # type: ignore[assignment]
    return field


def repeated(kind: type[T]) -> Mapping[str, T]:
    """A field of ``Config``: the section *kind*, as often as there are names for it.

    One comes or goes with a reload, so everything in it reloads.
    """
    # Every section is a dataclass; the type of the class does not say so.
    for own in dataclasses.fields(kind):  # type: ignore[arg-type]
        if not own.metadata[_SETTING].reloads:
            raise TypeError(f"{kind.__name__}.{own.name} is in a repeated section: reloads=True")
    field: Mapping[str, T] = dataclasses.field(default_factory=dict, metadata={_SETTING: kind})
    return field


def sections_of(config: type[Any]) -> Mapping[str, Section]:
    """The sections of *config*, the dataclass that holds all of them, in order."""
    found = {}
    for field in dataclasses.fields(config):
        each = field.metadata.get(_SETTING)
        make: type[Any] = each or type(field.default)
        settings = {own.name: own.metadata[_SETTING] for own in dataclasses.fields(make)}
        found[field.name] = Section(make, make.__doc__ or "", settings, repeated=bool(each))
    return found
