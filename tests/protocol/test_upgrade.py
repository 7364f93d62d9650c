"""The WebSocket handshake: it is answered only when all of it is right."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request
from wsproto.extensions import PerMessageDeflate

from uploadd.errors import UpgradeRequired, UpgradeStripped
from uploadd.protocol.heads import Head, HeadGate
from uploadd.protocol.upgrade import Upgrade, asks_for_upgrade, websocket_upgrade

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    "Host": "example.org",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "uploadd.v1",
}


def head(*more: str, line: str = "GET /-/ws HTTP/1.1", **changes: str | None) -> Head:
    """The head of a good handshake with *changes* (None: left out) and *more* lines."""
    said: dict[str, str | None] = dict(GOOD)
    said |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in said.items() if value is not None]
    gate = HeadGate()
    gate.feed("\r\n".join([line, *lines, *more, "", ""]).encode())
    made = gate.next()
    assert made is not None
    return made


def upgrade(made: Head) -> Upgrade:
    """The handshake in *made*, which must be one."""
    found = websocket_upgrade(made, 0)
    assert found is not None
    return found


def packed(token: str) -> str:
    """The subprotocol that carries *token*."""
    return "uploadd.token." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def test_the_answer_says_what_was_agreed_on_and_nothing_of_what_was_asked() -> None:
    """Our subprotocol; no extension, so that nothing is ever compressed; no token."""
    found = upgrade(
        head(
            *("Sec-WebSocket-Extensions: permessage-deflate", "Cookie: a=b", "Origin: http://x"),
            line="GET /-/ws?ticket=secret HTTP/1.1",
            Sec_WebSocket_Protocol=f"other, uploadd.v1, {packed('hunter2')}",
        )
    )
    assert found.answer == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"  # RFC 6455, 1.3
        b"Sec-WebSocket-Protocol: uploadd.v1\r\n\r\n"
    )
    assert found.token == "hunter2"
    assert "hunter2" not in repr(found)


def test_a_library_at_the_other_end_takes_it() -> None:
    """With the key that it has just made, and without the extension that it would have liked."""
    client = WSConnection(ConnectionType.CLIENT)
    request = Request(
        host="localhost",
        target="/-/ws",
        subprotocols=["other", "uploadd.v1"],
        extensions=[PerMessageDeflate()],
    )
    gate = HeadGate()
    gate.feed(client.send(request))
    made = gate.next()
    assert made is not None
    client.receive_data(upgrade(made).answer)
    [event] = client.events()
    assert isinstance(event, AcceptConnection)
    assert (event.subprotocol, event.extensions) == ("uploadd.v1", [])


@pytest.mark.parametrize(
    "changes",
    [
        {"Upgrade": "WebSocket"},
        {"Upgrade": "h2c, websocket"},
        {"Connection": "UPGRADE"},
        {"Sec_WebSocket_Protocol": "a, uploadd.v1"},
        {"Content_Length": "0"},
    ],
)
def test_every_legal_way_to_say_it_is_understood(changes: dict[str, str]) -> None:
    """Tokens in any case, in lists."""
    assert upgrade(head(**changes)).token is None


def test_lists_may_be_spread_over_fields() -> None:
    """As RFC 9110, 5.3 has it for every list."""
    found = upgrade(
        head(
            *("Sec-WebSocket-Protocol: a", f"Sec-WebSocket-Protocol: {packed('t')}, uploadd.v1"),
            *("Connection: upgrade",),
            Connection="keep-alive",
            Sec_WebSocket_Protocol=None,
        )
    )
    assert found.token == "t"


@pytest.mark.parametrize("upgrade_to", [None, "h2c", "TLS/1.0"])
def test_what_is_no_handshake_is_none(upgrade_to: str | None) -> None:
    """A plain request, also one that offers another protocol: that may be left alone."""
    plain = {name.replace("-", "_"): None for name in GOOD if name.startswith("Sec")}
    made = head(Connection=None, **plain, Upgrade=upgrade_to)
    assert websocket_upgrade(made, 0) is None
    assert asks_for_upgrade(made) == (upgrade_to is not None)


def test_a_proxy_that_strips_upgrade_is_recognised() -> None:
    """The hint has the lines that its configuration lacks."""
    for connection in (None, "close"):
        made = head(Upgrade=None, Connection=connection)
        assert asks_for_upgrade(made)
        with pytest.raises(UpgradeStripped) as caught:
            websocket_upgrade(made, 0)
        assert "proxy_set_header Upgrade" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "made",
    [
        head(line="POST /-/ws HTTP/1.1"),
        head(line="GET /-/ws HTTP/1.0"),
        head(Upgrade="h2c"),
        head(Upgrade="websocket2"),
        head(Connection=None),
        head(Connection="keep-alive"),
        head(Connection="not-upgrade"),
        *[
            head(Sec_WebSocket_Version=version)
            for version in (None, "", "12", "777", "13, 8", "013")
        ],
        head("Sec-WebSocket-Version: 13"),
        *[
            head(Sec_WebSocket_Key=key)
            for key in (None, "", "dGhl", KEY[:-1], KEY + "=", KEY + "AAAA", "!" + KEY, KEY[1:])
        ],
        head(Sec_WebSocket_Key=KEY.replace("G", "-")),
        head(f"Sec-WebSocket-Key: {KEY}"),
        head(Content_Length="1"),
        head("Transfer-Encoding: chunked"),
        *[
            head(Sec_WebSocket_Protocol=offered)
            for offered in (None, "", "uploadd.v2", "UPLOADD.V1", "uploadd.v1 x", "a b, uploadd.v1")
        ],
        head(Sec_WebSocket_Protocol="uploadd.v1, uploadd.v1"),
        head(Sec_WebSocket_Protocol=f"uploadd.v1, {packed('a')}, {packed('b')}"),
        *[
            head(Sec_WebSocket_Protocol=f"uploadd.v1, uploadd.token.{text}")
            for text in ("", "a", "YQ+", "YQ.", "_w", "gIA")
        ],
    ],
)
def test_a_wrong_handshake_is_refused(made: Head) -> None:
    """And the token is not in the message."""
    with pytest.raises(UpgradeRequired) as caught:
        websocket_upgrade(made, 0)
    assert "uploadd.token" not in caught.value.message


def test_bytes_behind_a_handshake_are_refused() -> None:
    """Whoever does not wait for the answer speaks to somebody else (a desynchronised proxy)."""
    assert websocket_upgrade(head(), 0) is not None
    with pytest.raises(UpgradeRequired):
        websocket_upgrade(head(), 1)


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_any_token_comes_through(token: str) -> None:
    """Of any length, with or without the padding that base64url leaves out."""
    assert upgrade(head(Sec_WebSocket_Protocol=f"uploadd.v1,{packed(token)}")).token == token
