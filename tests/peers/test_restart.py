"""The daemon is restarted in the middle of an upload: foreign clients go on, and create nothing."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

import pytest

from tests.browser.conftest import Server
from tests.peers.conftest import (
    PATIENCE,
    VERSIONS,
    MakeFile,
    TusJs,
    TusJsMaker,
    Tuspy,
    has_written,
    published,
)
from tests.peers.proxy import Proxy, proxied

LENGTH: Final = 8_000_000
old, new = VERSIONS

every_end = pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])


def restart(daemon: Server, proxy: Proxy, end: str) -> int:
    """End the daemon when half of the upload is there, and start it; the offset it had told."""
    proxy.until_held()
    assert has_written(daemon, proxy.content)
    target = proxy.appends()[-1].target
    head = Request(daemon.url + target, method="HEAD", headers={"Tus-Resumable": "1.0.0"})

    def is_told() -> bool:
        with urlopen(head) as answer:
            return int(answer.headers["Upload-Offset"]) == proxy.content

    assert daemon.settles(is_told, PATIENCE)
    if end == "SIGTERM":
        daemon.stop()
    else:
        daemon.kill()
    daemon.start()
    told = proxy.content
    proxy.go_on()
    return told


def check(daemon: Server, proxy: Proxy, content: bytes, told: int) -> None:
    """It went on where it had been told to be, in the upload that was there."""
    assert list(published(daemon).values()) == [content]
    assert proxy.count("POST") == 1
    assert proxy.appends()[-1].offset == told


@every_end
@pytest.mark.parametrize(
    ("version", "protocol"),
    [(old, "tus-v1"), (old, "ietf-draft-03"), (new, "tus-v1"), (new, "ietf-draft-05")],
)
def test_an_upload_of_tus_js_client_survives_a_restart(
    version: str,
    protocol: str,
    end: str,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    file = make_file(LENGTH)
    proxy.hold(LENGTH // 2)
    client = tus_js(version, file, protocol=protocol).say("start")
    told = restart(daemon, proxy, end)
    client.until("success")
    check(daemon, proxy, file.read_bytes(), told)


@every_end
def test_an_upload_of_tuspy_survives_a_restart(
    end: str, daemon: Server, proxy: Proxy, tuspy: Tuspy, make_file: MakeFile
) -> None:
    file = make_file(LENGTH)
    proxy.hold(LENGTH // 2)
    with tuspy.running(file, retries=100, retry_delay=0.1):
        told = restart(daemon, proxy, end)
    check(daemon, proxy, file.read_bytes(), told)


def listens(daemon: Server) -> bool:
    """Whether somebody takes connections at its port."""
    with socket.socket() as probe:
        return probe.connect_ex(daemon.address) == 0


@pytest.mark.long
def test_who_comes_while_it_stops_survives_that_another_one_is_silent(
    tmp_path: Path, tus_js_folders: dict[str, Path], make_file: MakeFile
) -> None:
    """With every setting as it is when nobody sets it: the client gives up after 9 seconds.

    The other is in the middle of its body, and the daemon must not wait for it.
    """
    one, two = make_file(LENGTH, "one.bin"), make_file(LENGTH, "two.bin")
    folder = tmp_path / "patient"
    folder.mkdir()
    with ExitStack() as stack:
        daemon = stack.enter_context(Server(folder))
        daemon.start()
        clients, proxies = [], []
        for file, chunk in ((one, LENGTH), (two, LENGTH // 2)):
            proxy = stack.enter_context(proxied(daemon.port))
            options = {"endpoint": f"{proxy.url}/files/", "chunkSize": chunk}
            options |= {"retryDelays": [0, 1000, 3000, 5000], "metadata": {"filename": file.name}}
            job = {"folder": str(tus_js_folders[new]), "file": str(file), "source": "buffer"}
            clients.append(stack.enter_context(TusJs(job | {"options": options})))
            proxies.append(proxy)
        proxies[0].hold(LENGTH // 2)
        clients[0].say("start")
        proxies[0].until_held()
        daemon.signal(signal.SIGTERM)
        assert daemon.settles(lambda: not listens(daemon))
        clients[1].say("start")
        daemon.wait()
        daemon.start()
        proxies[0].go_on()
        for client in clients:
            client.until("success")
        wanted = {file.name: file.read_bytes() for file in (one, two)}
        assert published(daemon) == wanted
        assert [proxy.count("POST") for proxy in proxies] == [1, 1]
