"""What a configuration comes to in a running daemon, and what of it a new one changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from uploadd.auth import Access, lists_everybody
from uploadd.config import Config
from uploadd.protocol.origins import parse_origin
from uploadd.reloading import Prepare
from uploadd.serve.connection import FrontDoor
from uploadd.serve.rules import Rules
from uploadd.uploads import Uploads


def rules(config: Config, local: bool) -> Rules:
    """What conversations go by; *local*: nobody but this computer can come."""
    origins = [parse_origin(text) for text in config.server.origins]
    times, limits = config.timeouts, config.limits
    listing = lists_everybody(config.access.list, config.server.names, local=local)
    return Rules(
        names=config.server.names,
        origins=[origin for origin in origins if origin is not None],
        durability=config.durability.ack,
        max_length=limits.max_length,
        keep_unfinished=config.storage.keep_unfinished,
        max_sessions=limits.max_sessions,
        max_refs=limits.max_refs,
        max_watched=limits.max_watched,
        max_events=limits.max_events,
        access=Access(listing=listing),
        head=times.head,
        handshake=times.handshake,
        hello=times.hello,
        message=times.message,
        idle=times.idle,
        ping=times.ping,
        send=times.send,
        stop=times.stop,
    )


def parts(door: FrontDoor, uploads: Uploads, local: bool) -> list[Prepare]:
    """Everything that can change; what runs keeps what it began with."""

    def conversations(config: Config) -> Callable[[], None]:
        return partial(door.adopt, rules(config, local))

    def storing(config: Config) -> Callable[[], None]:
        return partial(
            uploads.adopt,
            template=config.storage.path,
            max_length=config.limits.max_length,
        )

    def logging_(config: Config) -> Callable[[], None]:
        return partial(logging.root.setLevel, config.log.level.upper())

    return [conversations, storing, logging_]
