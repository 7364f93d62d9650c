"""Encryption by the daemon itself: what peers see before the front door."""

from __future__ import annotations

import logging
import ssl
import time
from typing import Final, NamedTuple

import trio

from uploadd import errors
from uploadd.listening import Door
from uploadd.protocol import certificates
from uploadd.serve.sockets import last_word

log = logging.getLogger("uploadd.tls")
HANDSHAKE: Final = 0x16
"""The first byte of everybody who means TLS (RFC 8446 section 5.1); of HTTP it is none."""


DAY: Final = 86_400.0


class NoCertificate(Exception):
    """Why *cert* or *key* cannot be used."""


class Shown(NamedTuple):
    """What peers are shown, and when its certificate ends, in epoch seconds."""

    context: ssl.SSLContext
    ends: float


def shown_of(cert: str, key: str) -> Shown:
    """TLS 1.2 and 1.3 with what the file *cert* holds.  May block.  Raises NoCertificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key or None, password=_no_passphrase)
    except ssl.SSLError as error:
        raise NoCertificate(_reason(error, cert, key)) from error
    except OSError as error:
        raise NoCertificate(f"{_unreadable(cert, key)}: {error.strerror}") from error
    try:
        with open(cert, encoding="utf-8", errors="replace") as file:
            return Shown(context, certificates.ends(file.read()))
    except (OSError, ValueError) as error:
        raise NoCertificate(f"{cert} cannot be understood: {error}") from error


def _no_passphrase() -> str:
    raise NoCertificate("the key has a passphrase, and there is nobody to type it")


def _reason(error: ssl.SSLError, cert: str, key: str) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key or cert} is not that of the certificate in {cert}"
    if not key:
        return f"{cert} holds no certificate with its key in PEM, and tls.key is not set"
    return f"{cert} and {key} hold no certificate and key in PEM"


def _unreadable(*paths: str) -> str:
    for path in filter(None, paths):
        try:
            open(path, "rb").close()
        except OSError:
            return f"{path} cannot be read"
    return "the certificate cannot be read"


class Encryption:
    """Shakes hands with who comes, within *seconds*, and leads them to *door*."""

    def __init__(self, door: Door, shown: Shown | None, seconds: float) -> None:
        self._door, self._shown, self._seconds = door, shown, seconds
        self._shaking: set[trio.CancelScope] = set()
        self._changed = trio.Event()

    @property
    def on(self) -> bool:
        """Whether there is a certificate."""
        return self._shown is not None

    @property
    def ends(self) -> float | None:
        """When the certificate ends, in epoch seconds; None without one."""
        return None if self._shown is None else self._shown.ends

    def worry(self) -> str:
        """That the certificate ends soon, or has; empty while it lasts."""
        return "" if self.ends is None else certificates.worry(self.ends, time.time())

    def adopt(self, shown: Shown | None, seconds: float) -> None:
        """Go by these from the next connection on."""
        self._shown, self._seconds = shown, seconds
        self._changed.set()

    async def remind(self) -> None:
        """Say once a day that the certificate ends soon, until cancelled."""
        while True:
            self._changed = trio.Event()
            if worry := self.worry():
                log.warning("the certificate %s: renew it, then reload", worry)
            with trio.move_on_after(DAY):
                await self._changed.wait()

    def drain(self) -> None:
        """Nobody who has not come to the door yet needs to."""
        for scope in self._shaking:
            scope.cancel(reason="draining")

    async def serve(self, stream: trio.SocketStream) -> None:
        """Converse on *stream* until it ends, and close it.  Raises nothing but Cancelled."""
        if self._shown is None or stream.socket.family == trio.socket.AF_UNIX:
            await self._door.serve(stream)
            return
        try:
            secured = await self._secured(stream, self._shown.context)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            log.debug("no TLS with a peer: %s", error.__cause__ or error)
            secured = None
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        if secured is None:
            await trio.aclose_forcefully(stream)
        else:
            await self._door.serve(secured)

    async def _secured(
        self, stream: trio.SocketStream, context: ssl.SSLContext
    ) -> trio.SSLStream[trio.SocketStream] | None:
        """*stream*, encrypted; None when the peer speaks something else, or takes too long."""
        with trio.move_on_after(self._seconds) as patience:
            self._shaking.add(patience)
            try:
                first = await stream.socket.recv(1, trio.socket.MSG_PEEK)
                if first[:1] == bytes([HANDSHAKE]):
                    secured = trio.SSLStream(stream, context, server_side=True)
                    await secured.do_handshake()
                    return secured
                if first:
                    await last_word(stream, "tls").refuse(_PLAIN)
            finally:
                self._shaking.discard(patience)
        return None


_PLAIN: Final = errors.BadRequest(
    "this port speaks TLS, and the request came without", hint="write https:// instead of http://"
)
