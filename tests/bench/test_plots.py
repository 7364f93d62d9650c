"""Which rows make a curve, and what their files are called."""

from __future__ import annotations

from bench.plots import curves, file_name
from tests.bench.results import row


def test_rows_with_a_place_on_the_axis_make_curves_by_contender() -> None:
    """In the order of the axis, each place by itself; rows without figures and tables without an
    axis do not.
    """
    found = curves(
        [
            row("uploadd", 3.0, what="WebSocket, 10 sessions", at=10.0),
            row("uploadd", 5.0, what="WebSocket, 1 sessions", at=1.0),
            row("nginx", 4.0, what="WebSocket, 1 sessions", at=1.0),
            row("nginx", what="WebSocket, 10 sessions", at=10.0, note="failed"),
            row("uploadd", 9.0, what="WebSocket, 1 sessions: peak RSS", unit="MiB", at=1.0),
            row("uploadd", 1.0, what="WebSocket, 1 sessions", at=1.0, place="disk"),
            row("uploadd", 7.0),
        ]
    )
    assert set(found) == {
        *(("WebSocket", "tmpfs", "MB/s"), ("WebSocket", "tmpfs", "MiB")),
        ("WebSocket", "disk", "MB/s"),
    }
    throughput = found["WebSocket", "tmpfs", "MB/s"]
    assert [one.values for one in throughput["uploadd"]] == [(5.0,), (3.0,)]
    assert [one.values for one in throughput["nginx"]] == [(4.0,)]


def test_files_are_named_for_people() -> None:
    """The documentation links to them."""
    assert file_name("tus PATCH", "tmpfs", "MB/s") == "throughput-tus-patch"
    assert (
        file_name("WebSocket", "ext4 with journal", "MiB") == "memory-websocket-ext4-with-journal"
    )
    assert file_name("acks", "tmpfs", "ms") == "ms-acks"
