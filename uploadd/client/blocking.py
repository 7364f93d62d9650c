"""The client for programs without trio: ``with connect(url) as client: client.upload(path)``.

One thread runs the trio client; whoever calls waits for it.  What callers hand over is called in
their own threads (``progress``, ``begun``, ``tell``) or in worker threads (iterables and files),
so nothing of theirs can hold up the uploads of the others.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeAlias

import trio

from uploadd.client import address
from uploadd.client.errors import UploadFailed
from uploadd.client.handover import Call, Sendable, reason, uploadable
from uploadd.client.session import PATIENCE, Client, Stored, open_client
from uploadd.client.uploading import Progress
from uploadd.protocol.wsmessages import Digest

_Store: TypeAlias = Callable[[Client], Awaitable[Stored]]


class ClientClosed(UploadFailed):
    """The client was closed, before the call or during it; what is durable stays."""

    code = "closed"


class BlockingClient:
    """Uploads to one server, from any number of threads; made by ``connect``.

    Leaving the ``with`` block, or ``close``, ends what still runs, and the thread.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        patience: float = PATIENCE,
        tell: Callable[[str], None] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        _not_in_trio()
        self.url: Final = address.parse(url).url
        if token is not None:
            address.check_token(token)
        self._open = partial(
            open_client, url, token, patience=patience, tell=self._tell, context=context
        )
        self._tell_caller = tell
        self._calls: set[Call] = set()
        self._lock = threading.Lock()  # of _calls and _over
        self._over = False
        self._fault: BaseException | None = None
        self._pid = os.getpid()
        self._ready = threading.Event()
        self._client: Client
        self._nursery: trio.Nursery
        self._loop: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=self._run, name="uploadd client", daemon=True)
        self._thread.start()
        try:
            self._ready.wait()
        except BaseException:
            self.close()
            raise
        if self._loop is None:
            raise RuntimeError("the thread of the client did not start") from self._fault

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the uploads that run, which raise ClientClosed, and the thread.  Again: nothing."""
        if os.getpid() != self._pid:
            return  # a fork has no thread to end
        self._ready.wait()
        with self._lock:
            self._over = True
        if self._loop is not None:
            with suppress(trio.RunFinishedError):
                self._loop.run_sync_soon(self._end)
        self._thread.join()

    def upload(
        self,
        source: Sendable,
        *,
        name: str | None = None,
        length: int | None = None,
        media_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        resume: str | None = None,
        key: str | None = None,
        digest: Digest | None = None,
        progress: Callable[[Progress], None] | None = None,
        begun: Callable[[str], None] | None = None,
    ) -> Stored:
        """Store *source* durably, and return when it is; as ``Client.upload``, but it waits.

        *name*: by default that of the path.  *progress* and *begun* are called in this thread;
        what they raise ends the upload.  Iterables and files are read in worker threads, one
        call at a time; one that hangs when the upload ends is left to itself.
        Raises UploadFailed.  After KeyboardInterrupt, or whatever else is raised in between,
        nothing more is sent; what is durable stays, and can be resumed.
        """
        _not_in_trio()
        if name is None and isinstance(source, str | os.PathLike):
            name = os.path.basename(source) or None
        call = Call(progress)
        store = partial(
            Client.upload,
            source=uploadable(source),
            name=name,
            length=length,
            media_type=media_type,
            metadata=metadata,
            resume=resume,
            key=key,
            digest=digest,
            progress=call.progress if progress is not None else None,
            begun=None if begun is None else lambda id: call.messages.put(partial(begun, id)),
        )
        try:
            self._submit(call, store)
            return call.wait()
        finally:
            self._leave(call)

    # --- in the threads of callers -------------------------------------------------------------

    def _submit(self, call: Call, store: _Store) -> None:
        """Hand *call* to the loop.  Raises ClientClosed."""
        if os.getpid() != self._pid:
            raise RuntimeError("a client does not survive a fork: connect in the new process")
        assert self._loop is not None
        with self._lock:
            if self._over:
                raise self._closed()
            self._calls.add(call)
        with suppress(trio.RunFinishedError):  # then it is told so already
            self._loop.run_sync_soon(self._start, call, store)

    def _leave(self, call: Call) -> None:
        """*call* is over for its caller: when this returns, it is so for the loop."""
        with self._lock:
            known = call in self._calls
        if known and call.result is None:
            assert self._loop is not None
            with suppress(trio.RunFinishedError):
                self._loop.run_sync_soon(self._stop, call)
            while call.messages.get() is not None:
                pass
        with self._lock:
            self._calls.discard(call)

    def _closed(self) -> ClientClosed:
        closed = ClientClosed("the thread of the client died" if self._fault else "it is closed")
        closed.__cause__ = self._fault
        return closed

    # --- in the thread of the client -----------------------------------------------------------

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self._fault = error
            raise
        finally:
            with self._lock:
                self._over = True
                calls = list(self._calls)
            for call in calls:
                call.end(self._closed())
            self._ready.set()

    async def _main(self) -> None:
        async with self._open() as self._client, trio.open_nursery() as self._nursery:
            self._loop = trio.lowlevel.current_trio_token()
            self._ready.set()
            await trio.sleep_forever()

    def _start(self, call: Call, store: _Store) -> None:
        try:
            self._nursery.start_soon(self._serve, call, store)
            call.started = True
        except RuntimeError:  # the nursery has closed; all calls are told when the loop has ended
            return

    def _stop(self, call: Call) -> None:
        call.scope.cancel(reason="its caller left")
        if not call.started:  # and never will be: what a caller asks for comes in order
            call.end(self._closed())

    def _end(self) -> None:
        self._nursery.cancel_scope.cancel(reason="the client was closed")

    async def _serve(self, call: Call, store: _Store) -> None:
        result: Stored | BaseException = self._closed()
        try:
            with call.scope:
                result = await store(self._client)
        except BaseException as error:  # the caller gets it, whatever it is
            told = reason(error)
            if told is None:
                raise  # the loop ends, and says why when it has
            result = told
        call.end(result)

    def _tell(self, line: str) -> None:
        """A line for people, to one of those who wait."""
        if self._tell_caller is not None:
            with self._lock:
                call = next(iter(self._calls), None)
            if call is not None:
                call.messages.put(partial(self._tell_caller, line))


def connect(
    url: str,
    token: str | None = None,
    *,
    patience: float = PATIENCE,
    tell: Callable[[str], None] | None = None,
    context: ssl.SSLContext | None = None,
) -> BlockingClient:
    """A client of the server at *url*, for a ``with`` block; it connects with the first upload.

    *patience*: seconds of trying again without progress after which ServerUnavailable is raised.
    *tell* gets a line for people whenever the connection is lost or the server lets us wait, in
    the thread of one who waits for it.
    Raises ValueError: not a URL, not a token.
    """
    return BlockingClient(url, token, patience=patience, tell=tell, context=context)


def upload(
    source: Sendable,
    url: str,
    token: str | None = None,
    *,
    name: str | None = None,
    length: int | None = None,
    media_type: str | None = None,
    metadata: Mapping[str, str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    patience: float = PATIENCE,
) -> Stored:
    """Store *source* at the server at *url*: ``connect`` and ``BlockingClient.upload`` in one."""
    with connect(url, token, patience=patience) as client:
        return client.upload(
            source,
            name=name,
            length=length,
            media_type=media_type,
            metadata=metadata,
            progress=progress,
        )


def _not_in_trio() -> None:
    if trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "this would stop the trio loop that it is called from:"
            " use `async with uploadd.client.open_client(url)` there"
        )
