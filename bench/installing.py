"""Peers from their package registries, unmodified, versions pinned: installed once and kept.

They lie in ``bench/.peers``, which git ignores, each in a folder of its own; what was not
installed to its end is thrown away and installed again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PEERS = Path(__file__).parent / ".peers"
SECONDS = 300
AS_OF = "2026-11-20"
"""What the npm packages themselves ask for is taken as it was on this day."""
NODE = {
    "ws": "8.23.0",
    "bufferutil": "4.1.0",
    "socket.io": "4.8.4",
    "@tus/server": "2.4.5",
    "@tus/file-store": "2.1.1",
}
PYTHON = {
    "aiohttp": ("aiohttp==3.14.5",),
    "copyparty": ("copyparty==1.20.26",),
    "tuspyserver": (
        *("tuspyserver==4.4.3", "fastapi==0.163.2"),
        *("uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0"),
    ),
}


class Missing(Exception):
    """A peer that cannot be had here; the text says why."""


def program(name: str, package: str) -> str:
    """The path of *name*.  Raises Missing."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"{name} is not here: apt install {package}")
    return found


def node_modules() -> Path:
    """The folder with everything of `NODE` in it.  Raises Missing."""
    packages = [f"{name}@{version}" for name, version in NODE.items()]
    npm = [program("npm", "npm"), "install", "--no-audit", "--no-fund", "--save-exact"]

    def install(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}\n')
        _call(folder, *npm, f"--before={AS_OF}", *packages)

    return _installed("node", [AS_OF, *packages], install) / "node_modules"


def python(name: str) -> Path:
    """The Python of an environment with a peer of `PYTHON`.  Raises Missing."""
    requirements = PYTHON[name]

    def install(folder: Path) -> None:
        _call(folder, sys.executable, "-m", "venv", str(folder))
        _call(folder, str(folder / "bin/python"), "-m", "pip", "install", *requirements)

    return _installed(name, list(requirements), install) / "bin/python"


def _installed(name: str, what: list[str], install: Callable[[Path], None]) -> Path:
    folder, told = PEERS / name, "\n".join(what)
    ready = folder / ".ready"
    if not ready.exists() or ready.read_text() != told:
        print(f"installing {', '.join(what)}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        install(folder)
        ready.write_text(told)
    return folder


def _call(folder: Path, *words: str) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    env = kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        subprocess.run(
            words, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=True, timeout=SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise Missing(f"{' '.join(words[:4])}…: {lines[-1] if lines else error}") from error
