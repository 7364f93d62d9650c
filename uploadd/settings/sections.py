"""Every setting there is; `declare` says how one is added.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from uploadd.settings.bounds import Limits
from uploadd.settings.declare import repeated, section, setting
from uploadd.settings.hooks import Hook
from uploadd.settings.kinds import (
    DURATION,
    MODE,
    SCOPE,
    TEMPLATE,
    TEXT,
    choice,
    many,
    optional,
    size,
)
from uploadd.settings.server import Durability, Server, Timeouts
from uploadd.settings.service import Admin, Log, Tls


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
    keep_finished: float | None = setting(
        optional(DURATION),
        "none",
        'How long a published file is kept before it is removed, or "none": until somebody deletes'
        " it.",
        reloads=True,
    )
    keep_notices: float = setting(
        DURATION,
        "30 d",
        "How long is kept how an upload ended, for a client that was away and has a client id.",
        reloads=True,
    )
    keep_gone: float = setting(
        DURATION,
        "30 d",
        "How long is remembered that an upload has ended without its file: who asks for one that"
        " has expired or was lost is told so (410), later that there is none (404).",
        reloads=True,
    )


@section
class Access:
    """Who may do what."""

    anonymous: Literal["yes", "no", "auto"] = setting(
        choice("yes", "no", "auto"),
        "auto",
        'Whether one may come without a token. "auto": as long as there are no tokens, the daemon'
        " listens on loopback or a unix socket, and server.names has local names at most: with"
        ' another it is behind a proxy, for others. "yes": from everywhere, beside those with'
        " tokens;"
        ' "no": never.',
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
    jwt_scopes: tuple[str, ...] = setting(
        many(SCOPE),
        [],
        "What such a token permits that has no scope claim: create, append, read, delete, list,"
        " watch, admin. Empty: nothing.",
    )
    link_keys: str = setting(
        TEXT,
        "",
        "Folder with the keys that sign links: every *.key verifies, the newest signs. The first is"
        " made when it is needed. Empty: .uploadd/keys in storage.dir.",
    )
    link_life: float = setting(
        DURATION,
        "31 d",
        "The longest life of a link that is made from now on. Over the wire none outlives the token"
        " that it was made with, either.",
        reloads=True,
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
class Config:
    """Every setting, in its section.  ``Config()`` is the defaults."""

    server: Server = Server()
    storage: Storage = Storage()
    access: Access = Access()
    durability: Durability = Durability()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    tls: Tls = Tls()
    admin: Admin = Admin()
    hook: Mapping[str, Hook] = repeated(Hook)
    log: Log = Log()
