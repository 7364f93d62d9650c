"""The connection is cut in the middle of a body, in every way: every client goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.request import Request, urlopen

import pytest

from tests.browser.conftest import Server
from tests.peers.bodies import END, Cut, How
from tests.peers.conftest import STOPS, VERSIONS, MakeFile, TusJsMaker, Tuspy, published
from tests.peers.proxy import Proxy

LENGTH: Final = 3_000_000
old, new = VERSIONS

PLACES: Final = {
    "before its first byte": 0,
    "after one": 1,
    "after 10 000": 10_000,
    "at its end": END,
}
every_cut = pytest.mark.parametrize("after", PLACES.values(), ids=PLACES)
every_way = pytest.mark.parametrize("how", ["FIN", "RST"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One daemon for all: none of them restarts it."""
    with Server(tmp_path_factory.mktemp("store"), *STOPS) as server:
        server.start()
        yield server


@pytest.fixture
def daemon(server: Server) -> Iterator[Server]:
    """The same, with nothing stored."""
    yield server
    for id in server.unfinished():
        with urlopen(Request(f"{server.url}/api/upload/{id}", method="DELETE")):
            pass
    for name in server.sizes():
        (server.dir / name).unlink()


def check(daemon: Server, proxy: Proxy, content: bytes) -> None:
    """It is there once, whole, and after it was cut nothing that counted was sent again."""
    assert list(published(daemon).values()) == [content], proxy.said
    assert daemon.settles(lambda: daemon.unfinished() == [])
    offsets = [seen.offset for seen in proxy.appends()]
    assert offsets == sorted(offsets)


@every_cut
@every_way
@pytest.mark.parametrize(
    ("version", "protocol"),
    [(old, "tus-v1"), (old, "ietf-draft-03"), (new, "tus-v1"), (new, "ietf-draft-05")],
)
def test_tus_js_client_goes_on(
    version: str,
    protocol: str,
    after: int,
    how: How,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    """With what it created; when only the answer was lost it sends no byte again."""
    file = make_file(LENGTH)
    proxy.cut(Cut(after, how))
    client = tus_js(version, file, protocol=protocol).say("start")
    client.until("success")
    check(daemon, proxy, file.read_bytes())
    assert proxy.count("POST") == 1
    assert proxy.count("HEAD") == 1
    if after == END:
        assert len(proxy.appends()) == 1


@every_cut
@pytest.mark.parametrize("how", ["RST"])
def test_tus_js_client_goes_on_where_all_its_connections_are_cut(
    after: int,
    how: How,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    """Again and again, with chunks that each are cut at the same place."""
    file = make_file(LENGTH)
    proxy.cut(*[Cut(after, how)] * 6)
    client = tus_js(new, file, chunkSize=1_000_000).say("start")
    client.until("success")
    check(daemon, proxy, file.read_bytes())
    assert proxy.count("POST") == 1


@every_cut
@every_way
@pytest.mark.parametrize("protocol", ["tus-v1", "ietf-draft-05"])
def test_a_creation_that_is_cut_off_publishes_once(
    protocol: str,
    after: int,
    how: How,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    """The client was not told the URL, so it creates another; of the first nothing is published,
    unless all of it was there.
    """
    file = make_file(LENGTH)
    proxy.cut(Cut(after, how))
    client = tus_js(new, file, protocol=protocol, uploadDataDuringCreation=True)
    client.say("start").until("success")
    assert list(published(daemon).values()) == [file.read_bytes()] * (2 if after == END else 1)
    assert proxy.count("POST") == 2


@every_cut
@every_way
@pytest.mark.parametrize("checksum", [False, True])
def test_tuspy_goes_on(
    checksum: bool,
    after: int,
    how: How,
    daemon: Server,
    proxy: Proxy,
    tuspy: Tuspy,
    make_file: MakeFile,
) -> None:
    """With a checksum, what was cut off is worth nothing, and is sent again."""
    file = make_file(LENGTH)
    proxy.cut(Cut(after, how))
    tuspy.run(file, retries=3, retry_delay=0, upload_checksum=checksum)
    check(daemon, proxy, file.read_bytes())
    assert proxy.count("POST") == 1
    if checksum and after != END:
        offsets = [seen.offset for seen in proxy.appends()]
        # A retry without delay may come before the daemon has heard of the reset: it is refused.
        assert len(offsets) >= 2
        assert set(offsets) == {0}
