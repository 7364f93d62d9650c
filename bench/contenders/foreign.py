"""A server that somebody else started: ``--peer tus=URL``."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import proc
from bench.contenders.server import Server, Starter, contender
from bench.installing import Missing

KINDS = ("tus",)


@dataclass(frozen=True)
class Peer:
    """What was named on the command line."""

    kind: str
    host: str
    port: int
    path: str


class BadPeer(ValueError):
    """Not KIND=URL; the text says what is."""


def parse(text: str) -> Peer:
    """``tus=http://127.0.0.1:1080/files/``."""
    kind, equals, url = text.partition("=")
    parts = urlsplit(url)
    if kind not in KINDS or not equals or parts.scheme != "http" or not parts.hostname:
        raise BadPeer(f"{text!r} is not tus=http://HOST:PORT/PATH")
    return Peer(kind, parts.hostname, parts.port or 80, parts.path or "/")


def starter(peer: Peer) -> Starter:
    """It runs already; its process is looked for on this machine."""
    name = f"{peer.kind} at port {peer.port}"

    @contender(name)
    def start(folder: Path) -> Iterator[Server]:
        if peer.host not in ("127.0.0.1", "localhost"):
            raise Missing(f"{peer.host} is not this machine: ratios would compare networks")
        pid = proc.listener(peer.port)
        note = "writes where it was started"
        note += "" if pid else "; its process is not to be seen: no CPU, no memory"
        server = Server(
            name, "?", peer.port, (pid,) if pid else (),
            durability="as it was started", flushes=None, tus=peer.path, note=note,
        )  # fmt: skip
        try:
            yield server
        finally:
            delete(server)

    return start


def delete(server: Server) -> None:
    """Have it remove what was uploaded, by tus' termination where it has that."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for path in server.made:
        connection.request("DELETE", path, headers={"Tus-Resumable": "1.0.0"})
        connection.getresponse().read()
    server.made.clear()
    connection.close()
