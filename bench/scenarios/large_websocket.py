"""One large upload over WebSocket: by size of chunks, and over 1, 8 and 64 connections.

uploadd beside what people would write: every message to a file, in Node and in aiohttp; and
beside the loop of a socket.io tutorial, which sends 10 KiB and waits.  uploadd's clients may send
what credit allows; the others have no limit at all.
"""

from bench.contenders import node, python, uploadd
from bench.contenders.server import Server
from bench.harness import Bench
from bench.load import sessions, socketio
from bench.load.workers import Load
from bench.places import MIB

KIB = 1024


def run(bench: Bench) -> None:
    """The same bytes in all, however many connections."""
    others = bench.pick(short=(node.ws,), full=(node.ws, python.aiohttp))
    for place in bench.everywhere("large uploads over WebSocket"):
        size = bench.mib(place, short=128, full=512, disk=64)
        with bench.servers(place, uploadd.WRITTEN, uploadd.DURABLE, *others) as servers:
            for chunk in (64 * KIB, 256 * KIB, 1024 * KIB):
                bench.compare(
                    f"{size // MIB} MiB, chunks of {chunk // KIB} KiB, 1 connection",
                    place,
                    servers,
                    lambda server: sessions.upload(server, 1, size, chunk),
                )
            for connections in (8, 64):
                bench.compare(
                    f"{size // MIB} MiB, chunks of 256 KiB, {connections} connections",
                    place,
                    servers,
                    lambda server: sessions.upload(server, connections, size, 256 * KIB),
                )
        with bench.servers(place, uploadd.WRITTEN, uploadd.DURABLE, node.socketio) as servers:
            bench.compare(
                "64 KiB chunks with credit beside 10 KiB stop and wait", place, servers, _either
            )


def _either(server: Server) -> Load:
    """Each as its clients do it."""
    if server.name.startswith("uploadd"):
        return sessions.upload(server, 1, 128 * MIB, 64 * KIB)
    return socketio.upload(server, 16 * MIB)
