"""Restarted every few seconds while clients of every kind upload: none fails, none begins again.

The units as shipped, under a real systemd; in front nginx as its sample has it, and a slow road.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import browser as browser
from tests.e2e.fronts import Nginx
from tests.e2e.manager import Manager, can_run
from tests.e2e.test_fronts import SAMPLE
from tests.peers.conftest import HERE, VERSIONS, MakeFile
from tests.peers.installing import node
from tests.peers.road import Road, road_to
from tests.peers.test_uppy import BEGIN, site, successful

__all__ = ["site"]

LOG: Final = (
    "log_format storm '$request_method $uri $status $upstream_status $http_upload_offset';"
    " access_log {path} storm;"
)
PATIENCE: Final = 120.0
"""Seconds after the last restart."""
PAGE: Final = 6
"""Connections that Chromium has to one host."""


class Form(NamedTuple):
    """How many uploads of each kind, how long they take undisturbed, and the restarts."""

    rate: float
    seconds: float
    put: int
    jobs: int
    tus_js: int
    pages: int
    curl: int
    restarts: int
    every: float


SHORT: Final = Form(1e6, 8, put=1, jobs=3, tus_js=3, pages=1, curl=3, restarts=2, every=3)
LONG: Final = Form(8e5, 30, put=4, jobs=4, tus_js=12, pages=2, curl=10, restarts=8, every=5)


@pytest.fixture
def manager(site: str) -> Iterator[Manager]:
    """systemd with the units; pages of the site may upload."""
    if reason := can_run():
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="uploadd-", dir="/dev/shm") as folder,
        Manager(Path(folder)) as manager,
    ):
        manager.config.write_text(f'[server]\norigins = ["{site}"]\n')
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        manager.install(port=port)
        manager.do("start", "uploadd.socket", "uploadd.service")
        yield manager


class Storm:
    """The clients of one *form*, which come by *road*; their files are *made*."""

    def __init__(self, form: Form, road: Road, folder: Path, make_file: MakeFile) -> None:
        self.form, self._road, self._folder, self._make = form, road, folder, make_file
        self.files: list[Path] = []
        self._commands: list[subprocess.Popen[str]] = []
        self._pages: list[Page] = []

    def _some(self, count: int, share: int, kind: str) -> list[Path]:
        length = int(self.form.rate * self.form.seconds / share)
        made = [self._make(length, f"{kind}-{len(self.files) + n}.bin") for n in range(count)]
        self.files += made
        return made

    def _run(self, *command: str) -> None:
        state = os.environ | {"XDG_STATE_HOME": str(self._folder / "state")}
        self._commands.append(
            subprocess.Popen(
                command, env=state, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )

    def begin(self, tus_js: Path) -> None:
        """Start the programs."""
        form, url = self.form, self._road.url
        for _ in range(form.put):
            files = [str(path) for path in self._some(form.jobs, form.jobs, "put")]
            words = ("put", "--jobs", str(form.jobs), *files, url)
            self._run(sys.executable, "-m", "uploadd", *words)
        job: dict[str, Any] = {"folder": str(tus_js), "endpoint": f"{url}/files/"}
        job["files"] = [str(path) for path in self._some(form.tus_js, 1, "tus-js")]
        self._run(node(), str(HERE / "storm.mjs"), json.dumps(job))
        for path in self._some(form.curl, 1, "curl"):
            self._run(str(HERE / "storm.sh"), str(path), url)

    def open_pages(self, browser: Browser, site: str, stack: ExitStack) -> None:
        """Give the files of Uppy to pages of the *site*."""
        for _ in range(self.form.pages):
            context = stack.enter_context(browser.new_context())
            context.set_default_timeout(PATIENCE * 1000)
            page = context.new_page()
            page.goto(site)
            page.evaluate(BEGIN, ["Tus", {"endpoint": f"{self._road.url}/files/"}])
            paths = self._some(PAGE if self.form is LONG else 3, 1, "uppy")
            page.set_input_files("input", [str(path) for path in paths])
            self._pages.append(page)

    def end(self) -> None:
        """Wait for all of them; none has failed."""
        for page in self._pages:
            successful(page)
        for command in self._commands:
            said, _ = command.communicate(timeout=PATIENCE)
            assert command.returncode == 0, f"{command.args}\n{said}"

    def kill(self) -> None:
        """End those that have not ended."""
        for command in self._commands:
            command.kill()
            command.wait()


@pytest.mark.parametrize(
    "form",
    [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.long)],
)
def test_restarts_in_a_storm_of_uploads_lose_nothing(
    form: Form,
    manager: Manager,
    browser: Browser,
    site: str,
    tus_js_folders: dict[str, Path],
    make_file: MakeFile,
    tmp_path: Path,
) -> None:
    """Every one finishes, in the upload that it began; less than 1 % is sent twice; no 502."""
    log = tmp_path / "access.log"
    nginx = Nginx(tmp_path, SAMPLE, log=LOG.format(path=log))
    with ExitStack() as stack:
        nginx.start(manager.unix)
        stack.callback(nginx.stop)
        road = stack.enter_context(road_to(nginx.port, form.rate))
        storm = Storm(form, road, tmp_path, make_file)
        stack.callback(storm.kill)
        storm.open_pages(browser, site, stack)
        storm.begin(tus_js_folders[VERSIONS[0]])
        store = manager.folder / "config/uploadd/files"
        growing = store / ".uploadd/growing"
        manager.settles(lambda: len(list(growing.iterdir())) == len(storm.files))
        took = []
        for _ in range(form.restarts):
            time.sleep(form.every)  # a rate of restarts is what is promised
            began = time.monotonic()
            manager.do("restart", "uploadd.service")
            took.append(time.monotonic() - began)
        storm.end()
        sent = road.up
        manager.do("stop", "uploadd.socket", "uploadd.service")  # the log is whole

    total = sum(path.stat().st_size for path in storm.files)
    lines = [line.split() for line in log.read_text().splitlines()]
    resumed = sum(method == "PATCH" and offset not in "0-" for method, *_, offset in lines)
    print(
        f"\n{len(storm.files)} uploads, {total / 1e6:.0f} MB, {form.restarts} restarts of"
        f" {max(took):.1f} s at most: {resumed} resumed over HTTP,"
        f" {100 * (sent / total - 1):.2f} % sent twice"
    )
    assert {path.name: path.read_bytes() for path in store.iterdir() if path.is_file()} == {
        path.name: path.read_bytes() for path in storm.files
    }
    assert list(growing.iterdir()) == []
    begun = sum(line[0] == "POST" and line[2] == "201" for line in lines)
    assert begun == len(storm.files) - form.put * form.jobs
    firsts = [uri for method, uri, _, _, offset in lines if method == "PATCH" and offset == "0"]
    assert len(firsts) == len(set(firsts))
    assert not [line for line in lines if line[2] in ("502", "504") or line[3] in ("502", "504")]
    assert sent < total * 1.01
