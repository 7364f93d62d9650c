"""Names that mean to leave the folder: the daemon's own system calls, watched from outside."""

from __future__ import annotations

import os
import re
import shutil
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from tests.e2e.daemon import Daemon

NAMES = (
    *("../../escaped", "/etc/escaped", "..", ".", "a/../../escaped", "..\\..\\escaped", "esc\0x"),
    *("..%2f..%2fescaped", "%2e%2e/escaped", "\u2025/escaped", "\uff0e\uff0e\uff0fescaped"),
    *(".uploadd/ledger.db", "a" * 300, "con", "escaped\r\nX: y", "-rf", "\u202eescaped", "~/x"),
)
CALLS = "openat,openat2,linkat,renameat,renameat2,mkdirat,unlinkat,symlinkat,link,rename,mkdir"
# The path of a folder that is open, or of none, and what follows it.
_PLACE = re.compile(r'(?:AT_FDCWD(?:<([^>]*)>)?, |\d+<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_CHANGES = re.compile(r"O_CREAT|O_WRONLY|O_RDWR|O_TMPFILE|\b(?:link|rename|mkdir|unlink)")


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[tuple[Daemon, Path]]:
    """A daemon under strace, and where its calls are written down."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not there: apt install strace")
    trace = tmp_path / "trace"
    under = ("strace", "-D", "-f", "-qq", "-y", "-s", "999", "-e", f"trace={CALLS}", "-o")
    with Daemon(tmp_path / "store", under=(*under, str(trace))) as daemon:
        daemon.start()
        yield daemon, trace


def send(url: str, name: str) -> None:
    """An upload of that name on every way that takes one; many are refused."""
    text = b64encode(name.encode()).decode()
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "1"}
    more = {"Upload-Metadata": f"filename {text},relativePath {text}"}
    chunk = {"Content-Type": "application/offset+octet-stream"}
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    told = name.replace("\r\n", " ").encode()
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="%b"\r\n\r\nx\r\n--b--\r\n'
    for method, path, fields, body in (
        ("PUT", "/" + quote(name), {}, b"x"),
        ("POST", "/files/", tus | more | chunk, b"x"),
        ("POST", "/", form, part % told),
    ):
        with suppress(HTTPError):
            urlopen(Request(url + path, body, fields, method=method)).close()


def changed(lines: list[str]) -> Iterator[str]:
    """The paths that calls have changed, or opened to change."""
    for line in lines:
        if not _CHANGES.search(line):
            continue
        for here, folder, path in _PLACE.findall(line):
            yield os.path.normpath(os.path.join(folder or here or "/", path))


def test_no_name_leads_out_of_the_folder(traced: tuple[Daemon, Path]) -> None:
    """Not by PUT, tus or a form; and nothing but the daemon's own touches its own."""
    daemon, trace = traced
    before = len(trace.read_text().splitlines())
    for name in NAMES:
        send(daemon.url, name)
    assert daemon.terminate() == 0
    root = str(daemon.folder)
    calls = trace.read_text().splitlines()[before:]
    paths = {path for path in changed(calls) if not path.startswith(("/proc/", "/dev/null"))}
    assert len([path for path in paths if path.startswith(root)]) > len(NAMES), "it watches"
    assert {path for path in paths if path != root and not path.startswith(root + "/")} == set()
    assert not (daemon.folder.parent / "escaped").exists()
