"""Which file system a folder is on, as /proc/mounts tells it."""

from __future__ import annotations

import pytest

from bench.mounts import below, filesystem, mount_point, mounts_of

MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
tmpfs /dev/shm tmpfs rw 0 0
/dev/vdb /srv/my\\040disk xfs rw 0 0
overlay /srv overlay rw 0 0
tmpfs /srv tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "point"),
    [
        ("/", "/"),
        ("/home/x", "/"),
        ("/dev/shm", "/dev/shm"),
        ("/dev/shm/x/y", "/dev/shm"),
        ("/dev/shmx", "/"),
        ("/srv/my disk/a", "/srv/my disk"),
        ("/srv/other", "/srv"),
    ],
)
def test_the_longest_mount_point_above_a_path_wins(path: str, point: str) -> None:
    """By whole steps of the path; blanks are escaped in that file."""
    assert mount_point(MOUNTS, path) == point


def test_of_two_mounts_on_one_point_the_upper_one_is_seen() -> None:
    """It hides the other."""
    assert mounts_of(MOUNTS)["/srv"] == ("tmpfs", "tmpfs")
    assert filesystem(MOUNTS, "/") == "ext4"
    assert filesystem(MOUNTS, "/nowhere") == ""


def test_what_is_mounted_below_a_folder_is_found() -> None:
    """By whole steps, too."""
    assert below(MOUNTS, "/srv") == ["/srv/my disk", "/srv"]
    assert below(MOUNTS, "/dev") == ["/dev/shm"]
    assert below(MOUNTS, "/dev/sh") == []


def test_names_may_hold_anything() -> None:
    """They are bytes, and only a line feed ends a line."""
    assert mounts_of("a /x\u0085y ext4 rw 0 0\nb /\udcff ext4 rw 0 0\n") == {
        "/x\u0085y": ("a", "ext4"),
        "/\udcff": ("b", "ext4"),
    }
