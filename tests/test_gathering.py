"""What a configuration is made of is found where the documentation says, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from uploadd import gathering
from uploadd.config import ConfigError
from uploadd.gathering import config_file, read_config, secret


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /etc/uploadd; with no file in it yet."""
    folder = tmp_path / "etc"
    (folder / "conf.d").mkdir(parents=True)
    monkeypatch.setattr(gathering, "SYSTEM", folder / "uploadd.toml")
    return folder


def test_files_of_conf_d_lie_over_the_one_that_is_named_in_their_order(system: Path) -> None:
    """Only those that are TOML by name."""
    (system / "uploadd.toml").write_text("[server]\nport = 1\n[limits]\nmax_refs = 1")
    (system / "conf.d/10-a.toml").write_text("[server]\nport = 2\nnames = ['a']")
    (system / "conf.d/20-b.toml").write_text("[server]\nport = 3")
    (system / "conf.d/30-c.toml.dpkg-old").write_text("[server]\nport = 4")
    loaded = read_config(system / "uploadd.toml", environment={})
    config = loaded.config
    assert (config.server.port, config.server.names, config.limits.max_refs) == (3, ("a",), 1)
    assert str(loaded.written["server", "port"].place) == f"{system}/conf.d/20-b.toml:2"


def test_the_systems_file_counts_unless_a_folder_or_a_file_is_named(
    system: Path, tmp_path: Path
) -> None:
    """``uploadd serve DIR`` is the same everywhere."""
    other = tmp_path / "other.toml"
    assert config_file(None, None) is None
    (system / "uploadd.toml").write_text("[server]\nport = 1")
    assert config_file(None, None) == system / "uploadd.toml"
    assert config_file(None, ".") is None
    assert config_file(str(other), None) == config_file(str(other), ".") == other
    assert read_config(None, environment={}).config.server.port == 8080


def test_files_that_cannot_be_read_are_all_named(system: Path) -> None:
    """Missing, no text, no file."""
    (system / "conf.d/1.toml").write_bytes(b"\xff")
    (system / "conf.d/2.toml").mkdir()
    with pytest.raises(ConfigError) as caught:
        read_config(system / "uploadd.toml", environment={})
    assert [str(problem).removeprefix(f"{system}/") for problem in caught.value.problems] == [
        "uploadd.toml: cannot be read: No such file or directory",
        "conf.d/1.toml: cannot be read: it is not UTF-8",
        "conf.d/2.toml: cannot be read: Is a directory",
    ]


def test_what_an_editor_keeps_beside_a_file_is_none(system: Path) -> None:
    """Emacs locks a file by a link that leads nowhere."""
    (system / "uploadd.toml").write_text("[server]\nport = 1")
    (system / "conf.d/.#a.toml").symlink_to("me@host.1:2")
    (system / "conf.d/.hidden.toml").write_text("[server]\nport = 2")
    assert read_config(system / "uploadd.toml", environment={}).config.server.port == 1


@pytest.mark.parametrize("kind", ["file", "fifo", "long"])
def test_what_cannot_be_configuration_is_named(system: Path, kind: str) -> None:
    """A folder that is none might have held what matters; a pipe would be waited for for ever."""
    (system / "uploadd.toml").write_text("[server]\nport = 1")
    folder = system / "conf.d"
    if kind == "file":
        folder.rmdir()
        folder.write_text("")
        told = "conf.d: cannot be read: Not a directory"
    elif kind == "fifo":
        os.mkfifo(folder / "a.toml")
        told = "conf.d: cannot be read: a.toml is no file"
    else:
        (folder / "a.toml").write_text("#" * (gathering.LONGEST + 1))
        told = f"conf.d/a.toml: cannot be read: it is longer than {gathering.LONGEST} characters"
    with pytest.raises(ConfigError) as caught:
        read_config(system / "uploadd.toml", environment={})
    assert str(caught.value) == f"{system}/{told}"


def test_systemds_folder_for_files_counts_when_nothing_else_is_said(tmp_path: Path) -> None:
    """The last of them: StateDirectory=uploadd uploadd/files."""
    environment = {"STATE_DIRECTORY": "/var/lib/uploadd:/var/lib/uploadd/files"}
    assert read_config(None, environment=environment).config.storage.dir == "/var/lib/uploadd/files"
    file = tmp_path / "u.toml"
    file.write_text('[storage]\ndir = "/srv"')
    assert read_config(file, environment=environment).config.storage.dir == "/srv"


def test_credentials_are_what_lies_in_systemds_folder(tmp_path: Path) -> None:
    """Files only, and none that is too large to be a secret."""
    (tmp_path / "auth.key").write_text("x\n")
    (tmp_path / "large").write_bytes(bytes(gathering.LARGEST + 1))
    (tmp_path / "folder").mkdir()
    assert gathering.credentials(str(tmp_path)) == {"auth.key": "x\n"}
    assert gathering.credentials(None) == {}
    with pytest.raises(ConfigError, match="/none: cannot be read"):
        gathering.credentials("/none")


def test_a_secret_is_read_from_a_file_that_is_one(tmp_path: Path) -> None:
    """Not when everybody can read it, or it is too large, no text, or not there."""
    file = tmp_path / "key"
    with pytest.raises(ValueError, match=f"cannot read {file}: No such file"):
        secret(str(file))
    file.write_text("hunter2")
    os.chmod(file, 0o644)
    with pytest.raises(ValueError, match=f"everybody can read {file}: chmod o= {file}"):
        secret(str(file))
    os.chmod(file, 0o640)
    assert secret(str(file)) == "hunter2"
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        secret(str(file))
    os.truncate(file, gathering.LARGEST + 1)
    with pytest.raises(ValueError, match="too large for a secret"):
        secret(str(file))
