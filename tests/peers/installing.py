"""Foreign clients, unmodified, from their package registries: installed once and kept.

They lie in a folder that git ignores, one for each set of pinned versions.  Two runs at a time
wait for each other; what was not installed to its end is thrown away and installed again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

PEERS: Final = Path(__file__).parents[1] / ".peers"
SECONDS: Final = 300
AS_OF: Final = "2026-11-20"
"""What the pinned packages themselves ask for is taken as it was on this day."""


def program(name: str, package: str) -> str:
    """The path of *name*; the test fails with what to install when it is not there."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not there: apt install {package}", pytrace=False)
    return found


def node() -> str:
    """The path of Node."""
    return program("node", "nodejs")


def npm(name: str, *packages: str) -> Path:
    """The folder where *packages*, each ``name@version``, are in ``node_modules``."""
    words = [program("npm", "npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts"]

    def install(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}\n')
        _call(folder, *words, "--save-exact", f"--before={AS_OF}", *packages)

    return _installed(name, [AS_OF, *packages], install)


def bundle(name: str, source: Path, *packages: str, esbuild: str, format: str = "iife") -> Path:
    """A script for browsers: the module *source*, with the *packages* that it imports.

    A style sheet lies beside it, if one of them has any.  "uploadd" is left for the page to find.
    """
    folder = npm(name, *packages, f"esbuild@{esbuild}")
    texts = b"".join(path.read_bytes() for path in sorted(source.parent.glob("*.*js")))
    out = folder / f"{source.stem}-{hashlib.sha256(texts).hexdigest()[:8]}.js"
    with _alone(name):
        if not out.exists():
            made = folder / "made.js"
            tool, form = str(folder / "node_modules/.bin/esbuild"), f"--format={format}"
            words = [tool, str(source), "--bundle", form, "--external:uploadd", f"--outfile={made}"]
            _call(folder, *words)
            if (style := made.with_suffix(".css")).exists():
                style.rename(out.with_suffix(".css"))
            made.rename(out)
    return out


def pypi(name: str, *requirements: str) -> Path:
    """The Python of an environment of its own with *requirements*, each ``name==version``."""

    def install(folder: Path) -> None:
        _call(folder, sys.executable, "-m", "venv", str(folder))
        _call(folder, str(folder / "bin/python"), "-m", "pip", "install", *requirements)

    return _installed(name, list(requirements), install) / "bin/python"


# --- once -----------------------------------------------------------------------------------------


def _installed(name: str, what: list[str], install: Callable[[Path], None]) -> Path:
    folder, told = PEERS / name, "\n".join(what)
    ready = folder / ".ready"
    with _alone(name):
        if not ready.exists() or ready.read_text() != told:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            install(folder)
            ready.write_text(told)
    return folder


@contextmanager
def _alone(name: str) -> Iterator[None]:
    PEERS.mkdir(exist_ok=True)
    with (PEERS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _call(folder: Path, *words: str) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    ended = subprocess.run(
        words,
        cwd=folder,
        env=kept
        | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "NODE_PATH": str(folder / "node_modules")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    if ended.returncode != 0:
        pytest.fail(f"{' '.join(words)} in {folder} failed:\n{ended.stdout}", pytrace=False)
