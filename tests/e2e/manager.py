"""A real systemd, without being process 1: ``systemd --user`` in a mount namespace of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

UNITS: Final = Path(__file__).parents[2] / "systemd"
SECONDS: Final = 60.0
POLL: Final = 0.05
LEFT_OUT: Final = ("User", "Group", "ProtectHome", "ProtectKernelLogs", "ProtectKernelTunables")
"""What a manager that is not the system's cannot give, in a container least of all; and what would
hide a Python below /root or /home.  All else of the unit holds."""
_START: Final = """
mount -t tmpfs none /run &&
mkdir -p /run/systemd/system "$XDG_RUNTIME_DIR" && chmod 700 "$XDG_RUNTIME_DIR" &&
exec /lib/systemd/systemd --user --log-target=console
"""


def can_mount() -> str:
    """Why nothing can be mounted here; empty when it can."""
    if os.geteuid() != 0:
        return "only root can mount: sudo"
    if shutil.which("unshare") is None:
        return "no unshare here: apt install util-linux"
    mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/run"]
    run = subprocess.run(mount, capture_output=True, text=True, timeout=SECONDS)
    return run.stderr if run.returncode else ""


def can_run() -> str:
    """Why there can be no such systemd here; empty when there can."""
    for name in ("/lib/systemd/systemd", "systemctl", "nsenter"):
        if shutil.which(name) is None:
            return f"no {name} here: apt install systemd util-linux"
    return can_mount()


class Manager:
    """systemd with the units of this project, in *folder*, which a unit's PrivateTmp= must not
    cover.  The service logs to ``folder/log``; its configuration is ``folder/uploadd.toml``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, folder / "uploadd.toml"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = os.environ | {
            "XDG_RUNTIME_DIR": "/run/user/0",
            "XDG_CONFIG_HOME": str(folder / "config"),
        }

    def __enter__(self) -> Self:
        self.config.touch()
        with (self.folder / "manager.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", _START],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.settles(lambda: self.run("is-system-running").stdout.strip() == "running")
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process is not None
        self.run("kill", "--signal=KILL", "uploadd.service")
        self.run("stop", "uploadd.socket", "uploadd.service")
        self._process.terminate()
        self._process.wait(SECONDS)

    # --- units ------------------------------------------------------------------------------------

    def install(self, *drop_ins: str, port: int, **changed: str) -> None:
        """The units as shipped, but for paths, *port* and *changed*; *drop_ins*: names of ours."""
        self.port = port
        units = self.folder / "config/systemd/user"
        (units / "uploadd.service.d").mkdir(parents=True, exist_ok=True)
        command = f"{sys.executable} -m uploadd"
        service = (UNITS / "uploadd.service").read_text().replace("/usr/bin/uploadd", command)
        service = re.sub(r"(-m uploadd .*)", rf"\1 --config {self.config}", service)
        service = re.sub(rf"(?m)^({'|'.join(LEFT_OUT)})=.*\n", "", service)
        log = f"StandardError=append:{self.folder}/log\n"
        service = service.replace(
            "[Service]\n", f"[Service]\nWorkingDirectory={os.getcwd()}\n{log}"
        )
        for name, value in changed.items():
            service = re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", service)
        (units / "uploadd.service").write_text(service)
        socket = (UNITS / "uploadd.socket").read_text()
        socket = socket.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        socket = socket.replace("/run/uploadd-http.sock", str(self.unix))
        (units / "uploadd.socket").write_text(re.sub(r"(?m)^Socket(User|Group)=.*\n", "", socket))
        for name in drop_ins:
            shutil.copy(UNITS / name, units / "uploadd.service.d" / name)
        assert self.run("daemon-reload").returncode == 0

    @property
    def unix(self) -> Path:
        """Where the unix socket is."""
        return self.folder / "http.sock"

    def run(self, verb: str, *args: str) -> subprocess.CompletedProcess[str]:
        """``systemctl VERB``."""
        assert self._process is not None
        command = ["nsenter", "--mount", f"--target={self._process.pid}"]
        return subprocess.run(
            [*command, "systemctl", "--user", verb, *args],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def do(self, verb: str, *args: str) -> None:
        """``systemctl VERB``, which must go well."""
        run = self.run(verb, *args)
        assert run.returncode == 0, f"{run.stderr}\n{self.log}"

    def show(self, name: str, unit: str = "uploadd.service") -> str:
        """A property of a unit."""
        return self.run("show", "--property", name, "--value", unit).stdout.strip()

    @property
    def pid(self) -> int:
        """The daemon's main process; 0 when it does not run."""
        return int(self.show("MainPID"))

    @property
    def log(self) -> str:
        """All that the daemon has said."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def settles(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* comes true: of another process there is nothing to wait for."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.log
            time.sleep(POLL)
