"""Tokens that end in the middle of an upload: what clients that others have written make of it."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import jwt
import pytest

from tests.browser.conftest import Server
from tests.peers.conftest import STOPS, MakeFile, TusJsMaker, Tuspy, has_written, published
from tests.peers.jobs import LENGTH, every_tus_client
from tests.peers.proxy import Proxy

SECRET: Final = bytes(range(32))
CHUNK: Final = LENGTH // 5


def signed(seconds: float) -> str:
    """A token of ana's that expires in so many *seconds*."""
    said = {"sub": "ana", "exp": time.time() + seconds, "aud": "uploads", "scope": "create append"}
    return jwt.encode(said, SECRET, algorithm="HS256")


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def begun(proxy: Proxy, headers: dict[str, str]) -> str:
    """The URL of a new upload of `LENGTH` bytes."""
    said = headers | {"Tus-Resumable": "1.0.0", "Upload-Length": str(LENGTH)}
    with urlopen(Request(f"{proxy.url}/files/", method="POST", headers=said)) as answer:
        return urljoin(f"{proxy.url}/files/", answer.headers["Location"])


@pytest.fixture(params=["1 d", "1 ms"], ids=["in time", "late"])
def grace(request: pytest.FixtureRequest) -> str:
    """For how long an expired token is good for what was begun with it."""
    return str(request.param)


@pytest.fixture
def daemon(tmp_path: Path, grace: str) -> Iterator[Server]:
    """A daemon that asks for tokens."""
    keys, folder = tmp_path / "jwks.json", tmp_path / "store"
    key = urlsafe_b64encode(SECRET).rstrip(b"=").decode()
    keys.touch(0o600)
    keys.write_text(json.dumps({"keys": [{"kty": "oct", "k": key}]}))
    folder.mkdir()
    terms = ("--set", f"access.jwt_keys={keys}", "--set", "access.jwt_audience=uploads")
    with Server(folder, *STOPS, *terms, "--set", f'access.grace="{grace}"') as server:
        server.start()
        yield server


@every_tus_client
def test_tus_js_client_goes_on_with_its_old_token_or_the_next(
    version: str,
    grace: str,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    """Where the old one is not good for it any more, it is told 401, and the next goes on."""
    file = make_file(LENGTH)
    good = bearer(signed(600))
    client = tus_js(version, file, chunkSize=CHUNK, headers=good, uploadUrl=begun(proxy, good))
    client.say(f"token {signed(0)} {3 * CHUNK}").until("known")
    client.say("start")
    if grace == "1 ms":
        assert client.until("error")["status"] == 401
        assert proxy.appends()[-1].offset == 3 * CHUNK
        client.say(f"token {signed(600)}").until("known")
        client.say("start")
    client.until("success")
    assert list(published(daemon).values()) == [file.read_bytes()]
    assert proxy.count("POST") == 1, proxy.said


@every_tus_client
def test_tus_js_client_resumes_with_the_token_with_which_it_began(
    version: str,
    grace: str,
    daemon: Server,
    proxy: Proxy,
    tus_js: TusJsMaker,
    make_file: MakeFile,
) -> None:
    """It begins again from nothing where HEAD is refused: so it is not, while there is grace."""
    file = make_file(LENGTH)
    proxy.hold(LENGTH // 2)
    client = tus_js(version, file, headers=bearer(signed(600)))
    client.say("start")
    proxy.until_held()
    assert has_written(daemon, proxy.content)
    client.say("abort").until("aborted")
    proxy.go_on()
    client.say(f"token {signed(0)}").until("known")
    client.say("start")
    if grace == "1 ms":
        assert client.until("error")["status"] == 401
        client.say(f"token {signed(600)}").until("known")
        client.say("start")
    client.until("success")
    assert list(published(daemon).values()) == [file.read_bytes()]
    assert proxy.count("POST") == (1 if grace == "1 d" else 3)


def test_tuspy_goes_on_with_its_old_token_or_the_next(
    grace: str,
    daemon: Server,
    proxy: Proxy,
    tuspy: Tuspy,
    make_file: MakeFile,
    tmp_path: Path,
) -> None:
    """It says 401, and keeps the place."""
    file, storage = make_file(LENGTH), tmp_path / "urls.json"
    tuspy.headers = bearer(signed(600))
    tuspy.run(file, storage, stop_at=CHUNK, chunk_size=CHUNK)
    tuspy.headers = bearer(signed(0))
    if grace == "1 ms":
        with pytest.raises(AssertionError, match="status 401"):
            tuspy.run(file, storage, chunk_size=CHUNK)
        tuspy.headers = bearer(signed(600))
    assert tuspy.run(file, storage, chunk_size=CHUNK)["began_at"] == CHUNK
    assert list(published(daemon).values()) == [file.read_bytes()]
    assert proxy.count("POST") == 1, proxy.said
