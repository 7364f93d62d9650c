"""Where a server is, and how to get a byte stream to it."""

from __future__ import annotations

import os
import re
import socket
import ssl
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

import trio

from uploadd.client.errors import Rejected, ServerUnavailable, UploadFailed, WrongAddress

SCHEMES: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
CONNECT_SECONDS: Final = 10.0
PROBE_SECONDS: Final = 3.0
TLS_RECORDS: Final = (b"\x15\x03", b"\x16\x03")  # alert and handshake, of SSL 3.0 to TLS 1.3
_WANTS_TLS: Final = re.compile(
    rb"(?i)plain HTTP request was sent to|HTTP request to an HTTPS|plain HTTP to an SSL"
)
"""What nginx, Go and Apache answer to plain HTTP."""

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Address(NamedTuple):
    """A server, or something on it, as a URL names it."""

    secure: bool
    host: str
    port: int
    path: str
    """With its query; ``/`` when the URL has none."""

    @property
    def authority(self) -> str:
        """What goes into ``Host``: the port only when it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The HTTP URL."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.path}"

    def below(self, path: str) -> Address:
        """The same server, at *path* below this one."""
        return self._replace(path=self.path.partition("?")[0].rstrip("/") + path)


def parse(url: str) -> Address:
    """Raises ValueError: not a URL of a server."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError(f"{url!r} is not the URL of a server: http://host[:port] or https://...")
    if parts.username is not None:
        raise ValueError("a name and password in the URL are not used: give a token")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return Address(
        secure=parts.scheme in ("https", "wss"),
        host=parts.hostname,
        port=parts.port or SCHEMES[parts.scheme],
        path=f"{path}?{parts.query}" if parts.query else path,
    )


def ticket_of(url: str) -> str | None:
    """What a link to send one file brings: it is used as a token.  None in any other URL."""
    found = parse_qs(urlsplit(url).fragment).get("ticket")
    return check_token(found[0]) if found else None


def check_token(token: str) -> str:
    """*token*, if it can be said in a header.  Raises ValueError, which does not repeat it."""
    if not token or not all("!" <= c <= "~" for c in token):
        raise ValueError("a token is one word of ASCII")
    return token


async def open_stream(address: Address, context: ssl.SSLContext | None = None) -> Stream:
    """Connect; with TLS, shake hands.  *context*: which certificates to believe.

    Raises ServerUnavailable, and Rejected for a certificate that is not to be believed.
    """
    try:
        stream = await trio.open_tcp_stream(address.host, address.port)
    except socket.gaierror as error:
        raise WrongAddress(
            f"there is no host {address.host}: {_reason(error)}",
            f"check the name in {address.url}, and that this computer is online",
        ) from error
    except OSError as error:
        raise unavailable(address, _reason(error)) from error
    except UnicodeError as error:  # of the idna codec: a label that is empty or too long
        raise WrongAddress(f"{address.host!r} is no host name", "check the URL") from error
    if not address.secure:
        return stream
    secure = trio.SSLStream(
        stream,
        context or ssl.create_default_context(),
        server_hostname=address.host,
        https_compatible=True,
    )
    try:
        await secure.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        raise _no_handshake(address, error) from error
    except trio.Cancelled:
        await trio.aclose_forcefully(stream)
        raise
    return secure


def _no_handshake(address: Address, error: trio.BrokenResourceError) -> UploadFailed:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Rejected(
            "tls",
            f"the certificate of {address.authority} is not to be believed: {cause.verify_message}",
            "check the URL; SSL_CERT_FILE names the certificates to believe",
        )
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        if cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            plain = address._replace(secure=False).url
            return WrongAddress(
                f"the server at {address.host}:{address.port} does not speak TLS", f"try {plain}"
            )
        told = (cause.reason or "the handshake failed").replace("_", " ").lower()
        return WrongAddress(f"no TLS with {address.authority}: {told}", "check the URL")
    return unavailable(address, "the connection ended during the TLS handshake")


def speaks_tls(data: bytes | bytearray) -> bool:
    """Whether *data*, the first that came from a server, says that it wants TLS."""
    return bytes(data[:2]) in TLS_RECORDS or _WANTS_TLS.search(data) is not None


async def ended(address: Address, why: str) -> ServerUnavailable:
    """The error for a connection that ended before a byte of an answer came.

    Some servers (OpenSSL's are silent) do just that when they are asked for plain HTTP instead of
    TLS, so it is tried; the certificate does not matter for that.
    """
    if not address.secure:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with trio.move_on_after(PROBE_SECONDS), suppress(UploadFailed):
            stream = await open_stream(address._replace(secure=True), context)
            await trio.aclose_forcefully(stream)
            return wants_tls(address)
    return unavailable(address, why)


def wants_tls(address: Address) -> WrongAddress:
    """The error for a server that answered plain HTTP in a way that ``speaks_tls``."""
    secure = address._replace(secure=True).url
    return WrongAddress(
        f"the server at {address.host}:{address.port} speaks TLS only", f"try {secure}"
    )


def unavailable(address: Address, why: str) -> ServerUnavailable:
    """The error for a server that cannot be reached because of *why*."""
    return ServerUnavailable(f"cannot reach {address.authority}: {why}")


def _reason(error: OSError) -> str:
    """What the system says; of several addresses, what it says of the first."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    told = cause if isinstance(cause, OSError) else error
    if told.errno is not None and told.errno > 0:
        return os.strerror(told.errno).lower()
    return told.strerror or str(told)  # of the resolver, whose numbers are its own
