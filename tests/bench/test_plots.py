"""Which rows make a curve, and what their files are called."""

from __future__ import annotations

from bench.plots import curves, file_name
from tests.bench.results import row


def test_rows_with_a_place_on_the_axis_make_curves_by_contender() -> None:
    """In the order of the axis; rows without figures and tables without an axis do not."""
    found = curves(
        [
            row("uploadd", 3.0, what="WebSocket, 10 sessions", at=10.0),
            row("uploadd", 5.0, what="WebSocket, 1 sessions", at=1.0),
            row("nginx", 4.0, what="WebSocket, 1 sessions", at=1.0),
            row("nginx", what="WebSocket, 10 sessions", at=10.0, note="failed"),
            row("uploadd", 9.0, what="WebSocket, 1 sessions: peak RSS", unit="MiB", at=1.0),
            row("uploadd", 7.0),
        ]
    )
    assert set(found) == {("WebSocket", "MB/s"), ("WebSocket", "MiB")}
    throughput = found["WebSocket", "MB/s"]
    assert [one.values for one in throughput["uploadd"]] == [(5.0,), (3.0,)]
    assert [one.values for one in throughput["nginx"]] == [(4.0,)]


def test_files_are_named_for_people() -> None:
    """The documentation links to them."""
    assert file_name("tus PATCH", "MB/s") == "throughput-tus-patch"
    assert file_name("WebSocket", "MiB") == "memory-websocket"
    assert file_name("acks", "ms") == "ms-acks"
