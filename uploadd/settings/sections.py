"""Every setting there is; `declare` says how one is added.  Pure."""

from __future__ import annotations

from typing import Literal

from uploadd.settings.declare import section, setting
from uploadd.settings.kinds import (
    DURATION,
    HOST,
    KIB,
    MIB,
    MODE,
    ORIGIN,
    SOME_TEXT,
    TEMPLATE,
    TEXT,
    choice,
    count,
    many,
    optional,
    size,
)
from uploadd.settings.service import Admin, Log


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
        " address.",
        reloads=True,
    )
    origins: tuple[str, ...] = setting(
        many(ORIGIN),
        [],
        'Origins, "https://files.example.com", whose pages may upload here beside the daemon\'s'
        " own.",
        reloads=True,
    )


@section
class Storage:
    """Where files come to lie, under which names, and for how long."""

    dir: str = setting(
        TEXT,
        "",
        'Folder for published files. Empty: the DIR of "uploadd serve DIR", which wins when given,'
        " or what systemd has made for the unit (StateDirectory=). Unfinished uploads lie in"
        " .uploadd/ inside it, on the same mount.",
    )
    path: str = setting(
        TEMPLATE,
        "{folder}/{name}",
        "Where a published file goes inside dir. {name} as the client gave it, made safe; {folder}"
        " it lay in there, also made safe, or nothing; {date} as 2026-01-31; {id} of the upload;"
        " {subject} who uploaded it. Nothing is ever overwritten.",
        reloads=True,
    )
    mode: int = setting(
        MODE,
        "0644",
        "Mode of published files, octal, as text. Others may read, so that a web server or a"
        " worker can.",
    )
    min_free: int = setting(
        size(),
        "64 MiB",
        "Bytes of the disk that uploads leave free: the ledger must be able to write when it is"
        " full. An upload that would take more is told no-space, and goes on when there is room"
        " again.",
    )
    keep_unfinished: float = setting(
        DURATION,
        "7 d",
        "How long an upload that nobody goes on with is kept before its bytes are removed.",
        reloads=True,
    )
    keep_notices: float = setting(
        DURATION,
        "30 d",
        "How long is kept how an upload ended, for a client that was away and has a client id.",
        reloads=True,
    )


@section
class Access:
    """Who may do what."""

    anonymous: Literal["yes", "no", "auto"] = setting(
        choice("yes", "no", "auto"),
        "auto",
        'Whether one may come without a token. "auto": as long as there are no tokens, and the'
        ' daemon listens on loopback; "yes": from everywhere, beside those with tokens; "no":'
        " never.",
    )
    tokens: str = setting(
        TEXT,
        "",
        "Folder with the tokens, a file each, as uploadd token new makes them; only hashes are"
        " kept. Changes count at once. Empty: .uploadd/tokens in storage.dir. While it is there,"
        " also empty, tokens are asked for.",
    )
    jwt_keys: str = setting(
        TEXT,
        "",
        "File with the keys (a JWK set) whose JSON Web Tokens are believed: RS256, ES256, EdDSA,"
        " and HS256 with a shared secret. Each key is for its one algorithm. Changes count at once."
        " Needs pip install 'uploadd[jwt]'.",
    )
    jwt_audience: str = setting(
        TEXT, "", "What aud of such a token must hold: the name of this service. Needs jwt_keys."
    )
    jwt_issuer: str = setting(TEXT, "", "What iss of such a token must be; empty: anything.")
    link_keys: str = setting(
        TEXT,
        "",
        "Folder with the keys that sign links: every *.key verifies, the newest signs. The first is"
        " made when it is needed. Empty: .uploadd/keys in storage.dir.",
    )
    grace: float = setting(
        DURATION,
        "1 d",
        "How long after its token has expired somebody may go on with what was begun while it was"
        " good: a large upload takes longer than many a token lives. Nothing new begins.",
        reloads=True,
    )
    read: Literal["owner", "everybody"] = setting(
        choice("owner", "everybody"),
        "owner",
        'Who may have a complete upload: "owner", and whoever has a link; or "everybody" who knows'
        " its URL, which nobody guesses. Without tokens it is everybody in any case.",
        reloads=True,
    )
    list: Literal["everybody", "nobody", "auto"] = setting(
        choice("everybody", "nobody", "auto"),
        "auto",
        'Who may see everybody\'s uploads, as a list and live: "everybody" or "nobody". With the'
        " list come the ids, and with an id an upload can be continued, cancelled or deleted."
        ' "auto": everybody, as long as the daemon listens on loopback, asks for no tokens and has'
        " no server.names (a proxy would be in front of it). A token with the scope admin always"
        " may.",
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
class Limits:
    """What one daemon, session or upload may use."""

    max_length: int | None = setting(
        optional(size()),
        "none",
        'Bytes of the largest upload that is taken, or "none": as many as the disk holds.',
        reloads=True,
    )
    memory: int = setting(
        size(least=MIB),
        "256 MiB",
        "Bytes of all uploads together that may wait in memory. When it is full, the sessions that"
        " use most are not read for a while.",
    )
    max_sessions: int = setting(
        count(),
        10000,
        "WebSocket sessions at one time. Each needs a file descriptor, and every upload that moves"
        " one more: see LimitNOFILE of the unit.",
        reloads=True,
    )
    max_refs: int = setting(count(), 256, "Uploads and fetches alive in one session.", reloads=True)
    max_watched: int = setting(
        count(),
        1000,
        "Uploads that one session or one stream of events may watch by their ids.",
        reloads=True,
    )
    max_events: int = setting(
        count(),
        1000,
        "Streams of events, and questions that wait for their answer, at one time. Each holds a"
        " connection.",
        reloads=True,
    )
    max_chunk: int = setting(
        size(16 * KIB, 16 * MIB),
        "1 MiB",
        "Bytes of the largest chunk, 16 KiB to 16 MiB. Less is granted when many sessions share"
        " memory.",
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


@section
class Config:
    """Every setting, in its section.  ``Config()`` is the defaults."""

    server: Server = Server()
    storage: Storage = Storage()
    access: Access = Access()
    durability: Durability = Durability()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    admin: Admin = Admin()
    log: Log = Log()
