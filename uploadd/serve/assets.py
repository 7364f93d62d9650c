"""The files in ``web/``, read once: a daemon serves what it was started with."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from uploadd.protocol import assets
from uploadd.protocol.assets import Asset


def load() -> Mapping[str, Asset]:
    """Every file that is served, by name.  Blocks."""
    found: dict[str, Asset] = {}
    for file in resources.files("uploadd").joinpath("web").iterdir():
        if file.is_file() and (asset := assets.asset(file.name, file.read_bytes())) is not None:
            found[file.name] = asset
    return found
