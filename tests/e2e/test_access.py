"""Who may do what: every operation on every wire, by whoever there is, before the real daemon."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import jwt
import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.daemon import Daemon
from tests.e2e.rights import CHUNK, OPEN_PATHS, ROWS, TUS, Asker, id_of
from tests.wire import handshake
from tests.wire import text as text_frame
from uploadd.auth import files
from uploadd.protocol import tokens
from uploadd.protocol.tokens import USUAL, Claims, Scope

SECRET: Final = bytes(range(32))
JWKS: Final = {
    "keys": [{"kty": "oct", "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "kid": "h"}]
}

# "-" is what a token that was good when it began may still do: the same as the owner.
# 104 offers an upload whose body is still to come; "no" is NO.  The last two have links: to have
# another file of the owner's, and to send one.
NO: Final = frozenset({"403", "forbidden", "4403"})
TABLE: Final = """
                         owner     other expired       anonymous admin     creator reader has sends
create: tus              201       201   401           401       201       201     no     no  201
create: tus, whole       201       201   401           401       201       201     no     no  201
create: IETF             104       104   401           401       104       104     no     no  104
create: IETF, whole      104       104   401           401       104       104     no     no  104
create: IETF, PUT        104       104   401           401       104       104     no     no  104
create: plain            201       201   401           401       201       201     no     no  201
create: PUT              201       201   401           401       201       201     no     no  201
create: form             201       201   401           401       201       201     no     no  201
create: posted           201       201   401           401       201       201     no     no  201
create: session          ready     ready token-expired token     ready     ready   no     no  ready
create: session, key     ready     ready token-expired token     ready     ready   no     no  ready
concat: tus              201       no    401           401       201       no      no     no  no
append: tus              204       no    -             401       204       no      no     no  no
append: tus, last        204       no    -             401       204       no      no     no  no
append: POST for PATCH   204       no    -             401       204       no      no     no  no
append: IETF             204       no    -             401       204       no      no     no  no
append: IETF, last       201       no    -             401       201       no      no     no  no
append: session          ready     no    -             token     ready     no      no     no  no
offset: tus              200       no    -             401       200       no      no     no  no
offset: IETF             204       no    -             401       204       no      no     no  no
look: API                200       no    -             401       200       no      200    no  no
look: API, status        200       no    -             401       200       no      200    no  no
look: API, waiting       200       no    -             401       200       no      200    no  no
look: IETF, GET          204       no    -             401       204       no      no     no  no
watch: events            200       no    -             401       200       no      no     no  no
watch: session           progress  no    -             token     progress  no      no     no  no
watch mine: events       200       200   -             401       200       no      no     no  no
watch mine: plain        open      open  -             4401      open      no      no     no  no
watch mine: session      open      open  -             token     open      no      no     no  no
watch all: events        no        no    401           401       200       no      no     no  no
watch all: session       no        no    token-expired token     open      no      no     no  no
read: GET                200       no    401           401       200       no      200    no  no
read: HEAD               200       no    401           401       200       no      200    no  no
read: where it was sent  200       no    401           401       200       no      200    no  no
cancel: tus              204       no    -             401       204       no      no     no  no
cancel: IETF             204       no    -             401       204       no      no     no  no
cancel: API              204       no    -             401       204       no      no     no  no
cancel: API, DELETE      204       no    -             401       204       no      no     no  no
cancel: session          cancelled no    -             token     cancelled no      no     no  no
delete: tus              204       no    401           401       204       no      no     no  no
delete: IETF             204       no    401           401       204       no      no     no  no
delete: API              204       no    401           401       204       no      no     no  no
list mine: API           200       200   401           401       200       no      no     no  no
list mine: active        200       200   401           401       200       no      no     no  no
list mine: notices       200       200   401           401       200       no      no     no  no
list mine: read          204       204   401           401       204       no      no     no  no
list mine: session       open      open  token-expired token     open      no      no     no  no
list all: API            no        no    401           401       200       no      no     no  no
list all: active         no        no    401           401       200       no      no     no  no
link to have             201       no    401           401       201       no      201    no  no
link to send             201       201   401           401       201       201     no     no  no
"""


def cells() -> Iterator[tuple[str, str, str]]:
    """Row, column and what is expected there."""
    columns, *lines = TABLE.strip().splitlines()
    for line in lines:
        name, found = line[:25].strip(), line[25:].split()
        row = dict(zip(columns.split(), found, strict=True))
        for column, expected in row.items():
            yield name, column, row["owner"] if expected == "-" else expected


def signed(subject: str, expires: float | None = None) -> str:
    """A JSON Web Token; it expires now, where nothing else is said."""
    said = {"sub": subject, "exp": time.time() if expires is None else expires, "aud": "uploads"}
    return jwt.encode(said | {"scope": " ".join(USUAL)}, SECRET, algorithm="HS256")


@pytest.fixture
def store(memory: Path) -> Path:
    """A folder that asks for tokens, with the keys of whoever signs some."""
    (memory / "jwks.json").touch(0o600)
    (memory / "jwks.json").write_text(json.dumps(JWKS))
    (memory / "served").mkdir()
    (memory / "served" / ".uploadd" / "tokens").mkdir(parents=True)
    return memory / "served"


def token(store: Path, subject: str, *scopes: Scope) -> str:
    """A token for *subject*."""
    claims = Claims(subject, frozenset(scopes) or USUAL)
    return files.new_token(str(store / ".uploadd" / "tokens"), claims)


@pytest.fixture
def daemon(store: Path) -> Iterator[Daemon]:
    """A daemon that asks for tokens."""
    keys = store.parent / "jwks.json"
    said = ("--set", f"access.jwt_keys={keys}", "--set", "access.jwt_audience=uploads")
    with Daemon(store, *said) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log, daemon.log


def test_everybody_may_what_the_table_says(store: Path, daemon: Daemon) -> None:
    """Every operation, on every wire, by everybody."""
    shown = {
        "owner": token(store, "ana"),
        "other": token(store, "ben"),
        "admin": token(store, "root", Scope.ADMIN),
        "creator": token(store, "cem", Scope.CREATE),
        "reader": token(store, "ana", Scope.READ),
    }
    daemon.start()
    owner = Asker(daemon, shown["owner"])
    other = owner.stored()
    lates: dict[str, Callable[[], str]] = {
        "expired": partial(signed, "ana"),
        "has": lambda: linked(owner, {"upload": other})[1],
        "sends": lambda: linked(owner, {})[1],
    }
    found, expected = {}, {}
    for row, column, cell in cells():
        late = lates.get(column)
        asker = Asker(daemon, shown.get(column), owner, late)
        heard = ROWS[row](asker)
        found[row, column] = "no" if heard in NO else heard
        expected[row, column] = cell
    assert {row for row, _ in expected} == set(ROWS)
    wrong = {at: (found[at], cell) for at, cell in expected.items() if found[at] != cell}
    assert wrong == {}, "found, expected"


# --- links, and tokens that end -------------------------------------------------------------------


def linked(asker: Asker, said: dict[str, object]) -> tuple[str, str]:
    """URL and token of a new link."""
    answer = asker.ask("POST", "/api/links", {}, json.dumps(said).encode())
    told = json.loads(answer.said)  # type: ignore[attr-defined]
    return told["url"], told["token"]


def test_a_link_has_one_file_and_no_other(store: Path, daemon: Daemon) -> None:
    """Nor the file that has its name when it was deleted; nor may it do anything else."""
    ana = Asker(daemon, token(store, "ana"))
    daemon.start()
    id, other = ana.stored(), ana.stored()
    url, ticket = linked(ana, {"upload": id})
    nobody, bearer = Asker(daemon, None), Asker(daemon, ticket)
    assert nobody.status("GET", url) == "200"
    assert nobody.status("GET", url.replace(id, other)) == "403"
    assert nobody.status("GET", url[:-1]) == "401"
    assert bearer.status("GET", f"/f/{id}") == "200"
    assert bearer.status("DELETE", f"/api/upload/{id}") == "403"
    assert bearer.status("PUT", "/x", {}, b"x") == "403"
    assert bearer.status("POST", "/api/links", {}, json.dumps({"upload": id}).encode()) == "403"
    _, short = linked(ana, {"upload": id, "expires_in": 0.001})
    assert daemon.settles(lambda: Asker(daemon, short).status("GET", f"/f/{id}") == "401")
    assert ana.status("DELETE", f"/api/upload/{id}") == "204"
    assert ana.status("PUT", "/name.txt", {}, b"hello") == "201"
    assert nobody.status("GET", url) == "404"
    assert ticket.split(".")[-1] not in daemon.log


def test_a_link_sends_one_file(store: Path, daemon: Daemon) -> None:
    """By whatever wire, after a restart too, and not again when it was deleted; it is ana's."""
    ana = Asker(daemon, token(store, "ana"))
    daemon.start()
    _, ticket = linked(ana, {"max_length": 5})
    stranger = Asker(daemon, ticket)
    assert stranger.status("PUT", "/large", {}, b"123456") == "413"
    assert (
        stranger.status(
            "PUT", "/large", {"Transfer-Encoding": "chunked"}, b"6\r\n123456\r\n0\r\n\r\n"
        )
        == "413"
    )
    assert stranger.status("POST", "/files/", TUS | {"Upload-Length": "6"}) == "413"
    answer = stranger.ask("POST", "/files/", TUS | {"Upload-Length": "2"})
    path = answer.getheader("Location") or ""
    assert stranger.status("PUT", "/second", {}, b"x") == "403"
    assert stranger.status("HEAD", path, TUS) == "200"
    daemon.kill()
    daemon.start()
    assert stranger.status("PUT", "/second", {}, b"x") == "403"
    assert stranger.status("PATCH", path, CHUNK | {"Upload-Offset": "0"}, b"xy") == "204"
    assert stranger.hears({"type": "begin", "ref": 1, "name": "second"}) == "forbidden"
    assert stranger.status("GET", f"/f/{id_of(path)}") == "403"
    assert ana.status("GET", f"/f/{id_of(path)}") == "200"
    assert ana.status("DELETE", f"/files/{id_of(path)}", TUS) == "204"
    assert stranger.status("PUT", "/again", {}, b"x") == "403"


def test_what_was_revoked_ends_where_it_is(store: Path, daemon: Daemon) -> None:
    """A session, and a body before it is published; what came goes on with the next token."""
    text = token(store, "ana")
    ana = Asker(daemon, text)
    daemon.start()
    path = ana.begun()
    with ana.session() as ws:
        assert json.loads(ws.recv())["type"] == "welcome"
        assert files.revoke(str(store / ".uploadd" / "tokens"), tokens.id_of(text) or "")
        told = json.loads(ws.recv(30))
        assert (told["type"], told["code"], told["final"]) == ("error", "token", True)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
    assert ana.status("PATCH", path, CHUNK | {"Upload-Offset": "0"}, b"xy") == "401"
    again = Asker(daemon, token(store, "ana"))
    patch = ("PATCH", path, CHUNK | {"Upload-Offset": "0"}, b"xy")
    assert daemon.settles(lambda: again.status(*patch) in ("204", "409"))
    assert again.status("GET", f"/f/{id_of(path)}") == "200"
    assert text not in daemon.log


def test_a_cookie_counts_in_a_session_only_beside_an_allowed_page(
    store: Path, daemon: Daemon
) -> None:
    """A page elsewhere can make a browser open one, cookie and all (T5)."""
    text = token(store, "ana")
    daemon.start()
    cookie = f"uploadd_token={text}"
    for origin, said in ((daemon.url, b"welcome"), ("https://evil.example", b"origin-not-all")):
        request = handshake(
            f"Cookie: {cookie}".encode(),
            f"Origin: {origin}".encode(),
            host=daemon.url.removeprefix("http://").encode(),
        )
        with socket.create_connection(daemon.address, timeout=30) as connection:
            connection.sendall(request)
            heard = connection.recv(4096)
            assert heard.startswith(b"HTTP/1.1 101")
            connection.sendall(text_frame({"type": "hello"}))
            while said not in heard:
                more = connection.recv(4096)
                assert more, (origin, heard)
                heard += more
    nobody = Asker(daemon, None)
    mine = "/api/uploads?of=mine"
    own, evil = ({"Cookie": cookie, "Origin": o} for o in (daemon.url, "https://evil.example"))
    assert nobody.status("GET", mine, own) == "200"
    assert nobody.status("GET", mine, evil) == "403"
    assert nobody.status("GET", mine, {"Cookie": cookie}) == "401"


def test_a_public_address_needs_tokens_or_to_be_told(memory: Path) -> None:
    """It says what to type, and starts once that was typed."""
    with Daemon(memory / "s", "--host", "0.0.0.0") as daemon:
        daemon.launch()
        assert daemon.wait() == 78
        assert "nobody is asked for a token" in daemon.log
        assert "→ uploadd token new NAME" in daemon.log
        assert "access.anonymous=yes" in daemon.log
    with Daemon(memory / "s", "--host", "0.0.0.0", "--set", "access.anonymous=yes") as daemon:
        daemon.start()
    token(memory / "s", "ana")
    with Daemon(memory / "s", "--host", "0.0.0.0", "--set", "server.names=0.0.0.0") as daemon:
        daemon.start()
        assert Asker(daemon, None).status("PUT", "/x", {}, b"x") == "401"
        assert {Asker(daemon, None).status("GET", path) for path in OPEN_PATHS} == {"200"}
