"""``--exclude``: patterns as in .gitignore, without ``!``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_FOLDERS: Final = "(?:.*/)?"  # any number of them, also none
_SET: Final = re.compile(r"([!^]?)(\]?[^\]]+|\])\]")  # behind its [; a ] may be its first member


class Patterns:
    """What is left out.  Raises ValueError: an empty pattern.

    A pattern without ``/`` is for names, at any depth; one with ``/`` at its beginning or in its
    middle is for the path below the folder that was named.  ``/`` at the end: only folders.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._any = [_compile(text) for text in texts if not text.endswith("/")]
        self._folders = [_compile(text) for text in texts]

    def match(self, relative: str, *, folder: bool) -> bool:
        """Whether *relative*, with ``/`` between its steps, is left out.

        Those above it are asked before: what lies in a folder that is left out is never seen.
        """
        return any(
            pattern.fullmatch(relative) for pattern in (self._folders if folder else self._any)
        )


def _compile(text: str) -> re.Pattern[str]:
    steps = text.strip("/").split("/")
    if steps == [""]:
        raise ValueError(f"--exclude {text!r} matches nothing")
    anchored = "/" in text.rstrip("/")
    expression = "" if anchored else _FOLDERS
    for step in steps[:-1]:
        expression += _FOLDERS if step == "**" else f"{_step(step)}/"
    expression += ".+" if steps[-1] == "**" else _step(steps[-1])
    try:
        return re.compile(expression, re.DOTALL)
    except re.error as error:
        raise ValueError(f"--exclude {text!r} is no pattern: {error.msg}") from None


def _step(step: str) -> str:
    """One step of a path: ``*``, ``?`` and ``[...]`` as in the shell; none of them is a ``/``."""
    out, at = "", 0
    while at < len(step):
        char = step[at]
        at += 1
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "\\" and at < len(step):
            out += re.escape(step[at])
            at += 1
        elif char == "[" and (found := _SET.match(step, at)):
            out += _set(found[1], found[2])
            at = found.end()
        else:
            out += re.escape(char)
    return out


def _set(negation: str, members: str) -> str:
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", members)
    return f"(?!/)[{'^' if negation else ''}{escaped}]"
