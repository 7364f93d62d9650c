"""What the small resources of the front door say: the front page, ``/-/info``, OPTIONS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from uploadd.protocol import names
from uploadd.protocol.fields import Field
from uploadd.protocol.heads import Head
from uploadd.protocol.upgrade import SUBPROTOCOL
from uploadd.protocol.wsmessages import Limits

Page = tuple[int, list[Field], bytes]

_SMALL: Final = [("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-cache")]
_FRONT: Final = """\
uploadd {version}: an upload daemon whose acknowledgement means durable.

  uploadd put FILE {base}    send a file
  uploadd get URL            have it back
  {base}/                    in a browser: drop files here

WebSocket: {base}/-/ws ({subprotocol}); limits: {base}/-/info
"""


def base_url(head: Head) -> str:
    """How the peer has reached this server.

    Whoever names the scheme is believed: nobody else reads what it is written into.
    """
    secure = head.secure or head.values(b"x-forwarded-proto") == [b"https"]
    return f"http{'s' * secure}://{head.authority or 'localhost'}"


def front(version: str, head: Head) -> Page:
    """The front page, for somebody who has found the port."""
    base = base_url(head)
    text = _FRONT.format(version=version, base=base, subprotocol=SUBPROTOCOL)
    return (
        200,
        [("Content-Type", "text/plain; charset=utf-8"), *_SMALL, ("Vary", "Accept")],
        text.encode(),
    )


def info(
    version: str, durability: str, can: Sequence[str], limits: Limits, *, listing: bool
) -> Page:
    """Limits and protocols, in JSON; lengths in bytes.  *listing*: everybody may list."""
    told = {
        "name": "uploadd",
        "version": version,
        "durability": durability,
        "limits": limits,
        "access": {"list": "everybody" if listing else "nobody"},
        "protocols": {
            SUBPROTOCOL: {"path": "/-/ws", "can": list(can)},
            "tus 1.0.0": {"path": "/files/"},
            "draft-ietf-httpbis-resumable-upload": {"path": "/files/", "interop": [3, 9]},
            "multipart/form-data": {"path": "/"},
            "PUT": {"path": "/<name>"},
            "api": {"path": "/api/", "openapi": "/-/openapi.json"},
            "text/event-stream": {"path": "/api/events"},
        },
    }
    body = msgspec.json.encode(told) + b"\n"
    return 200, [("Content-Type", "application/json"), *_SMALL], body


def file_path(id: str, name: str | None) -> str:
    """The path of a published upload; the name decorates it and picks nothing."""
    return f"/f/{id}/{quote(names.sanitise(name, id))}"


def options(methods: Sequence[str]) -> Page:
    """The answer to OPTIONS."""
    return 204, [("Allow", ", ".join(methods))], b""


def allow(methods: Sequence[str]) -> list[Field]:
    """What goes with a refusal of the method."""
    return [("Allow", ", ".join(methods))] if methods else []


def upgrade_required() -> list[Field]:
    """What goes with 426 (RFC 9110 section 15.5.22)."""
    return [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
