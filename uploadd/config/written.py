"""Configurations as text: the file with every default, and what counts, with its origin.  Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from uploadd.config.loading import Loaded
from uploadd.config.spelling import FILE, toml
from uploadd.settings import Section, Setting, sections_of

WIDTH: Final = 100
HIDDEN: Final = "(hidden)"
_HEAD: Final = """\
# uploadd.toml: every setting with its default.   (uploadd config default)
#
# A line that begins with "#" and a name is a default: take the "#" away to change it. What is
# left commented follows the defaults of newer versions.
#
# Sizes:      "8 MiB" (2^20), "10 GB" (10^9), or a bare number of bytes.
# Durations:  "200 ms", "5 s", "2 m", "1 h", "7 d"; a number without a unit is refused.
# [restart]:  takes effect when uploadd is restarted, which no upload minds. All others take
#             effect with "systemctl reload uploadd", or SIGHUP.
#
# Later layers win: defaults, this file, conf.d/*.toml beside it in the order of their names,
# credentials (secrets only), UPLOADD_SECTION__KEY in the environment, --set section.key=value,
# flags of the command line. "uploadd config show" tells what counts and who said so.
#
# An unknown name or a wrong value keeps the daemon from starting, and every mistake is named
# with its line: "uploadd check".
"""


def default_file(known: Mapping[str, Section]) -> str:
    """Every setting of *known* with its default, what it is and why, all commented out."""
    return _HEAD + "".join(_default_section(name, section) for name, section in known.items())


def _default_section(name: str, section: Section) -> str:
    heading = f"#[{name}.NAME]" if section.repeated else f"[{name}]"
    about = f"{section.about} As often as there are names for it." if section.repeated else ""
    lines = [*_comment(about), heading] if about else [heading]
    for key, setting in section.settings.items():
        lines += _comment(setting.why if setting.reloads else f"{setting.why} [restart]")
        if setting.kind.secret:
            lines.append(f'#{key}{FILE} = ""')
        else:
            lines.append(f"#{key} = {toml(setting.default)}")
    return "\n" + "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    marks: dict[str, Any] = {"initial_indent": "# ", "subsequent_indent": "# "}
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False, break_long_words=False, **marks)


def effective(loaded: Loaded[Any]) -> str:
    """What counts of every setting, and who said so; secrets are not shown."""
    blocks = []
    for name, section in sections_of(type(loaded.config)).items():
        values = getattr(loaded.config, name)
        paths: list[tuple[str, ...]]
        paths = [(name, own) for own in values] if section.repeated else [(name,)]
        for path in paths:
            rows = list(_rows(path, section.settings, loaded))
            width = min(48, max(len(row) for row, _ in rows))
            lines = [f"{row:{width}}  # {origin}" for row, origin in rows]
            blocks.append("\n".join([f"[{'.'.join(path)}]", *lines]) + "\n")
    return "\n".join(blocks)


def _rows(
    path: tuple[str, ...], settings: Mapping[str, Setting], loaded: Loaded[Any]
) -> Iterator[tuple[str, str]]:
    for key, setting in settings.items():
        written = loaded.written.get((*path, key))
        if written is None:
            value = toml("" if setting.kind.secret else setting.default)
            yield f"{key} = {value}", "default"
        elif setting.kind.secret and not written.key.endswith(FILE):
            yield f"{key} = {toml(HIDDEN)}", str(written.place)
        else:
            yield f"{written.key} = {toml(written.raw)}", str(written.place)
