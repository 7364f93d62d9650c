"""What a configuration comes to in a running daemon, and what of it a new one changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from uploadd.auth import Access
from uploadd.config import Config
from uploadd.permissions import Permissions
from uploadd.protocol.origins import parse_origin
from uploadd.reloading import Prepare
from uploadd.serve.connection import FrontDoor
from uploadd.serve.rules import Rules
from uploadd.uploads import Uploads


def rules(config: Config, access: Access) -> Rules:
    """What conversations go by, *access* among it, which stays the same."""
    origins = [parse_origin(text) for text in config.server.origins]
    times, limits = config.timeouts, config.limits
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
        access=access,
        head=times.head,
        handshake=times.handshake,
        hello=times.hello,
        message=times.message,
        idle=times.idle,
        ping=times.ping,
        send=times.send,
        stop=times.stop,
    )


def parts(door: FrontDoor, uploads: Uploads, permissions: Permissions) -> list[Prepare]:
    """Everything that can change; what runs keeps what it began with."""

    def conversations(config: Config) -> Callable[[], None]:
        return partial(door.adopt, rules(config, permissions.access))

    def storing(config: Config) -> Callable[[], None]:
        return partial(
            uploads.adopt,
            template=config.storage.path,
            max_length=config.limits.max_length,
        )

    def logging_(config: Config) -> Callable[[], None]:
        return partial(logging.root.setLevel, config.log.level.upper())

    return [permissions.prepare, conversations, storing, logging_]
