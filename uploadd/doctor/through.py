"""What lies between peers and the daemon, asked as peers ask: each check is one question."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urljoin, urlsplit

from uploadd.doctor import proxies
from uploadd.doctor.finding import Finding, doubt, good, lasts, wrong
from uploadd.doctor.road import Reply, Road, RoadError

TUS: Final = {"Tus-Resumable": "1.0.0"}
PATCH: Final = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
HUGE: Final = 1 << 40
LITTLE: Final = 1 << 10
MUCH: Final = 256 << 10
"""More than any proxy holds back that passes a body on as it comes."""
PATIENCE: Final = 3.0
"""Seconds in which a proxy refuses by itself, or bytes arrive that were passed on."""
POLL: Final = 0.1
SKEW: Final = 30.0


def look(road: Road) -> Iterator[Finding]:
    """Everything, in the order in which it would fail."""
    try:
        yield (reached := _reach(road))
        if reached.lines or not reached.how.startswith("uploadd"):
            return
        info = road.ask("GET", "/-/info")
        yield _clock(info)
        if road.secure:
            yield lasts(road.certificate_ends(), "renew it where TLS is spoken")
        yield _scheme(road)
        yield _upgrade(road)
        created = road.ask("POST", "/files/", TUS | {"Upload-Defer-Length": "1"})
        if created.status != 201:
            yield _not_created(created)
            return
        yield from _upload(road, created)
    except RoadError as error:
        yield wrong("reach", f"the connection broke: {error}")


def _upload(road: Road, created: Reply) -> Iterator[Finding]:
    """What an upload meets on its way; it is removed in the end."""
    said = created.fields["Location"] or ""
    try:
        path = urlsplit(urljoin(f"{road.base}/files/", said)).path
    except ValueError as error:
        yield wrong("Location", f"of a new upload is no address: {error}")
        return
    try:
        yield _location(road, created)
        yield _sizes(road, path)
        yield _bodies(road, path)
    finally:
        with suppress(RoadError):
            road.ask("DELETE", path, TUS)


def _reach(road: Road) -> Finding:
    """Whether a daemon of ours answers."""
    try:
        reply = road.ask("GET", "/-/info")
    except RoadError as error:
        return wrong("reach", f"{road.authority}: {error}", "is it started? is it that address?")
    told = reply.told()
    if reply.status == 200 and told.get("name") == "uploadd":
        return good("reach", f"uploadd {told.get('version')} answers")
    if reply.code == "host-not-allowed":
        return wrong(
            "name",
            f"uploadd is reached and does not know itself as {road.host}",
            f'[server] names = ["{road.host}"]   then: systemctl reload uploadd',
            "if it does: the proxy passes another Host on:",
            *proxies.LOSES_HOST,
        )
    if reply.status in (502, 503, 504):
        how = f"a proxy answers {reply.status}: it does not reach uploadd"
        return wrong(
            "reach", how, "its upstream must be where uploadd listens: uploadd config show"
        )
    return wrong(
        "reach", f"something else answers there ({reply.status})", "the path in front of /-/"
    )


def _clock(info: Reply) -> Finding:
    """Whether both clocks agree; the answer was on its way for a moment."""
    try:
        there = parsedate_to_datetime(info.fields["Date"] or "").timestamp()
    except ValueError:
        return doubt("clock", "the answer says no Date")
    skew = there - time.time()
    if abs(skew) > SKEW:
        ahead = "ahead of" if skew > 0 else "behind"
        how = f"the server is {abs(skew):.0f} s {ahead} this computer: tokens expire wrongly"
        return wrong("clock", how, "timedatectl set-ntp true, on the one that is wrong")
    return good("clock", "agrees with this computer's")


def _scheme(road: Road) -> Finding:
    """Whether the daemon knows how it is reached."""
    front = road.ask("GET", "/", {"Accept": "text/plain"}).body.decode("utf-8", "replace")
    scheme = "https" if road.secure else "http"
    if f"{scheme}://{road.authority}" in front:
        return good("scheme", f"uploadd knows that it is reached by {scheme}")
    if f"//{road.authority}" not in front:
        how = f"uploadd does not hear the name {road.authority}: URLs that it prints are wrong"
        return doubt("scheme", how, *proxies.LOSES_HOST)
    how = "uploadd thinks that it is reached by http: URLs that it prints are wrong"
    return wrong("scheme", how, *proxies.LOSES_SCHEME)


def _upgrade(road: Road) -> Finding:
    """Whether a WebSocket gets through."""
    reply = road.upgrade()
    if reply.status == 101:
        return good("WebSocket", "gets through")
    if reply.status == 426 or not reply.code:
        lost = "Upgrade is removed on the way" if reply.status == 426 else f"{reply.status}"
        how = f"{lost}: the page uploads over plain HTTP instead, uploadd put does not"
        return wrong("WebSocket", how, *proxies.STRIPS_UPGRADE)
    return wrong("WebSocket", f"refused by uploadd: {reply.told().get('detail')}", *_hint(reply))


def _not_created(reply: Reply) -> Finding:
    if not reply.code:
        how = f"something on the way answers a new upload with {reply.status}"
        return wrong("uploads", how, "methods POST, PATCH, HEAD and DELETE must pass")
    refusal = f"refused by uploadd: {reply.told().get('detail')}"
    if reply.status == 401:
        return wrong("uploads", refusal, "uploadd doctor --token-file FILE URL, to look further")
    return wrong("uploads", refusal, *_hint(reply))


def _hint(reply: Reply) -> tuple[str, ...]:
    hint = reply.told().get("hint")
    return (str(hint),) if hint else ()


def _location(road: Road, created: Reply) -> Finding:
    """Whether the proxy leaves the address of a new upload alone."""
    location = created.fields["Location"] or ""
    parts = urlsplit(location)
    if parts.netloc and (parts.scheme, parts.netloc) != (
        "https" if road.secure else "http",
        road.authority,
    ):
        return wrong(
            "Location",
            f"is rewritten to {parts.scheme}://{parts.netloc}",
            "nginx:    proxy_redirect off;",
            "Caddy:    no header_down Location …",
            "HAProxy:  no http-response replace-header Location …",
        )
    return good("Location", "of a new upload comes as it was said")


def _sizes(road: Road, path: str) -> Finding:
    """Whether a body of any size is let in: of a terabyte only the head is sent."""
    with closing(road.begin("PATCH", path, PATCH | {"Content-Length": str(HUGE)})) as connection:
        reply = road.early(connection, PATIENCE)
    if reply is None or reply.code:  # taken, or refused by who may
        return good("sizes", "no size is refused on the way")
    how = f"something on the way refuses a large body with {reply.status}, uploadd never sees it"
    return wrong("sizes", how, *proxies.REFUSES_SIZE)


def _bodies(road: Road, path: str) -> Finding:
    """Whether a body is passed on as it comes."""
    status = f"/api/upload/{path.rpartition('/')[2]}/status"
    fields = PATCH | {"Content-Length": str(2 * (LITTLE + MUCH))}
    with closing(road.begin("PATCH", path, fields)) as connection:
        road.send(connection, bytes(LITTLE))
        if _arrives(road, status, LITTLE):
            return good("bodies", "are passed on as they come")
        road.send(connection, bytes(MUCH))
        if _arrives(road, status, LITTLE):
            return good("bodies", "are passed on as they come, but for their first bytes")
    how = "a proxy keeps each body until it is whole: no progress, and nothing to resume"
    return wrong("bodies", how, *proxies.BUFFERS)


def _arrives(road: Road, status: str, count: int) -> bool:
    """Whether *count* bytes are durable before long."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        offset = road.ask("GET", status).told().get("offset")
        if isinstance(offset, int) and offset >= count:
            return True
        time.sleep(POLL)
    return False
