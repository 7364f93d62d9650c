"""Reads what a configuration is made of: files, credentials, the environment.

``FILE`` and ``conf.d/*.toml`` beside it, in the order of their names.  Without ``--config`` the
system's file counts, where there is one, but not for ``uploadd serve DIR``, which needs none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from uploadd.config import Config, ConfigError, Loaded, Place, Problem, Sources, load

SYSTEM: Final = Path("/etc/uploadd/uploadd.toml")
LARGEST: Final = 64 * 1024
"""Bytes of a file with a secret; a larger one is something else."""
LONGEST: Final = 1 << 20
"""Characters of a file with settings; likewise."""


def config_file(named: str | None, folder: str | None) -> Path | None:
    """The file that counts: the one that was *named*, or the system's unless a *folder* was."""
    if named is not None:
        return Path(named)
    return SYSTEM if not folder and SYSTEM.exists() else None


def read_config(
    path: Path | None,
    sets: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str],
) -> Loaded[Config]:
    """The configuration of everything that speaks of it; raises ConfigError.

    Called again, it reads everything again.
    """
    sources = Sources(
        state=environment.get("STATE_DIRECTORY", "").rpartition(":")[2],  # the last is for files
        runtime=environment.get("RUNTIME_DIRECTORY", "").partition(":")[0],
        files=files(path) if path is not None else (),
        credentials=credentials(environment.get("CREDENTIALS_DIRECTORY")),
        environment=environment,
        sets=sets,
        flags=flags or {},
    )
    return load(sources, read_file=secret)


def files(path: Path) -> list[tuple[str, str]]:
    """Name and text of *path* and of what lies in ``conf.d`` beside it; raises ConfigError."""
    read, problems = [], []
    folder = path.parent / "conf.d"
    try:
        more = _beside(folder)
    except (OSError, ValueError) as error:
        more, problems = [], [_unreadable(folder, error)]
    for one in (path, *more):
        try:
            read.append((str(one), _text(one)))
        except (OSError, ValueError) as error:
            problems.append(_unreadable(one, error))
    if problems:
        raise ConfigError(problems)
    return read


def _beside(folder: Path) -> list[Path]:
    """The files of settings in *folder*, if there is one; what is hidden is an editor's.

    Raises OSError; ValueError for what would be waited for.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = [folder / n for n in sorted(names) if n.endswith(".toml") and not n.startswith(".")]
    for one in found:
        if one.exists() and not (one.is_file() or one.is_dir()):
            raise ValueError(f"{one.name} is no file")
    return found


def _text(path: Path) -> str:
    """What *path* holds.  Raises OSError, ValueError."""
    with open(path, encoding="utf-8") as file:
        text = file.read(LONGEST + 1)
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    return text


def _unreadable(path: Path, error: OSError | ValueError) -> Problem:
    return Problem(Place(str(path)), f"cannot be read: {_reason(error)}")


def credentials(folder: str | None) -> dict[str, str]:
    """What systemd hands over (``LoadCredential=section.key:/path``), by name.

    Raises ConfigError.
    """
    if not folder:
        return {}
    try:
        return {
            one.name: one.read_text(encoding="utf-8", errors="replace")
            for one in Path(folder).iterdir()
            if one.is_file() and one.stat().st_size <= LARGEST
        }
    except OSError as error:
        raise ConfigError([_unreadable(Path(f"CREDENTIALS_DIRECTORY={folder}"), error)]) from error


def secret(path: str) -> str:
    """The text of a file that holds a secret; raises ValueError."""
    try:
        status = os.stat(path)
        if status.st_size > LARGEST:
            raise ValueError(f"{path} is too large for a secret: {status.st_size} bytes")
        if status.st_mode & 0o007:
            raise ValueError(f"everybody can read {path}: chmod o= {path}")
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {_reason(error)}") from error


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return (isinstance(error, OSError) and error.strerror) or str(error)
