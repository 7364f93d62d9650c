"""tus-js-client: stopped, gone on with, taken back, and in parts."""

from __future__ import annotations

from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.browser.conftest import Server
from tests.peers.conftest import MakeFile, TusJsMaker, has_written, published
from tests.peers.jobs import LENGTH, METADATA, every_client, every_tus_client, status
from tests.peers.proxy import Proxy

# --- stopped, and gone on with --------------------------------------------------------------------


@every_client
def test_what_was_stopped_goes_on_where_it_was(
    version: str,
    protocol: str,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    """In the middle of a request; what the daemon had taken is not sent again."""
    file = make_file(LENGTH)
    proxy.hold(LENGTH // 2)
    client = tus_js(version, file, protocol=protocol)
    client.say("start")
    proxy.until_held()
    assert has_written(daemon, proxy.content)
    stopped_at = proxy.content
    client.say("abort").until("aborted")
    proxy.go_on()
    client.say("start").until("success")
    assert list(published(daemon).values()) == [file.read_bytes()]
    assert proxy.count("POST") == 1
    assert [seen.offset for seen in proxy.appends()] == [0, stopped_at]


@every_client
def test_another_process_goes_on(
    version: str,
    protocol: str,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
    tmp_path: Path,
) -> None:
    """It has remembered the URL in a file; when all is there, it sends nothing."""
    file, storage = make_file(LENGTH), tmp_path / "urls.json"
    proxy.hold(LENGTH // 2)
    first = tus_js(version, file, storage=storage, protocol=protocol)
    first.say("resume")
    proxy.until_held()
    assert has_written(daemon, proxy.content)
    stopped_at = proxy.content
    first.__exit__()
    proxy.go_on()
    second = tus_js(version, file, storage=storage, protocol=protocol)
    second.say("resume").until("success")
    assert list(published(daemon).values()) == [file.read_bytes()]
    assert [seen.offset for seen in proxy.appends()] == [0, stopped_at]
    third = tus_js(version, file, storage=storage, protocol=protocol)
    assert third.say("resume").until("found")["count"] >= 1
    third.until("success")
    assert proxy.count("POST") == 1
    assert all(seen.offset in (0, stopped_at, LENGTH) for seen in proxy.appends())
    assert len(published(daemon)) == 1


@every_client
def test_who_forgets_when_it_is_done_uploads_anew(
    version: str,
    protocol: str,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
    tmp_path: Path,
) -> None:
    """The same name twice: the second gets another, and nothing is overwritten."""
    file, storage = make_file(1000), tmp_path / "urls.json"
    for _ in range(2):
        client = tus_js(
            version,
            file,
            storage=storage,
            protocol=protocol,
            removeFingerprintOnSuccess=True,
            metadata={"filename": "same.bin"},
        )
        assert client.say("resume").until("found")["count"] == 0
        client.until("success")
    assert list(published(daemon).values()) == [file.read_bytes()] * 2
    assert proxy.count("POST") == 2


@every_client
def test_what_is_unfinished_can_be_taken_back(
    version: str,
    protocol: str,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    """Nothing is left of it, and its URL is unknown."""
    file = make_file(LENGTH)
    proxy.hold(LENGTH // 2)
    client = tus_js(version, file, protocol=protocol)
    url = client.say("start").until("url")["url"]
    proxy.until_held()
    assert has_written(daemon, proxy.content)
    client.say("terminate").until("terminated")
    assert status(url) == status(url, "HEAD") == 404
    assert published(daemon) == {}
    assert daemon.settles(lambda: daemon.unfinished() == [])


@every_client
def test_what_is_finished_can_be_taken_back(
    version: str,
    protocol: str,
    daemon: Server,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    client = tus_js(version, make_file(1000), protocol=protocol)
    url = client.say("start").until("success")["url"]
    assert len(published(daemon)) == 1
    client.say("terminate").until("terminated")
    assert status(url) == status(url, "HEAD") == 404
    assert published(daemon) == {}


# --- parts ----------------------------------------------------------------------------------------


@every_tus_client
@pytest.mark.parametrize("parts", [2, 7])
def test_parts_that_are_sent_at_a_time_become_one_file(
    version: str,
    parts: int,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    """With the name and the type of the whole; the parts are never seen as files."""
    file = make_file(LENGTH)
    client = tus_js(version, file, parallelUploads=parts, metadata=METADATA)
    url = client.say("start").until("success")["url"]
    assert daemon.settles(lambda: bool(published(daemon)))  # it is put together behind the answer
    with urlopen(url) as answer:
        assert answer.read() == file.read_bytes()
    assert published(daemon) == {METADATA["filename"]: file.read_bytes()}
    assert proxy.count("POST") == parts + 1


@every_tus_client
def test_parts_go_on_in_another_process(
    version: str,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
    tmp_path: Path,
) -> None:
    """Each where it was, and none is created again."""
    file, storage = make_file(LENGTH), tmp_path / "urls.json"
    options = {"parallelUploads": 4, "metadata": METADATA}
    storage.touch()
    proxy.hold(LENGTH // 2)
    first = tus_js(version, file, storage=storage, **options)
    first.say("resume")
    proxy.until_held()
    assert has_written(daemon, proxy.content)
    # It remembers the parts when the last of them has its URL, which may be after that.
    assert daemon.settles(lambda: "parallelUploadUrls" in storage.read_text())
    first.__exit__()
    proxy.go_on()
    tus_js(version, file, storage=storage, **options).say("resume").until("success")
    assert daemon.settles(lambda: bool(published(daemon)))
    assert published(daemon) == {METADATA["filename"]: file.read_bytes()}
    assert proxy.count("POST") == 4 + 1
