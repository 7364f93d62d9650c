"""Rows and runs to compare, without measuring anything."""

from __future__ import annotations

from typing import Any

from bench.rows import Result, Row

MACHINE = {"processor": "a fast one", "processors": "2", "kernel": "6.1"}


def row(contender: str = "uploadd durable", *values: float, **told: Any) -> Row:
    """One row; the same group unless *told* says otherwise."""
    known = {"scenario": "large_tus", "what": "tus PATCH", "place": "tmpfs", "unit": "MB/s"}
    return Row(contender=contender, values=values, **(known | told))


def result(*rows: Row, **told: Any) -> Result:
    """One run."""
    known: dict[str, Any] = {
        "form": "short",
        "began": "2026-11-28",
        "seconds": 1.0,
        "machine": MACHINE,
    }
    known["versions"] = {"trio": "0.35"}
    return Result(rows=rows, **(known | told))
