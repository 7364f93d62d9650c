"""What /proc/mounts tells."""

from __future__ import annotations

import os
import re
from pathlib import Path


def mounted() -> str:
    """What is mounted now; names may be any bytes."""
    return os.fsdecode(Path("/proc/mounts").read_bytes())


def mounts_of(mounts: str) -> dict[str, tuple[str, str]]:
    """Mount points with source and type; of several on one point the last, which is on top."""
    found = {}
    for line in filter(None, mounts.split("\n")):
        source, point, kind = line.split(" ")[:3]
        name = re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), point)
        found[name] = (source, kind)
    return found


def mount_point(mounts: str, path: str) -> str:
    """Where the file system of *path* is mounted."""
    points = [
        point
        for point in mounts_of(mounts)
        if path == point or path.startswith(point.rstrip("/") + "/")
    ]
    return max(points, key=len)


def filesystem(mounts: str, point: str) -> str:
    """Its type; empty when nothing is mounted there."""
    return mounts_of(mounts).get(point, ("", ""))[1]


def below(mounts: str, path: str) -> list[str]:
    """Everything that is mounted at *path* or in a folder of it."""
    return [point for point in mounts_of(mounts) if point == path or point.startswith(f"{path}/")]
