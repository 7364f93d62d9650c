"""What the settings come to, at a start and at a reload."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from uploadd.config import Config, ConfigError
from uploadd.listening import CannotStart
from uploadd.permissions import Permissions


def with_names(folder: Path, *names: str) -> Config:
    """Settings for *folder*, of which nobody has said whether strangers may come."""
    bare = Config()
    storage, server = replace(bare.storage, dir=str(folder)), replace(bare.server, names=names)
    return replace(bare, storage=storage, server=server)


def test_a_name_of_elsewhere_is_for_others(tmp_path: Path) -> None:
    """On loopback and on a unix socket, behind which a proxy stands; local names are for nobody."""
    for local in (True, False):
        with pytest.raises(CannotStart) as caught:
            Permissions(with_names(tmp_path, "localhost", "a.example"), local=local, public=False)
        assert (caught.value.setting, caught.value.exit_code) == ("server.names", os.EX_CONFIG)
        assert "whoever reaches a.example could upload" in caught.value.message
        for names in ((), ("localhost", "[::1]")):
            made = Permissions(with_names(tmp_path, *names), local=local, public=False)
            assert made.access.strangers


def test_a_reload_lets_nobody_in_whom_a_start_would_not(tmp_path: Path) -> None:
    """Tokens that were made since the start are not asked for yet, so they change nothing."""
    permissions = Permissions(with_names(tmp_path), local=True, public=False)
    (tmp_path / ".uploadd" / "tokens").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"server\.names: nobody is asked for a token"):
        permissions.prepare(with_names(tmp_path, "a.example"))
    permissions.prepare(with_names(tmp_path, "localhost"))()
    again = Permissions(with_names(tmp_path, "a.example"), local=True, public=False)
    assert not again.access.strangers
