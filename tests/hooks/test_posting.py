"""A hook that is an address, over real sockets."""

from __future__ import annotations

import socket
import ssl

import pytest
import trio
import trustme

from tests.hooks.listener import listening, ok
from uploadd.errors import HookFailed
from uploadd.hooks import Receiver
from uploadd.hooks.posting import Target, post, target_of
from uploadd.protocol.hooks import MAX_ANSWER


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("http://a", Target("a", 80, False, "/"), "a"),
        ("https://a/b?c=d#e", Target("a", 443, True, "/b?c=d"), "a"),
        ("http://[::1]:8080/x", Target("::1", 8080, False, "/x"), "[::1]:8080"),
        ("https://a:80/", Target("a", 80, True, "/"), "a:80"),
    ],
)
def test_where_a_url_leads(url: str, target: Target, authority: str) -> None:
    """And whom it names there."""
    assert target_of(url) == target
    assert target.authority == authority


async def test_the_document_is_posted_with_its_id_and_signature() -> None:
    """And the answer is what came back."""
    async with listening() as listener:
        listener.answer = lambda told: ok(b'{"RejectUpload": true}')
        receiver = Receiver(
            name="x", events=frozenset(), target=listener.target, key=b"k" * 24, now=lambda: 7.5
        )
        assert await receiver.tell("id", b"{}" * 50_000, {}) == b'{"RejectUpload": true}'
        [told] = listener.told
        assert told.body == b"{}" * 50_000
        assert told.headers["content-type"] == "application/json"
        assert (told.id, told.headers["webhook-timestamp"]) == ("id", "7")
        assert told.headers["webhook-signature"].startswith("v1,")


async def test_an_answer_of_any_framing_is_read() -> None:
    """Chunked, or to the end of the connection, or with nothing; interim answers do not count."""
    wants = {
        b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"a"): b"a",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n": b"b",
        b"HTTP/1.0 200 OK\r\n\r\nc": b"c",
        b"HTTP/1.1 204 No Content\r\n\r\n": b"",
    }
    async with listening() as listener:
        for answer, body in wants.items():
            listener.answer = lambda told, answer=answer: answer
            assert await post(listener.target, [], b"{}") == body


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ok(status="500 No"), "answers 500"),
        (ok(b"", "302 Found", "Location: http://127.0.0.1:1/"), "answers 302"),
        (ok(b"x" * (MAX_ANSWER + 1)), "more than"),
        (b"", "closed without an answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "gives no whole answer"),
        (b"SSH-2.0-x\r\n\r\n", "gives no whole answer"),
    ],
)
async def test_what_is_no_good_answer_is_a_failure(answer: bytes, told: str) -> None:
    """A redirect too: nobody is followed."""
    async with listening() as listener:
        listener.answer = lambda _: answer
        with pytest.raises(HookFailed, match=told):
            await post(listener.target, [], b"{}")


async def test_who_is_not_who_the_url_says_is_told_nothing() -> None:
    """Encrypted, to somebody with a certificate for that name of an authority that is trusted."""
    authority, certificate = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(certificate)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with listening() as listener:
        listener.certificate = certificate
        target = listener.target._replace(secure=True)
        assert await post(target, [], b"{}", trusting) == b"{}"
        for other, trust, told in (
            (target, ssl.create_default_context(), "reached: .*certificate verify failed"),
            (target._replace(host="localhost"), trusting, "reached: .*mismatch"),
            (listener.target, trusting, "reached|closed without an answer"),
        ):
            with pytest.raises(HookFailed, match=told):
                await post(other, [], b"{}", trust)
        assert len(listener.told) == 1


async def test_nobody_there_is_a_failure() -> None:
    """At once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(HookFailed, match="cannot be reached"):
        await post(Target("127.0.0.1", port, False, "/"), [], b"{}")


async def test_one_that_does_not_answer_is_waited_for_no_longer_than_its_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In the time of the loop."""
    async with listening() as listener:
        listener.answer = lambda told: None
        receiver = Receiver(name="x", events=frozenset(), target=listener.target, timeout=10)
        with pytest.raises(HookFailed, match="hook x: no answer within 10 s"):
            await receiver.tell("id", b"{}", {})
