"""How a value and a setting are written, in each place where one can be given.  Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

PREFIX: Final = "UPLOADD_"
BETWEEN: Final = "__"
FILE: Final = "_file"
"""What is behind the name of a secret where the path of a file with it is given."""


def toml(value: object) -> str:
    """*value* as it stands in a TOML file."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(toml(one) for one in value)}]"
        case Mapping():
            return f"{{ {', '.join(f'{key} = {toml(one)}' for key, one in value.items())} }}"
        case _:
            return str(value)


def in_file(path: tuple[str, ...], value: str) -> str:
    return f"{path[-1]} = {value}"


def in_environment(path: tuple[str, ...], value: str) -> str:
    return f"{PREFIX}{BETWEEN.join(path).upper()}={value}"


def in_set(path: tuple[str, ...], value: str) -> str:
    return f"--set {'.'.join(path)}={value}"
