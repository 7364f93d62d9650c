"""curl, as people type it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.browser.conftest import Server
from tests.peers.conftest import PATIENCE, MakeFile, published
from tests.peers.installing import program

LENGTH: Final = 3_000_000


def curl(*words: str, stdin: bytes | None = None) -> bytes:
    """What it says on standard output; an HTTP error is a failure."""
    ended = subprocess.run(
        [program("curl", "curl"), "-sS", "--fail-with-body", *words],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 0, (ended.stderr, ended.stdout)
    return ended.stdout


def get(url: str, *words: str) -> bytes:
    """The bytes that it has for *url*."""
    return curl(*words, url)


@pytest.mark.parametrize("path", ["/", "/other.bin", "/a%20b%C5%82.bin"])
def test_a_file_is_put(path: str, daemon: Server, make_file: MakeFile) -> None:
    """-T alone; a path that ends with / gets the name of the file, as curl does it."""
    file = make_file(LENGTH, "my file.bin")
    url = curl("-T", str(file), daemon.url + path).decode().strip()
    name = {"/": "my file.bin", "/other.bin": "other.bin"}.get(path, "a bł.bin")
    assert published(daemon) == {name: file.read_bytes()}
    assert get(url if "://" in url else daemon.url + url) == file.read_bytes()


@pytest.mark.parametrize("length", [0, 1, LENGTH])
def test_standard_input_is_put(length: int, daemon: Server, make_file: MakeFile) -> None:
    """Its length is not known before its end."""
    data = make_file(length).read_bytes()
    curl("-T", "-", f"{daemon.url}/piped.bin", stdin=data)
    assert published(daemon) == {"piped.bin": data}


@pytest.mark.parametrize("words", [("-H", "Expect: 100-continue"), ("-H", "Expect:"), ("-0",)])
def test_a_file_is_put_however_curl_is_told_to_ask(
    words: tuple[str, ...], daemon: Server, make_file: MakeFile
) -> None:
    """With Expect, without, and in HTTP/1.0."""
    file = make_file(LENGTH)
    curl(*words, "-T", str(file), f"{daemon.url}/file.bin")
    assert published(daemon) == {"file.bin": file.read_bytes()}


def test_who_expects_to_be_let_is_refused_before_the_body(
    daemon: Server, make_file: MakeFile
) -> None:
    """curl has sent nothing, and has the whole answer."""
    file = make_file(LENGTH)
    words = ["-H", "Expect: 100-continue", "-H", "Origin: http://elsewhere.example"]
    words += ["-w", "%{http_code} %{size_upload}"]
    told = subprocess.run(
        ["curl", "-sS", *words, "-T", str(file), f"{daemon.url}/file.bin"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    ).stdout
    problem, _, counted = told.rpartition("}")
    assert counted.split() == ["403", "0"]
    assert json.loads(problem + "}")["code"]
    assert published(daemon) == {}


def test_a_form_with_files_and_fields_is_stored(daemon: Server, make_file: MakeFile) -> None:
    one, two = make_file(LENGTH, "one.bin"), make_file(1000, "two.bin")
    said = curl(
        *("-F", "before=słowo", "-F", f"a=@{one}", "-F", f"b=@{two};filename=other name.bin"),
        *("-F", "after=1", f"{daemon.url}/"),
    )
    assert published(daemon) == {"one.bin": one.read_bytes(), "other name.bin": two.read_bytes()}
    files = json.loads(said)["files"]
    assert [file["length"] for file in files] == [LENGTH, 1000]
    for file, sent in zip(files, (one, two), strict=True):
        url = file["url"] if "://" in file["url"] else daemon.url + file["url"]
        assert get(url) == sent.read_bytes()
        assert hashlib.sha256(sent.read_bytes()).hexdigest() in json.dumps(file)


def test_ranges_of_a_file_are_had(daemon: Server, make_file: MakeFile, tmp_path: Path) -> None:
    """From the front, from the end, and what is missing of a download that was cut off."""
    data = make_file(LENGTH).read_bytes()
    url = curl("-T", "-", f"{daemon.url}/file.bin", stdin=data).decode().strip()
    url = url if "://" in url else daemon.url + url
    assert get(url, "-r", "0-0") == data[:1]
    assert get(url, "-r", "100-199") == data[100:200]
    assert get(url, "-r", "-1000") == data[-1000:]
    half = tmp_path / "half"
    half.write_bytes(data[:1_000_000])
    curl("-C", "-", "-o", str(half), url)
    assert half.read_bytes() == data


def test_an_upload_of_tus_is_made_by_hand(daemon: Server, make_file: MakeFile) -> None:
    """As in every tutorial: POST, two PATCHes with a HEAD between, DELETE."""
    file = make_file(LENGTH)
    data, tus = file.read_bytes(), ("-H", "Tus-Resumable: 1.0.0")
    words = ("-X", "POST", "-H", f"Upload-Length: {LENGTH}", f"{daemon.url}/files/")
    head = curl("-D", "-", "-o", "/dev/null", *tus, *words).decode()
    [location] = [line[10:] for line in head.split("\r\n") if line.lower().startswith("location: ")]
    url = daemon.url + location
    chunk = ("-X", "PATCH", "-H", "Content-Type: application/offset+octet-stream")
    for start, end in ((0, 1_000_000), (1_000_000, LENGTH)):
        assert f"upload-offset: {start}\r" in curl("-I", *tus, url).decode().lower()
        there = ("-H", f"Upload-Offset: {start}", "--data-binary", "@-", url)
        curl(*tus, *chunk, *there, stdin=data[start:end])
    assert get(url) == data
    curl("-X", "DELETE", *tus, url)
    assert published(daemon) == {}
