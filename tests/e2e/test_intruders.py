"""Ways round what tokens and links permit, each tried before the real daemon."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.rights import API, BODY, CHUNK, FORM, TUS, WAIT, Asker, id_of
from tests.e2e.test_access import JWKS, SECRET, token
from uploadd.auth import files
from uploadd.protocol.tokens import id_of as id_in


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that asks for tokens."""
    folder = tmp_path_factory.mktemp("intruders")
    (folder / "jwks.json").touch(0o600)
    (folder / "jwks.json").write_text(json.dumps(JWKS))
    (folder / "served" / ".uploadd" / "tokens").mkdir(parents=True)
    return folder / "served"


@pytest.fixture(scope="module")
def daemon(store: Path) -> Iterator[Daemon]:
    keys = store.parent / "jwks.json"
    said = ("--set", f"access.jwt_keys={keys}", "--set", "access.jwt_audience=uploads")
    with Daemon(store, *said) as daemon:
        daemon.start()
        yield daemon
        assert "Traceback" not in daemon.log, daemon.log


@pytest.fixture
def ana(store: Path, daemon: Daemon) -> Asker:
    """Whose uploads they are."""
    return known(daemon, token(store, "ana"))


def known(daemon: Daemon, text: str) -> Asker:
    """Who has the new token *text*, as soon as the daemon knows it."""
    asker = Asker(daemon, text)
    assert daemon.settles(lambda: asker.status("GET", "/api/uploads?of=mine") != "401")
    return asker


def revoke(store: Path, asker: Asker) -> None:
    """Take the token of *asker* back, and wait until the daemon has heard of it."""
    assert files.revoke(str(store / ".uploadd" / "tokens"), id_in(asker.token or "") or "")
    mine = "/api/uploads?of=mine"
    assert asker.daemon.settles(lambda: asker.status("GET", mine) == "401")


def said(asker: Asker, method: str, path: str, body: bytes = b"", **fields: str) -> Any:
    """The JSON that is answered."""
    answer = asker.ask(method, path, {k.replace("_", "-"): v for k, v in fields.items()}, body)
    return json.loads(answer.said)  # type: ignore[attr-defined]


def test_a_link_to_send_touches_no_notice_of_who_made_it(ana: Asker) -> None:
    """In a session as over HTTP."""
    ana.stored()
    assert ana.daemon.settles(lambda: said(ana, "GET", "/api/notices")["unread"] > 0)
    link = Asker(ana.daemon, said(ana, "POST", "/api/links", b"{}")["token"])
    assert link.hears({"type": "read", "notices": "all"}) == "forbidden"
    assert said(ana, "GET", "/api/notices")["unread"] > 0
    with ana.session() as session:
        session.send(json.dumps({"type": "read", "notices": "all"}))
        assert ana.daemon.settles(lambda: said(ana, "GET", "/api/notices")["unread"] == 0)


def test_a_link_to_send_takes_no_name_that_its_owner_has_given(ana: Asker) -> None:
    """What it sends is known by that name to itself alone."""
    form = FORM | {"X-Upload-Id": "photo-1"}
    assert ana.status("POST", "/api/upload", form, BODY) == "201"
    mine = said(ana, "GET", f"{API}photo-1")["upload"]
    link = Asker(ana.daemon, said(ana, "POST", "/api/links", b"{}")["token"])
    assert link.status("POST", "/api/upload", form, BODY) == "201"
    sent = said(link, "GET", f"{API}photo-1")["upload"]
    assert said(ana, "GET", f"{API}photo-1")["upload"] == mine != sent


def test_who_listens_hears_nothing_after_their_token_was_revoked(store: Path, ana: Asker) -> None:
    """A stream of events, and a question that waits."""
    eve = known(ana.daemon, token(store, "ana"))
    bearer = {"Authorization": f"Bearer {eve.token}"}
    path = ana.begun()
    with (
        closing(http.client.HTTPConnection(*ana.daemon.address, timeout=WAIT)) as stream,
        closing(http.client.HTTPConnection(*ana.daemon.address, timeout=WAIT)) as question,
    ):
        stream.request("GET", "/api/events?upload=mine", headers=bearer)
        events = stream.getresponse()
        assert events.status == 200
        question.request("GET", f"{API}{id_of(path)}/status?wait=30", headers=bearer)
        revoke(store, eve)
        assert ana.status("PATCH", path, CHUNK | {"Upload-Offset": "0"}, b"xy") == "204"
        assert question.getresponse().status == 401
        assert f"{id_of(path)}.published" not in events.read().decode()  # to its end


def test_an_expired_administrator_goes_on_only_with_their_own(ana: Asker) -> None:
    """What others have is not what was begun with the token."""
    theirs = ana.begun()
    claims = {"sub": "boss", "exp": time.time() + 1, "aud": "uploads", "scope": "admin"}
    boss = Asker(ana.daemon, jwt.encode(claims, SECRET, algorithm="HS256"))
    own = boss.begun()
    assert ana.daemon.settles(lambda: boss.status("PUT", "/x", {}, b"x") == "401")
    assert boss.status("HEAD", theirs, TUS) == boss.status("DELETE", theirs, TUS) == "401"
    assert boss.status("HEAD", own, TUS) == "200"
    assert ana.status("HEAD", theirs, TUS) == "200"


def test_a_link_shows_nothing_after_its_end(ana: Asker) -> None:
    """Neither the bytes nor how it stands."""
    id = ana.stored()
    asked = json.dumps({"upload": id, "expires_in": 2}).encode()
    link = Asker(ana.daemon, said(ana, "POST", "/api/links", asked)["token"])
    assert link.status("GET", API + id) == "200"
    assert ana.daemon.settles(lambda: link.status("GET", f"/f/{id}") == "401")
    assert link.status("GET", API + id) == "401"


def test_a_revoked_token_is_revoked_whatever_lies_beside_it(store: Path, ana: Asker) -> None:
    """A file that nobody understands keeps no other from going."""
    eve = known(ana.daemon, token(store, "eve"))
    broken = store / ".uploadd" / "tokens" / "copy of eve.json"
    broken.write_text("{")
    assert ana.daemon.settles(lambda: str(broken) in ana.daemon.log)
    revoke(store, eve)
    broken.unlink()
    assert ana.status("GET", "/api/uploads?of=mine") == "200"


def test_the_link_of_somebody_without_a_token_is_good(tmp_path: Path) -> None:
    """Where one may come without, and has said who one is."""
    (tmp_path / ".uploadd" / "tokens").mkdir(parents=True)
    with Daemon(tmp_path, "--set", "access.anonymous=yes") as daemon:
        daemon.start()
        link = said(Asker(daemon, None), "POST", "/api/links", b"{}", X_Client_Id="c" * 22)
        assert Asker(daemon, link["token"]).status("PUT", "/a", {}, b"x") == "201"


def test_a_cookie_that_does_not_count_keeps_nobody_out(tmp_path: Path) -> None:
    """Who needs no token is not refused for one that no page vouches for."""
    (tmp_path / ".uploadd" / "tokens").mkdir(parents=True)
    with Daemon(tmp_path, "--set", "access.anonymous=yes") as daemon:
        daemon.start()
        nobody, cookie = Asker(daemon, None), {"Cookie": f"uploadd_token={token(tmp_path, 'ana')}"}
        assert nobody.status("PUT", "/a", cookie, b"x") == "201"
        assert nobody.status("GET", "/api/uploads?of=mine", cookie) == "403"
