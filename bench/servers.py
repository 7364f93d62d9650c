"""Servers to measure, each in a process of its own on a free port."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
PEERS = HERE / ".peers"
"""Where the harness installs what it compares with."""


@contextmanager
def uploadd(folder: Path, *settings: str) -> Iterator[tuple[int, int]]:
    """A daemon on *folder*: its port and pid."""
    command = [sys.executable, "-m", "uploadd", "serve", str(folder), "--port", "0"]
    for setting in (*settings, "log.level=warning"):
        command += ["--set", setting]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if match := re.search(r"at http://127\.0\.0\.1:(\d+)", line):
                    yield int(match[1]), process.pid
                    break
            else:
                raise RuntimeError("uploadd did not start")
        finally:
            process.terminate()
            process.wait()


NODE_PACKAGES = ("ws@8", "bufferutil@4", "@tus/server@2.4.5", "@tus/file-store@2.1.1")


def install_node_peer() -> bool:
    """Have NODE_PACKAGES in `PEERS`; False without node or without a registry."""
    if not shutil.which("npm"):
        return False
    if not (PEERS / "node_modules" / "@tus" / "file-store").exists():
        PEERS.mkdir(exist_ok=True)
        command = ["npm", "install", "--silent", "--prefix", str(PEERS), *NODE_PACKAGES]
        if subprocess.run(command, capture_output=True).returncode:
            return False
    return True


@contextmanager
def node_tus(folder: Path) -> Iterator[tuple[int, int]]:
    """@tus/server on *folder*: its port and pid."""
    folder.mkdir(exist_ok=True)
    command = ["node", str(HERE / "peers" / "tus_server.mjs"), str(folder), str(PEERS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


@contextmanager
def node_ws(target: Path, size: int) -> Iterator[int]:
    """Node's ws writing to *target*: its port."""
    command = ["node", str(HERE / "peers" / "ws_to_file.js"), str(target), str(size)]
    env = {"NODE_PATH": str(PEERS / "node_modules"), "PATH": "/usr/bin:/bin:/usr/local/bin"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def nginx(root: Path) -> Iterator[int]:
    """nginx with sendfile over *root*: its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    scratch = root.parent / "nginx"
    scratch.mkdir(exist_ok=True)
    conf = scratch / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""  # or it cannot read what is ours
    conf.write_text(
        f"{user}pid {scratch}/pid; error_log stderr; worker_processes 1; daemon off;\n"
        f"events {{}} http {{ access_log off; sendfile on; tcp_nopush on;\n"
        f"client_body_temp_path {scratch}; proxy_temp_path {scratch}; fastcgi_temp_path {scratch};"
        f"uwsgi_temp_path {scratch}; scgi_temp_path {scratch};\n"
        f"server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
    )
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    with subprocess.Popen([binary, "-c", str(conf)]) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            continue
        return


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
