"""Links end: with the token that they were made with, and when the settings say, before the real
daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.rights import BODY, FORM, Asker
from tests.e2e.test_access import signed, token
from tests.e2e.test_intruders import known, revoke, said, store
from uploadd.auth import files
from uploadd.protocol import tickets
from uploadd.protocol.tokens import Scope, id_of

__all__ = ["store"]  # a fixture
HOUR = 3600.0


@pytest.fixture(scope="module")
def daemon(store: Path) -> Iterator[Daemon]:
    """Its links live an hour at most."""
    keys = ("--set", f"access.jwt_keys={store.parent / 'jwks.json'}")
    terms = ("--set", "access.jwt_audience=uploads", "--set", 'access.link_life="1 h"')
    with Daemon(store, *keys, *terms) as daemon:
        daemon.start()
        yield daemon
        assert "Traceback" not in daemon.log, daemon.log


def link(asker: Asker, **wanted: Any) -> dict[str, Any]:
    """A link of *asker*'s."""
    told: dict[str, Any] = said(asker, "POST", "/api/links", json.dumps(wanted).encode())
    return told


def test_a_link_lives_as_long_as_the_settings_permit_and_not_longer_than_its_token(
    store: Path, daemon: Daemon
) -> None:
    """Whatever was asked for; the answer says when it ends."""
    ana, began = known(daemon, token(store, "ana")), time.time()
    id = ana.stored()
    for wanted in ({}, {"upload": id}, {"upload": id, "expires_in": 1e300}):
        assert began + HOUR - 1 <= link(ana, **wanted)["expires"] <= time.time() + HOUR
        soon = time.time() + 100
        short = Asker(daemon, signed("ana", soon))
        assert soon - 1 <= link(short, **wanted)["expires"] <= soon


def test_links_end_with_their_token(store: Path, daemon: Daemon) -> None:
    """Revoked, on every wire, and in a session that is open; those of the next one are good."""
    ana = known(daemon, token(store, "ana"))
    id = ana.stored()
    had, sends = link(ana, upload=id), [Asker(daemon, link(ana)["token"]) for _ in range(2)]
    nobody = Asker(daemon, None)
    assert nobody.status("GET", had["url"]) == "200"
    assert sends[0].status("PUT", "/a", {}, b"x") == "201"
    with sends[1].session() as ws:
        assert json.loads(ws.recv())["type"] == "welcome"
        revoke(store, ana)
        assert json.loads(ws.recv(30))["code"] == "token"
    assert nobody.status("GET", had["url"]) == "401"
    assert nobody.status("HEAD", had["url"]) == "401"
    assert sends[1].status("PUT", "/a", {}, b"x") == "401"
    assert sends[1].status("POST", "/api/upload", FORM, BODY) == "401"
    assert sends[1].hears({"type": "begin", "ref": 1}) == "token"
    again = known(daemon, token(store, "ana"))
    assert nobody.status("GET", link(again, upload=id)["url"]) == "200"
    assert nobody.status("GET", had["url"]) == "401"


def test_links_end_with_what_their_token_permits(store: Path, daemon: Daemon) -> None:
    """Each with its own scope; an administrator's go on, and so do those of whoever has the key."""
    ana, boss = known(daemon, token(store, "ana")), known(daemon, token(store, "b", Scope.ADMIN))
    id = ana.stored()
    had, send = link(ana, upload=id), Asker(daemon, link(ana)["token"])
    theirs, nobody = link(boss, upload=id), Asker(daemon, None)
    path = store / ".uploadd" / "tokens" / f"{id_of(ana.token or '')}.json"
    kept = json.loads(path.read_bytes())
    path.write_text(json.dumps(kept | {"scopes": ["create", "list"]}))
    assert daemon.settles(lambda: nobody.status("GET", had["url"]) == "401")
    assert send.status("PUT", "/a", {}, b"x") == "201"
    again = Asker(daemon, link(ana)["token"])
    path.write_text(json.dumps(kept | {"scopes": ["read", "list"]}))
    assert daemon.settles(lambda: nobody.status("GET", had["url"]) == "200")
    assert again.status("PUT", "/a", {}, b"x") == "401"
    assert nobody.status("GET", theirs["url"]) == "200"


def test_a_link_sends_no_more_than_it_is_for_whatever_is_said_at_its_end(
    store: Path, daemon: Daemon
) -> None:
    """The length that was put off is judged when it is told."""
    ana = known(daemon, token(store, "ana"))
    send = Asker(daemon, link(ana, max_length=5)["token"])
    begin, finish = {"type": "begin", "ref": 1}, {"type": "finish", "ref": 1, "length": 6}
    assert send.hears(begin, finish) == "too-large"


def test_what_a_link_was_for_goes_on_with_its_own_file_and_with_no_other(
    store: Path, daemon: Daemon
) -> None:
    """Of the same name and length: files are told apart by the keys of who sends them."""
    send = Asker(daemon, link(known(daemon, token(store, "ana")))["token"])
    begin = {"type": "begin", "ref": 1, "name": "scan.pdf", "length": 9}
    mine, other = token_hex(11), token_hex(11)
    assert send.hears(begin | {"key": mine}) == "ready"
    assert send.hears(begin | {"key": other}) == "forbidden"
    assert send.hears(begin) == "forbidden"
    assert send.hears(begin | {"key": mine, "name": "other.pdf"}) == "forbidden"
    assert send.hears(begin | {"key": mine}) == "ready"


def test_who_may_only_create_ends_nothing_by_sending_it_again(store: Path, daemon: Daemon) -> None:
    """What they have begun under a name goes on; whoever may cancel begins anew."""
    key = token_hex(11)
    form = FORM | {"X-Upload-Id": key}
    for scopes, found in (((Scope.CREATE, Scope.LIST), "403"), ((), "201")):
        one = known(daemon, token(store, f"cem{found}", *scopes))
        assert one.hears({"type": "begin", "ref": 1, "key": key, "length": 9}) == "ready"
        assert one.status("POST", "/api/upload", form, BODY) == found
        [moving] = [u["state"] for u in said(one, "GET", "/api/uploads?of=mine")["uploads"]]
        assert moving == ("queued" if found == "403" else "published")


def test_whoever_has_the_key_makes_links_that_no_token_ends(store: Path, daemon: Daemon) -> None:
    """The operator, by ``uploadd link``; only the key ends them."""
    ana = known(daemon, token(store, "ana"))
    id = ana.stored()
    link(ana)  # there is a key now
    key, *_ = files.keys(str(store / ".uploadd" / "keys"))
    ticket = tickets.sign(key, tickets.Ticket("read", id, int(time.time()) + 60))
    revoke(store, ana)
    assert Asker(daemon, ticket).status("GET", f"/f/{id}") == "200"
