"""The settings of how the daemon is reached, how it answers and what it promises.  Pure."""

from __future__ import annotations

from typing import Literal

from uploadd.settings.declare import section, setting
from uploadd.settings.kinds import (
    DURATION,
    HOST,
    NETWORK,
    ORIGIN,
    SOME_TEXT,
    choice,
    count,
    many,
    size,
)


@section
class Server:
    """Where the daemon listens and by which names it is known."""

    host: str = setting(
        SOME_TEXT,
        "127.0.0.1",
        "Address to listen on. As it is, only this computer can connect. Beyond loopback the daemon"
        " starts only when there are tokens, or access.anonymous says that it needs none.",
    )
    port: int = setting(count(0, 65535), 8080, "TCP port; 0 takes a free one and tells which.")
    names: tuple[str, ...] = setting(
        many(HOST),
        [],
        "Host names that are answered beside localhost, 127.0.0.1 and [::1], without port. A"
        " request for any other name is refused: a page elsewhere may point its own name at this"
        " address. With a name others are meant to come, if only through a proxy: then, too, there"
        " are tokens, or access.anonymous says that it needs none.",
        reloads=True,
    )
    origins: tuple[str, ...] = setting(
        many(ORIGIN),
        [],
        'Origins, "https://files.example.com", whose pages may upload here beside the daemon\'s'
        " own.",
        reloads=True,
    )
    proxies: tuple[str, ...] = setting(
        many(NETWORK),
        [],
        "Addresses and networks of proxies that are believed when X-Forwarded-For says whom they"
        ' speak for; "unix" for whoever comes by a unix socket. Limits of an address go by it, and'
        " nothing else.",
        reloads=True,
    )


@section
class Durability:
    """What an acknowledgement means, and when flushing starts by itself."""

    ack: Literal["durable", "written"] = setting(
        choice("durable", "written"),
        "durable",
        'What an acknowledgement means. "durable": survives kill -9 and power loss. "written":'
        " survives kill -9 only; faster for small files on slow disks.",
    )
    flush: Literal["files", "filesystem"] = setting(
        choice("files", "filesystem"),
        "files",
        'What is flushed. "files": each file by itself. "filesystem": all at once, quicker for'
        " many small uploads, for a disk that nothing else writes to.",
    )
    flush_bytes: int = setting(
        size(least=1),
        "8 MiB",
        "Bytes of one upload that are not durable yet and start a flush. Whoever waits for an"
        " answer never waits for this or for the interval: then the flush starts at once.",
    )
    flush_interval: float = setting(
        DURATION, "200 ms", "Time after the first byte that is not durable until a flush starts."
    )


@section
class Timeouts:
    """How long the daemon waits for a peer."""

    head: float = setting(
        DURATION,
        "15 s",
        "From the first byte of a request to the end of its head: slow heads hold connections.",
        reloads=True,
    )
    handshake: float = setting(DURATION, "5 s", "For the WebSocket handshake.", reloads=True)
    hello: float = setting(
        DURATION, "5 s", "From the handshake to the client's hello.", reloads=True
    )
    message: float = setting(
        DURATION,
        "30 s",
        "From the first byte of a message to its last; it waits in memory until then.",
        reloads=True,
    )
    idle: float = setting(
        DURATION,
        "60 s",
        "Without any byte from the peer. A session that answers pings is not idle.",
        reloads=True,
    )
    ping: float = setting(
        DURATION,
        "25 s",
        "Between the pings that keep a quiet session alive. Shorter than idle, and than the 60 s"
        " after which nginx and most load balancers end a quiet connection.",
        reloads=True,
    )
    send: float = setting(DURATION, "60 s", "For a peer to take what is sent to it.", reloads=True)
    stop: float = setting(
        DURATION,
        "10 s",
        "From the signal to stop until sessions that have not ended are cut; what was acknowledged"
        " is kept and clients go on where they were. Shorter than TimeoutStopSec of the unit.",
        reloads=True,
    )
