"""The proxies that people put in front, real ones, with the samples of conf/."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Final, Protocol

import pytest

CONF: Final = Path(__file__).parents[2] / "conf"
NAME: Final = "files.example.com"
BACKEND: Final = "127.0.0.1:8080"


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def program(name: str) -> str:
    """Where it is; the test fails when it is not there."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"{name} is not there: .ci/run installs it", pytrace=False)
    return found


class Front(Protocol):
    """A proxy."""

    port: int

    def start(self, backend: int | Path) -> None:
        """Run it with *backend* behind it, a port of this host or a unix socket."""

    def stop(self) -> None:
        """End it."""


class _Process:
    """Runs a proxy until it listens."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def _run(self, *command: str) -> None:
        with (self._folder / "front.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stderr=log, stdout=log, env=os.environ | {"HOME": str(self._folder)}
            )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                said = (self._folder / "front.log").read_text()
                assert self._process.poll() is None, f"it did not start: {said}"
                continue
            return

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


class Nginx(_Process):
    """nginx by a *sample* of a server."""

    def __init__(
        self, folder: Path, sample: str, *, tls: bool = False, log: str = "access_log off;"
    ) -> None:
        super().__init__(folder)
        self._sample, self._log = sample, log
        self._listen = f"127.0.0.1:{self.port}{' ssl' if tls else ''}"

    def start(self, backend: int | Path) -> None:
        """Run it with *backend* behind it, a port of this host or a unix socket."""
        behind = f"unix:{backend}" if isinstance(backend, Path) else f"127.0.0.1:{backend}"
        text = self._sample.replace("listen 80;", f"listen {self._listen};")
        text = text.replace(BACKEND, behind)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"{kind}_temp_path {self._folder}/{kind};" for kind in kinds)
        user = "user root;" if os.geteuid() == 0 else ""
        (self._folder / "nginx.conf").write_text(
            f"{user} daemon off; pid {self._folder}/pid; worker_processes 1;\n"
            f"events {{}}\nhttp {{ {self._log} {paths}\n{text}\n}}\n"
        )
        self._run(program("nginx"), "-c", str(self._folder / "nginx.conf"), "-e", "stderr")


class Caddy(_Process):
    """Caddy by its sample, without TLS: nobody signs certificates here."""

    def start(self, backend: int | Path) -> None:
        """Run it with *backend* behind it, a port of this host or a unix socket."""
        behind = f"unix/{backend}" if isinstance(backend, Path) else f"127.0.0.1:{backend}"
        text = (CONF / "Caddyfile").read_text().replace(BACKEND, behind)
        text = text.replace(f"\n{NAME} {{", f"\nhttp://:{self.port} {{")
        (self._folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{text}")
        self._run(program("caddy"), "run", "--config", str(self._folder / "Caddyfile"))


class Haproxy(_Process):
    """HAProxy by its sample."""

    def start(self, backend: int | Path) -> None:
        """Run it with *backend* behind it, a port of this host or a unix socket."""
        behind = f"unix@{backend}" if isinstance(backend, Path) else f"127.0.0.1:{backend}"
        text = (CONF / "haproxy.cfg").read_text().replace(BACKEND, behind)
        text = text.replace("bind :80 ", f"bind 127.0.0.1:{self.port} ")
        (self._folder / "haproxy.cfg").write_text(text)
        self._run(program("haproxy"), "-db", "-f", str(self._folder / "haproxy.cfg"))
