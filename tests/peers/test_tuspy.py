"""tuspy, the client in Python: the only one at hand that sends checksums."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

import pytest

from tests.browser.conftest import Server
from tests.peers.conftest import MakeFile, Tuspy, published
from tests.peers.proxy import Proxy

LENGTH: Final = 3_000_000
CHUNK: Final = 1_000_000


@pytest.mark.parametrize("chunk", [CHUNK, LENGTH, 10 * LENGTH])
def test_a_file_arrives_whole(
    chunk: int, daemon: Server, tuspy: Tuspy, make_file: MakeFile
) -> None:
    file = make_file(LENGTH)
    told = tuspy.run(file, chunk_size=chunk, metadata={"filename": "żółw.bin"})
    assert told["offset"] == LENGTH
    assert published(daemon) == {"żółw.bin": file.read_bytes()}
    with urlopen(told["url"]) as answer:
        assert answer.read() == file.read_bytes()


def test_without_metadata_its_field_is_empty_and_harms_nobody(
    daemon: Server, proxy: Proxy, tuspy: Tuspy, make_file: MakeFile
) -> None:
    file = make_file(1000)
    url = tuspy.run(file)["url"]
    assert proxy.seen[0].fields["upload-metadata"] == ""
    assert list(published(daemon).values()) == [file.read_bytes()]
    with urlopen(Request(url, method="HEAD", headers={"Tus-Resumable": "1.0.0"})) as answer:
        assert answer.headers["Upload-Metadata"] is None


def test_an_empty_file_is_a_file(daemon: Server, tuspy: Tuspy, make_file: MakeFile) -> None:
    tuspy.run(make_file(0), metadata={"filename": "nothing"})
    assert published(daemon) == {"nothing": b""}


def test_it_goes_on_in_another_process(
    daemon: Server, proxy: Proxy, tuspy: Tuspy, make_file: MakeFile, tmp_path: Path
) -> None:
    file, storage = make_file(LENGTH), tmp_path / "urls.json"
    first = tuspy.run(file, storage, stop_at=CHUNK, chunk_size=CHUNK)
    second = tuspy.run(file, storage, chunk_size=CHUNK)
    assert second["began_at"] == first["offset"] == CHUNK
    assert second["url"] == first["url"]
    assert list(published(daemon).values()) == [file.read_bytes()]
    assert proxy.count("POST") == 1


def test_every_chunk_has_its_checksum(
    daemon: Server, proxy: Proxy, tuspy: Tuspy, make_file: MakeFile
) -> None:
    file = make_file(LENGTH)
    tuspy.run(file, chunk_size=CHUNK, upload_checksum=True)
    assert list(published(daemon).values()) == [file.read_bytes()]
    sums = [seen.fields["upload-checksum"] for seen in proxy.appends()]
    data = file.read_bytes()
    assert sums == [
        "sha1 " + b64encode(hashlib.sha1(data[at : at + CHUNK]).digest()).decode()
        for at in range(0, LENGTH, CHUNK)
    ]


def test_a_chunk_that_changed_on_its_way_is_sent_again(
    daemon: Server, proxy: Proxy, tuspy: Tuspy, make_file: MakeFile
) -> None:
    """Its checksum tells; 460, and nothing of it is kept."""
    file = make_file(LENGTH)
    proxy.spoil(CHUNK // 2)
    tuspy.run(file, chunk_size=CHUNK, upload_checksum=True, retries=1, retry_delay=0)
    assert list(published(daemon).values()) == [file.read_bytes()]
    assert [seen.offset for seen in proxy.appends()] == [0, 0, CHUNK, 2 * CHUNK]
    assert proxy.answers.count(460) == 1
