"""How sizes, times and names are said to people."""

from __future__ import annotations

from typing import Final

UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """*count* bytes: ``12.4 GiB``."""
    for unit in UNITS:
        if count < 1024 or unit == UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def compared(more: int, less: int) -> tuple[str, str]:
    """Two sizes of which one is larger; told to the byte where they would read the same."""
    told = size(more), size(less)
    return told if told[0] != told[1] else (f"{more} bytes", f"{less} bytes")


def too_large(length: int, most: int, *, more: bool = False) -> str:
    """Why a file of *length*, or *more*, is refused."""
    file, limit = compared(length, most)
    return f"the file is {'at least ' if more else ''}{file}, the limit here is {limit}"


def duration(seconds: float) -> str:
    """``0.8s``, ``41s``, ``2m 11s``, ``1h 04m``, ``3d 02h``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 48 * 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02}h"


def delay(seconds: float) -> str:
    """When something is done that waits for so long: ``now``, ``in 1.5 s``."""
    return "now" if seconds < 0.1 else f"in {seconds:.1f} s"


def plural(count: int, noun: str) -> str:
    """``1 file``, ``3 files``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """*text* without what a terminal would obey, from file names and servers alike."""
    clean = "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    return clean.encode("utf-8", "replace").decode()
