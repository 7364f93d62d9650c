"""Uploading over one session, whatever happens to it: against the real machine in memory."""

from __future__ import annotations

import io
import random
from itertools import count, pairwise
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.client.server import Conversation, Link, Pieces, Server, client_of
from uploadd import errors as e
from uploadd.client import (
    DigestMismatch,
    LocalFileChanged,
    NotAuthorised,
    Progress,
    Rejected,
    ServerUnavailable,
    TakenOver,
    UploadFailed,
    UploadGone,
)
from uploadd.client.conversation import QUIET_SECONDS, SILENT_SECONDS
from uploadd.client.errors import WrongAddress
from uploadd.client.session import AT_ONCE, FIRST_PATIENCE
from uploadd.protocol.wsbegin import MIN_ANONYMOUS_KEY
from uploadd.protocol.wschunks import Chunk
from uploadd.protocol.wsmessages import Digest

DATA = random.Random(1).randbytes(950)


async def test_a_file_of_one_chunk_waits_for_nothing() -> None:
    """Begin and the last chunk go out together, also to a server that never says ready."""
    server = Server()
    server.say_ready = False
    async with client_of(server) as client:
        stored = await client.upload(io.BytesIO(b"hello"), name="a", media_type="text/plain")
    assert stored == ("http://host.test/f/u0", "u0", 5, False)
    [(_, begin)] = server.begins
    assert (begin.name, begin.length, begin.media_type) == ("a", 5, "text/plain")
    assert begin.key is not None
    assert len(begin.key) >= 22
    assert server.chunks == [(1, "u0", 0, 5)]
    assert server.content() == b"hello"


async def test_an_empty_file_is_a_file() -> None:
    """It has one chunk too, which is the last."""
    server = Server()
    async with client_of(server) as client:
        assert (await client.upload(io.BytesIO(b""))).length == 0
    assert server.content() == b""


async def test_a_larger_file_has_a_key_that_nobody_guesses() -> None:
    """So that it is found again when the answer to its begin is lost."""
    server = Server()
    async with client_of(server) as client:
        await client.upload(io.BytesIO(DATA), name="a")
    [(_, begin)] = server.begins
    assert begin.key is not None
    assert len(begin.key) >= MIN_ANONYMOUS_KEY
    assert server.content() == DATA


async def test_chunks_are_full_and_nothing_is_sent_twice() -> None:
    """Credit that comes in crumbs is saved up."""
    server = Server(window=170, lag=0)
    async with client_of(server) as client:
        await client.upload(io.BytesIO(DATA))
    sizes = [end - at for _, _, at, end in server.chunks]
    assert sizes == [100] * 9 + [50]


async def test_many_uploads_share_one_session() -> None:
    """Two hundred at once: one connection, and never more refs than the client allows itself."""
    server = Server()
    files = {f"f{n}": DATA[: n * 4] for n in range(200)}
    async with client_of(server) as client, trio.open_nursery() as nursery:
        for name, data in files.items():

            async def upload(name: str = name, data: bytes = data) -> None:
                await client.upload(Pieces(data), name=name, length=len(data))

            nursery.start_soon(upload)
    assert {held.name: bytes(held.data) for held in server.published()} == files
    assert server.connects == 1
    assert 2 < server.most_alive <= AT_ONCE


async def test_uploads_take_turns() -> None:
    """A small file does not wait until a large one is through."""
    server = Server(window=10_000)
    async with client_of(server) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.upload, Pieces(bytes(100_000), 5000))
        while len(server.chunks) < 3:
            await trio.lowlevel.checkpoint()
        await client.upload(Pieces(DATA))
        assert not server.uploads["u0"].published


@pytest.mark.parametrize("rewinds", [True, False])
async def test_the_connection_may_be_lost_at_every_message(rewinds: bool) -> None:
    """Before each of them, in both directions: one file, whole; what was durable goes once."""
    for breaks in count():
        server = Server()
        link = Link(breaks)
        server.links = [link]
        async with client_of(server) as client:
            await client.upload(io.BytesIO(DATA) if rewinds else Pieces(DATA), name="a")
        assert server.content() == DATA
        assert len(server.uploads) == 1
        assert server.sent() <= len(DATA) + server.lag + server.max_chunk
        if link.count <= breaks:
            break
        assert server.connects == 2
    assert breaks > 15


@settings(max_examples=60)
@given(
    size=st.integers(0, 2000),
    piece=st.integers(1, 400),
    max_chunk=st.integers(1, 120),
    window=st.integers(120, 700),
    lag=st.integers(0, 700),
    breaks=st.lists(st.integers(2, 40), max_size=4),
)
def test_whatever_the_limits_and_the_losses_the_file_is_whole(
    size: int, piece: int, max_chunk: int, window: int, lag: int, breaks: list[int]
) -> None:
    """And the credit is never exceeded: the machine of the server would have refused."""
    data = random.Random(size).randbytes(size)
    server = Server(max_chunk=max_chunk, initial=max_chunk, window=window, lag=lag)
    server.links = [Link(number) for number in breaks]

    async def main() -> None:
        with trio.fail_after(60):
            async with client_of(server) as client:
                await client.upload(Pieces(data, piece), key="k" * 22, length=size)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert server.content() == data


async def test_a_resumed_upload_sends_what_is_not_durable() -> None:
    """It is begun by its id, and from there on it is the same."""
    server = Server()
    server.script[4] = lambda session, chunk: session.cut()
    begun: list[str] = []
    async with client_of(server, patience=0.0) as client:
        with pytest.raises(ServerUnavailable):
            await client.upload(io.BytesIO(DATA), begun=begun.append)
    durable = server.uploads["u0"].durable
    assert (begun, durable) == (["u0"], 200)
    server.chunks.clear()
    server.script.clear()
    async with client_of(server) as client:
        stored = await client.upload(io.BytesIO(DATA), resume=begun[0])
    assert (stored.id, server.content(), server.sent()) == ("u0", DATA, len(DATA) - durable)


async def test_to_resume_what_is_published_sends_nothing() -> None:
    """The answer to begin is done."""
    server = Server()
    async with client_of(server) as client:
        first = await client.upload(io.BytesIO(DATA))
        server.chunks.clear()
        again = await client.upload(io.BytesIO(DATA), resume=first.id)
    assert again == first._replace(resumed=True)
    assert server.chunks == []


async def test_a_server_that_drains_sees_us_again(autojump_clock: MockClock) -> None:
    """We answer, send nothing more, come back when we are to, and go on where it was."""
    server = Server()

    def drain(session: Conversation, chunk: Chunk) -> bool:
        session.machine.drain(7.0, 30.0)
        return True

    server.script[4] = drain
    said: list[str] = []
    async with client_of(server, tell=said.append) as client:
        await client.upload(Pieces(DATA), length=len(DATA))
    assert (server.content(), server.drained, server.connects) == (DATA, 1, 2)
    assert server.greetings[1] - server.greetings[0] == pytest.approx(7.0)
    assert server.sent() == len(DATA)  # the last acks were heard
    assert said == ["the server restarts; trying again in 7.0 s"]


async def test_a_draining_server_that_never_closes_is_left(autojump_clock: MockClock) -> None:
    """A little after the deadline that it has set itself."""
    server = Server()

    def drain(session: Conversation, chunk: Chunk) -> None:
        session.machine.drain(1.0, 30.0)
        session.handle = lambda event: None  # type: ignore[method-assign]  # it hangs from now on

    server.script[2] = drain
    async with client_of(server) as client:
        await client.upload(Pieces(DATA), length=len(DATA))
    assert server.content() == DATA
    assert 30.0 < trio.current_time() < 60.0


async def test_whoever_took_over_is_left_in_peace() -> None:
    """No second begin: two clients would take it from each other for ever."""
    server = Server()
    server.script[3] = lambda session, chunk: session.machine.gone(
        chunk.ref, "u0", "taken-over", 100
    )
    async with client_of(server) as client:
        with pytest.raises(TakenOver):
            await client.upload(io.BytesIO(DATA))
    assert (server.connects, len(server.begins)) == (1, 1)


@pytest.mark.parametrize("reason", ["lost", "cancelled"])
async def test_an_upload_that_is_gone_is_not_begun_again(reason: str) -> None:
    """Whether to start anew is for the caller to say, who is told the reason."""
    server = Server()
    server.script[3] = lambda session, chunk: session.machine.gone(
        chunk.ref,
        "u0",
        reason,  # type: ignore[arg-type]  # of two GoneReasons
        100,
    )
    async with client_of(server) as client:
        with pytest.raises(UploadGone) as caught:
            await client.upload(io.BytesIO(DATA))
        assert caught.value.reason == reason
        with pytest.raises(UploadGone) as caught:
            await client.upload(io.BytesIO(DATA), resume="unheard-of")
        assert caught.value.reason == "not-found"


async def test_a_full_disk_is_waited_out(autojump_clock: MockClock) -> None:
    """Longer each time, the same upload under the same ref, and nothing is sent into it."""
    server = Server()

    def full(session: Conversation, chunk: Chunk) -> None:
        session.machine.refuse(chunk.ref, e.NoSpace("0 bytes are free", offset=200))
        server.refusals = [e.NoSpace("0 bytes are free", offset=200) for _ in range(3)]

    server.script[4] = full
    async with client_of(server, chance=lambda: 1.0) as client:
        await client.upload(Pieces(DATA), length=len(DATA))
    assert server.content() == DATA
    times = [time for time, _ in server.begins]
    waited = [after - before for before, after in pairwise(times)]
    assert waited == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert [begin.upload for _, begin in server.begins] == [None] + ["u0"] * 4
    assert len({begin.ref for _, begin in server.begins}) == 1


async def test_a_disk_that_stays_full_ends_it(autojump_clock: MockClock) -> None:
    """With the error of the server, when there was no progress for as long as we are patient."""
    server = Server()
    server.refusals = [e.NoSpace("0 bytes are free") for _ in range(1000)]
    async with client_of(server, chance=lambda: 0.5, patience=300.0) as client:
        with pytest.raises(Rejected) as caught:
            await client.upload(Pieces(DATA), length=len(DATA))
    assert (caught.value.code, caught.value.retryable) == ("no-space", True)
    assert 300.0 <= trio.current_time() < 311.0


@pytest.mark.parametrize("error", [e.OffsetMismatch("not here"), e.ChecksumMismatch("damaged")])
async def test_a_refused_chunk_is_sent_again_at_once(
    error: e.UploadError, autojump_clock: MockClock
) -> None:
    """From the durable offset, without waiting; but not at once a second time."""
    server = Server()
    server.script[4] = lambda session, chunk: session.machine.refuse(chunk.ref, error)
    async with client_of(server, chance=lambda: 1.0) as client:
        await client.upload(Pieces(DATA), length=len(DATA))
        assert trio.current_time() == 0.0
        server.refusals = [error, error]
        await client.upload(Pieces(DATA), length=len(DATA))
        assert trio.current_time() == pytest.approx(0.4)


async def test_a_final_error_is_raised_with_its_code_and_hint() -> None:
    """What the server says is what the caller sees, and the session goes on."""
    server = Server()
    server.refusals = [e.TooLarge("12 bytes, the limit is 10", hint="make it smaller")]
    async with client_of(server) as client:
        with pytest.raises(Rejected, match="12 bytes") as caught:
            await client.upload(io.BytesIO(DATA))
        assert (caught.value.code, caught.value.hint) == ("too-large", "make it smaller")
        assert not caught.value.retryable
        await client.upload(io.BytesIO(DATA))
    assert server.connects == 1


async def test_a_final_error_that_will_pass_is_waited_out(autojump_clock: MockClock) -> None:
    """The holder of the upload may be stuck in the disk for a moment: our own old session."""
    server = Server()
    server.refusals = [e.HolderStuck("wait"), e.TooMany("wait")]
    async with client_of(server, chance=lambda: 1.0) as client:
        await client.upload(Pieces(DATA), length=len(DATA))
    assert server.content() == DATA
    assert trio.current_time() == pytest.approx(0.6)


async def test_a_bad_token_ends_every_upload_and_no_later_one() -> None:
    """All that wait are told; when the next begins, it is tried again."""
    server = Server()
    server.refuse_session = e.Unauthorised("a token is needed")
    async with client_of(server) as client:
        async with trio.open_nursery() as nursery:

            async def refused() -> None:
                with pytest.raises(NotAuthorised, match="token"):
                    await client.upload(io.BytesIO(DATA))

            nursery.start_soon(refused)
            nursery.start_soon(refused)
        assert server.connects == 1
        server.refuse_session = None
        await client.upload(io.BytesIO(DATA))


async def test_a_server_that_was_never_there_is_given_up_soon(autojump_clock: MockClock) -> None:
    """It is a typing mistake rather than a restart."""

    class Nowhere(Server):
        async def connect(self, nursery: trio.Nursery) -> object:  # type: ignore[override]  # any Messages will do
            raise ServerUnavailable("connection refused")

    async with client_of(Nowhere(), chance=lambda: 0.5) as client:
        with pytest.raises(ServerUnavailable, match="refused"):
            await client.upload(Pieces(DATA))
    assert FIRST_PATIENCE <= trio.current_time() < FIRST_PATIENCE + 11


async def test_a_server_that_went_away_is_waited_for(autojump_clock: MockClock) -> None:
    """As long as we are patient, counted from the last byte that moved."""

    class Leaving(Server):
        async def connect(self, nursery: trio.Nursery) -> object:  # type: ignore[override]  # any Messages will do
            if self.connects and trio.current_time() < back:
                raise ServerUnavailable("connection refused")
            return await super().connect(nursery)

    for seconds, comes in ((290.0, True), (1e9, False)):
        server = Leaving()
        server.links = [Link(8)]
        before = trio.current_time()
        back = before + seconds
        async with client_of(server, chance=lambda: 0.9, patience=300.0) as client:
            if comes:
                await client.upload(Pieces(DATA), length=len(DATA))
                assert server.content() == DATA
            else:
                with pytest.raises(ServerUnavailable):
                    await client.upload(Pieces(DATA), length=len(DATA))
                assert 300.0 <= trio.current_time() - before < 311.0


async def test_a_silent_server_is_left(autojump_clock: MockClock) -> None:
    """Nothing heard and no pong: the network between us is gone, whatever TCP thinks."""
    server = Server()
    link = Link()
    server.links = [link]

    def silence(session: Conversation, chunk: Chunk) -> None:
        link.deaf = True

    server.script[4] = silence
    async with client_of(server) as client:
        await client.upload(Pieces(DATA), length=len(DATA))
    assert server.content() == DATA
    assert server.connects == 2
    assert trio.current_time() == pytest.approx(QUIET_SECONDS + SILENT_SECONDS)


async def test_a_slow_producer_does_not_make_the_server_look_dead(
    autojump_clock: MockClock,
) -> None:
    """Pings are answered."""
    server = Server()
    async with client_of(server) as client:
        await client.upload(Pieces(DATA, 400, seconds=1000.0))
    assert (server.content(), server.connects) == (DATA, 1)


async def test_a_slow_producer_delays_nobody_who_was_served(autojump_clock: MockClock) -> None:
    """What it gave is sent and durable long before it gives more, also after a loss."""
    server = Server(lag=0)
    server.links = [Link(6)]
    seen: list[tuple[float, int]] = []
    async with client_of(server) as client:
        await client.upload(
            Pieces(DATA, 400, seconds=1000.0),
            progress=lambda progress: seen.append((trio.current_time(), progress.stored)),
        )
    assert server.connects == 2
    assert max(stored for time, stored in seen if time < 2000.0) == 400


async def test_a_file_that_is_written_to_is_not_stored(tmp_path: Path) -> None:
    """Nobody can say which state of it would have arrived."""
    path = tmp_path / "log"
    path.write_bytes(DATA)
    server = Server()

    def write(session: Conversation, chunk: Chunk) -> bool:
        with path.open("ab") as file:
            file.write(b"one more line")
        return True

    server.script[2] = write
    async with client_of(server) as client:
        with pytest.raises(LocalFileChanged, match="log"):
            await client.upload(path)
    assert server.published() == []


@pytest.mark.parametrize("length", [len(DATA) - 1, len(DATA) + 1])
async def test_a_stream_that_has_another_length_than_it_said_is_not_stored(length: int) -> None:
    """The mistake is ours, and is said before the server finds it."""
    server = Server()
    async with client_of(server) as client:
        with pytest.raises(LocalFileChanged, match=str(length)):
            await client.upload(Pieces(DATA), length=length)
    assert server.published() == []


async def test_an_error_of_the_iterable_comes_out_as_it_is() -> None:
    """Without a group around it, and the session lives on."""

    class Broken(Pieces):
        async def __anext__(self) -> bytes:
            raise ZeroDivisionError

    server = Server()
    async with client_of(server) as client:
        with pytest.raises(ZeroDivisionError):
            await client.upload(Broken(b""))
        await client.upload(io.BytesIO(DATA))
    assert server.connects == 1


async def test_a_cancelled_upload_leaves_its_neighbours_alone() -> None:
    """No frame is cut: one session still, and the other file is whole."""
    server = Server()
    async with client_of(server) as client, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:

            def stop(session: Conversation, chunk: Chunk) -> bool:
                scope.cancel()
                return True

            server.script[3] = stop
            nursery.start_soon(client.upload, Pieces(DATA))
            await client.upload(Pieces(bytes(5000)), length=5000)
        assert scope.cancelled_caught
    assert (server.content(), server.connects) == (DATA, 1)


async def test_a_smaller_max_chunk_is_kept_to() -> None:
    """The newest told counts; what was on its way may be larger."""
    server = Server()

    def shrink(session: Conversation, chunk: Chunk) -> bool:
        session.machine.set_max_chunk(10)
        return True

    server.script[2] = shrink
    async with client_of(server) as client:
        await client.upload(io.BytesIO(DATA))
    sizes = [end - at for _, _, at, end in server.chunks]
    assert sizes[:2] == [100, 100]
    assert set(sizes[6:]) == {10}


async def test_progress_tells_sent_from_stored() -> None:
    """Both grow, stored never overtakes, and at the end they are the same."""
    seen: list[Progress] = []
    server = Server()
    async with client_of(server) as client:
        await client.upload(io.BytesIO(DATA), progress=seen.append)
    assert all(p.stored <= p.sent <= len(DATA) == p.total for p in seen)
    assert [p.stored for p in seen] == sorted(p.stored for p in seen)
    assert any(p.stored < p.sent for p in seen)
    assert seen[-1] == (len(DATA), len(DATA), len(DATA))


async def test_the_id_is_told_once_and_only_if_there_is_something_to_resume() -> None:
    """For a file of one chunk the done is nearer than any use of its id."""
    begun: list[str] = []
    server = Server()
    server.links = [Link(9)]
    async with client_of(server) as client:
        await client.upload(io.BytesIO(b"small"), begun=begun.append)
        await client.upload(io.BytesIO(DATA), begun=begun.append)
    assert server.connects == 2
    assert begun == ["u1"]


async def test_a_digest_that_does_not_hold_is_a_mismatch() -> None:
    """Whether the server finds it or we do."""
    server = Server()
    digest = Digest("sha-256", bytes(32))
    server.script[1] = lambda session, chunk: session.machine.refuse(
        chunk.ref, e.DigestMismatch("other bytes")
    )

    def other(session: Conversation, chunk: Chunk) -> bool:
        session.runs[chunk.ref].digest = Digest("sha-256", bytes([1]) * 32)
        return True

    server.script[2] = other
    async with client_of(server) as client:
        for _ in range(2):
            with pytest.raises(DigestMismatch):
                await client.upload(io.BytesIO(b"small"), digest=digest)
        await client.upload(io.BytesIO(b"small"), digest=digest)


async def test_what_does_not_fit_into_a_message_is_the_callers_mistake() -> None:
    """And nobody else's: the session lives on."""
    server = Server()
    async with client_of(server) as client:
        with pytest.raises(ValueError, match="name"):
            await client.upload(io.BytesIO(DATA), name="x" * 2000)
        await client.upload(io.BytesIO(DATA), name="x")
    assert server.connects == 1


def test_every_failure_has_a_code_of_its_own() -> None:
    """Scripts look at codes, not at classes."""

    def leaves(kind: type[UploadFailed]) -> list[type[UploadFailed]]:
        return [kind, *(leaf for below in kind.__subclasses__() for leaf in leaves(below))]

    codes = [kind.code for kind in leaves(UploadFailed) if not issubclass(kind, Rejected)]
    assert len(codes) == len(set(codes))


async def test_a_wrong_address_is_given_up_at_once(autojump_clock: MockClock) -> None:
    """Unless the server was well under it before: then the name service may be away too."""

    class Unknown(Server):
        known_until = 0.0

        async def connect(self, nursery: trio.Nursery) -> object:  # type: ignore[override]  # any Messages will do
            if self.connects >= 1 and trio.current_time() < self.known_until:
                raise WrongAddress("there is no host of that name")
            if self.known_until == 0.0:
                raise WrongAddress("there is no host of that name")
            return await super().connect(nursery)

    server = Unknown()
    async with client_of(server, chance=lambda: 1.0) as client:
        with pytest.raises(WrongAddress):
            await client.upload(Pieces(DATA))
        assert trio.current_time() == 0.0
        server.known_until, server.links = 60.0, [Link(8)]
        await client.upload(Pieces(DATA), length=len(DATA))
    assert server.content() == DATA
    assert trio.current_time() >= 60.0


async def test_an_upload_is_resumed_when_some_of_it_was_there() -> None:
    """From before a reconnect as well as from an earlier call; not when all was sent anew."""
    server = Server()
    server.links = [Link(12)]
    async with client_of(server) as client:
        stored = await client.upload(io.BytesIO(DATA))
        assert (stored.resumed, server.connects) == (True, 2)
    server = Server()
    server.links = [Link(2)]  # after hello and welcome
    async with client_of(server) as client:
        stored = await client.upload(io.BytesIO(DATA))
        assert (stored.resumed, server.connects) == (False, 2)
        assert not (await client.upload(io.BytesIO(b"small"))).resumed


def test_every_failure_says_what_to_do() -> None:
    """Also where the server sent no hint."""
    failures: list[UploadFailed] = [
        *(
            kind("why")
            for kind in UploadFailed.__subclasses__()
            if kind not in (Rejected, UploadGone)
        ),
        WrongAddress("why"),
        UploadGone("why", "expired"),
        Rejected("no-space", "why", retryable=True),
        Rejected("too-large", "why"),
        DigestMismatch("why"),
    ]
    assert all(failure.hint for failure in failures)
