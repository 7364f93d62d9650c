"""Where a server is, and how to get a byte stream to it."""

from __future__ import annotations

import os
import ssl
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import quote, urlsplit

import trio

from uploadd.client.errors import Rejected, ServerUnavailable

SCHEMES: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
CONNECT_SECONDS: Final = 10.0

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
    except OSError as error:
        raise unavailable(address, _reason(error)) from error
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
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise Rejected(
                "tls",
                f"the certificate of {address.authority} is not to be believed:"
                f" {cause.verify_message}",
                "check the URL; SSL_CERT_FILE names the certificates to believe",
            ) from error
        raise unavailable(address, f"no TLS: {cause or error}") from error
    except trio.Cancelled:
        await trio.aclose_forcefully(stream)
        raise
    return secure


def unavailable(address: Address, why: str) -> ServerUnavailable:
    """The error for a server that cannot be reached because of *why*."""
    return ServerUnavailable(
        f"cannot reach {address.authority}: {why}",
        "check the URL, and that uploadd runs there; the same command again resumes",
    )


def _reason(error: OSError) -> str:
    """What the system says; of several addresses, what it says of the first."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    told = cause if isinstance(cause, OSError) else error
    if told.errno is not None and told.errno > 0:
        return os.strerror(told.errno).lower()
    return told.strerror or str(told)  # of the resolver, whose numbers are its own
