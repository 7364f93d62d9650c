"""tus-js-client, both versions in all their protocols, as its own documentation uses it."""

from __future__ import annotations

from base64 import b64encode
from urllib.request import Request, urlopen

import pytest

from tests.browser.conftest import Server
from tests.peers.conftest import VERSIONS, MakeFile, TusJsMaker, published
from tests.peers.jobs import IETF, LENGTH, METADATA, TUS, every_client, every_tus_client, status
from tests.peers.proxy import Proxy

# --- whole files ----------------------------------------------------------------------------------


@every_client
def test_a_file_arrives_whole_and_is_had_back_at_its_url(
    version: str,
    protocol: str,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    file = make_file(LENGTH)
    client = tus_js(version, file, protocol=protocol, metadata={"filename": "a.bin"})
    url = client.say("start").until("success")["url"]
    assert url.startswith(f"{proxy.url}/files/")
    with urlopen(url) as answer:
        assert answer.status == 200
        assert answer.read() == file.read_bytes()
    [content] = published(daemon).values()
    assert content == file.read_bytes()
    assert proxy.count("POST") == 1


@every_tus_client
def test_metadata_is_told_as_it_was_sent(
    version: str, daemon: Server, tus_js: TusJsMaker, make_file: MakeFile
) -> None:
    """And the file has the name that it says, in the letters that it says it in."""
    file = make_file(LENGTH)
    client = tus_js(version, file, metadata=METADATA)
    url = client.say("start").until("success")["url"]
    head = Request(url, method="HEAD", headers={"Tus-Resumable": "1.0.0"})
    with urlopen(head) as answer:
        assert answer.status == 200
        assert answer.read() == b""
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        assert answer.headers["Upload-Offset"] == answer.headers["Upload-Length"] == str(LENGTH)
        told = answer.headers["Upload-Metadata"].split(",")
    said = {f"{key} {b64encode(value.encode()).decode()}" for key, value in METADATA.items()}
    assert {pair if " " in pair else f"{pair} " for pair in told} == said
    with urlopen(url) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert list(published(daemon)) == [METADATA["filename"]]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_protocol_of_draft_05_names_the_file_with_metadata(
    version: str, daemon: Server, tus_js: TusJsMaker, make_file: MakeFile
) -> None:
    """The draft has no such field, but this client sends that of tus, and means it."""
    file = make_file(1000)
    client = tus_js(version, file, protocol="ietf-draft-05", metadata=METADATA)
    client.say("start").until("success")
    assert list(published(daemon)) == [METADATA["filename"]]


@every_client
@pytest.mark.parametrize("chunk", [None, 2_000_000])
def test_the_creation_may_carry_bytes(
    version: str,
    protocol: str,
    chunk: int | None,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    file = make_file(LENGTH)
    options = {} if chunk is None else {"chunkSize": chunk}
    client = tus_js(version, file, protocol=protocol, uploadDataDuringCreation=True, **options)
    client.say("start").until("success")
    assert list(published(daemon).values()) == [file.read_bytes()]
    assert [seen.offset for seen in proxy.appends()] == (
        [] if chunk is None else [chunk, 2 * chunk]
    )


@every_client
def test_an_empty_file_is_a_file(
    version: str, protocol: str, daemon: Server, tus_js: TusJsMaker, make_file: MakeFile
) -> None:
    """In the drafts completeness is declared, which this client forgets for one without bytes."""
    file = make_file(0)
    client = tus_js(version, file, protocol=protocol, metadata={"filename": "nothing"})
    url = client.say("start").until("success")["url"]
    assert list(published(daemon).values()) == ([b""] if protocol == TUS else [])
    assert status(url, "HEAD") in (200, 204)


@every_tus_client
def test_patch_may_hide_behind_post(
    version: str, daemon: Server, proxy: Proxy, tus_js: TusJsMaker, make_file: MakeFile
) -> None:
    """For those whose proxies know neither PATCH nor DELETE."""
    file = make_file(LENGTH)
    client = tus_js(version, file, overridePatchMethod=True, chunkSize=2_000_000)
    client.say("start").until("success")
    assert list(published(daemon).values()) == [file.read_bytes()]
    assert [seen.fields.get("x-http-method-override") for seen in proxy.appends()] == ["PATCH"] * 3


# --- streams --------------------------------------------------------------------------------------


@every_client
@pytest.mark.parametrize("source", ["file", "stream"])
def test_a_stream_of_known_length_arrives_whole(
    version: str,
    protocol: str,
    source: str,
    daemon: Server,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    """In the drafts completeness is declared.  This client forgets that when it has not yet seen
    the end of its stream; then all is kept, and one word publishes it.
    """
    file = make_file(LENGTH)
    client = tus_js(
        version, file, source, protocol=protocol, uploadSize=LENGTH, chunkSize=2_000_000
    )
    url = client.say("start").until("success")["url"]
    if protocol != TUS and not published(daemon):
        fields = {"Upload-Offset": str(LENGTH), "Upload-Complete": "?1"}
        fields |= {"Content-Type": "application/partial-upload"}
        assert status(url, "PATCH", fields) == 201
    assert list(published(daemon).values()) == [file.read_bytes()]


@every_client
def test_a_stream_of_unknown_length_arrives_whole(
    version: str, protocol: str, daemon: Server, tus_js: TusJsMaker, make_file: MakeFile
) -> None:
    file = make_file(LENGTH)
    client = tus_js(
        version, file, "stream", protocol=protocol, uploadLengthDeferred=True, chunkSize=2_000_000
    )
    client.say("start").until("success")
    assert list(published(daemon).values()) == [file.read_bytes()]


@pytest.mark.parametrize("protocol", [TUS, *IETF])
@pytest.mark.parametrize("length", [LENGTH, 4_000_000])
def test_a_stream_of_the_web_arrives_whole(
    protocol: str, length: int, daemon: Server, tus_js: TusJsMaker, make_file: MakeFile
) -> None:
    """Also when only a last request without a byte can tell that nothing follows."""
    file = make_file(length)
    client = tus_js(
        "5.0.0-pre2",
        file,
        "web",
        protocol=protocol,
        uploadLengthDeferred=True,
        chunkSize=2_000_000,
    )
    client.say("start").until("success")
    assert list(published(daemon).values()) == [file.read_bytes()]
