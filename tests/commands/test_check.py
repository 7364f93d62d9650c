"""``uploadd check``: what would keep a daemon from starting is told, and nothing is changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_mistakes import AS_OTHERS
from uploadd.cli import main


def test_a_good_configuration_is_called_good_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the folder is not there yet; quiet says nothing."""
    file = tmp_path / "u.toml"
    for folder in (tmp_path, tmp_path / "a/b"):
        file.write_text(f'[storage]\ndir = "{folder}"\n')
        assert main(["check", "--config", str(file)]) == os.EX_OK
        assert capsys.readouterr() == (f"the configuration is good ({folder})\n", "")
        assert main(["check", "-q", "--config", str(file)]) == os.EX_OK
        assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == [file]


def test_a_bad_one_is_refused_with_every_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the daemon would, with its exit code."""
    file = tmp_path / "u.toml"
    file.write_text("[limits]\nmax_refs = 0\n[logs]\n")
    assert main(["check", "--config", str(file)]) == os.EX_CONFIG
    told = capsys.readouterr().err
    assert f"{file}:2: limits.max_refs: expected at least 1, not 0\n" in told
    assert f'{file}:3: unknown section "logs"\n' in told


def test_a_hook_that_cannot_be_run_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it is asked would be refused, and what it is told never arrive."""
    file, program = tmp_path / "u.toml", tmp_path / "tell"
    file.write_text(f'[hook.a]\nrun = ["/nowhere/tell"]\n[hook.b]\nrun = ["{program}", "x"]\n')
    program.write_text("#!/bin/sh\n")
    assert main(["check", "--config", str(file)]) == os.EX_CONFIG
    told = capsys.readouterr().err
    why = "/nowhere/tell cannot be run: No such file or directory"
    assert f"{file}:2: hook.a.run: {why}\n" in told
    assert f"{file}:4: hook.b.run: {program} cannot be run: It is not executable\n" in told
    program.chmod(0o755)
    file.write_text(f'[hook.b]\nrun = ["{program}", "x"]\n')
    assert main(["check", "--config", str(file)]) == os.EX_OK
    program.unlink()
    program.mkdir()
    assert main(["check", "--config", str(file)]) == os.EX_CONFIG


def test_a_certificate_without_its_key_names_the_setting_that_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file may hold both; this one does not."""
    cert = tmp_path / "c.pem"
    cert.write_text("")
    assert main(["check", "--set", f"tls.cert={cert}"]) == os.EX_CONFIG
    told = f"{cert} holds no certificate with its key in PEM, and tls.key is not set\n"
    assert told in capsys.readouterr().err


def test_a_port_that_cannot_be_is_told_which_could(capsys: pytest.CaptureFixture[str]) -> None:
    """A number is read as one, on the command line, too."""
    assert main(["check", "--port", "80910"]) == os.EX_CONFIG
    told = "--port: server.port: expected at most 65535, not 80910\n"
    assert told in capsys.readouterr().err


def test_names_without_tokens_are_told_what_to_type_and_where_they_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two ways out, and each reads as one."""
    file = tmp_path / "u.toml"
    file.write_text('[server]\nnames = ["files.example.com"]\n')
    assert main(["check", "--config", str(file), str(tmp_path)]) == os.EX_CONFIG
    one = f"→ uploadd token new NAME {tmp_path}, for each who may upload"
    assert f"\n{one}; or change names in {file}:2\n(or --set access" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_cannot_be_written_to_is_told_with_its_line(tmp_path: Path) -> None:
    """Whose it is and what to type, as the daemon would."""
    folder, file = tmp_path / "srv", tmp_path / "u.toml"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    file.write_text(f'[storage]\ndir = "{folder}"\n')
    command = [*AS_OTHERS, sys.executable, "-m", "uploadd", "check", "--config", str(file)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == os.EX_NOPERM
    assert run.stderr == (
        f"cannot write to {folder}: owned by 12345, mode 0755, running as root\n"
        f"→ sudo install -d -o root -g root -m 0750 {folder}; or change dir in {file}:2\n"
        f"(or the unit lacks ReadWritePaths={folder}: systemctl edit uploadd)\n"
    )


def test_what_the_daemon_would_not_start_with_is_not_called_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address that everybody reaches, or a name behind a proxy, and no tokens; keys that are
    not there.
    """
    public = ["check", "--set", "server.host=0.0.0.0"]
    assert main(public) == os.EX_OK
    assert main([*public, str(tmp_path)]) == os.EX_CONFIG
    assert "nobody is asked for a token" in capsys.readouterr().err
    assert main([*public, "--set", "access.anonymous=yes", str(tmp_path)]) == os.EX_OK
    named = ["check", "--set", "server.names=localhost,files.example.com", str(tmp_path)]
    assert main(named) == os.EX_CONFIG
    assert "whoever reaches files.example.com could upload" in capsys.readouterr().err
    assert main([*named, "--set", "access.anonymous=yes"]) == os.EX_OK
    assert main(["check", "--set", "server.names=localhost", str(tmp_path)]) == os.EX_OK
    (tmp_path / ".uploadd" / "tokens").mkdir(parents=True)
    assert main([*public, str(tmp_path)]) == main(named) == os.EX_OK
    keys = ["--set", "access.jwt_keys=/none/jwks.json", "--set", "access.jwt_audience=uploads"]
    assert main(["check", *keys]) == os.EX_CONFIG
    assert "/none/jwks.json" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["tokens", "link_keys"])
def test_tokens_and_keys_do_not_lie_where_uploads_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    """A client names its files, and the folders around them: it would make itself a token."""
    root = tmp_path / "served"
    (root / key).mkdir(parents=True)
    for inside in (root / key, root, tmp_path / "served" / ".." / "served" / "a" / "b"):
        assert main(["check", "--set", f"access.{key}={inside}", str(root)]) == os.EX_CONFIG
        assert f"access.{key} lies where uploads go" in capsys.readouterr().err
    for apart in (tmp_path / "apart", tmp_path / "served-tokens", root / ".uploadd" / "x"):
        assert main(["check", "-q", "--set", f"access.{key}={apart}", str(root)]) == os.EX_OK
