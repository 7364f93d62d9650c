"""What is recorded of the machine and of the versions that were measured."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.proc import kibibytes

PACKAGES = ("uploadd", "trio", "trio-websocket", "wsproto", "h11", "websockets", "msgspec")
PROGRAMS = {
    "node": ("node", "--version"),
    "nginx": ("nginx", "-v"),
    "curl": ("curl", "--version"),
    "wrk": ("wrk", "-v"),
    "chromium": ("chromium", "--version"),
}


def machine() -> dict[str, str]:
    """What figures depend on."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = kibibytes(Path("/proc/meminfo").read_text(), "MemTotal")
    found = {
        "processor": cpu[1] if cpu else platform.machine(),
        "processors": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / (1 << 30):.1f} GiB",
        "kernel": platform.release(),
        "system": _system(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }
    if commit := _told(("git", "describe", "--always", "--dirty", "--abbrev=10")):
        found["commit"] = commit
    return found


def versions() -> dict[str, str]:
    """Of ours, of what it stands on, and of programs; peers tell their own."""
    found = {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    for name, command in PROGRAMS.items():
        if number := program_version(*command):
            found[name] = number
    return found


def program_version(*command: str) -> str:
    """The first thing that looks like a version in what *command* says; empty without it."""
    found = re.search(r"\d+(\.\d+)+", _told(command))
    return found[0] if found else ""


def find(name: str) -> str | None:
    """The path of a program, also where it lies outside the PATH of users."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _told(command: tuple[str, ...]) -> str:
    path = find(command[0])
    if path is None:
        return ""
    told = subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=20)
    return (told.stdout + told.stderr).strip()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
