"""What a configuration comes to in a running daemon, and what of it a new one changes."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from ipaddress import ip_network
from typing import Final

from uploadd.auth import Access
from uploadd.config import Config, ConfigError, Place, Problem
from uploadd.expiring import Terms
from uploadd.hooks import Receiver, fault, target_of
from uploadd.listening import CannotStart, Listening
from uploadd.measures import Each, Measures
from uploadd.permissions import Permissions
from uploadd.protocol import webhooks
from uploadd.protocol.addresses import UNIX
from uploadd.protocol.kinds import Types
from uploadd.protocol.origins import parse_origin
from uploadd.reloading import Prepare
from uploadd.serve.connection import FrontDoor
from uploadd.serve.rules import Rules
from uploadd.tls import Encryption, NoCertificate, Shown, shown_of
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd.hooks")
MEND: Final = "files in PEM that the daemon may read: tls.cert with the whole chain, tls.key"


def least(*limits: int | None) -> int | None:
    """The tightest of *limits*."""
    return min((limit for limit in limits if limit is not None), default=None)


def each_of(config: Config) -> Each:
    """What each owner and address is kept to."""
    limits = config.limits
    return Each(
        uploads=limits.uploads_each,
        sessions=limits.sessions_each,
        requests=limits.requests_each,
        rate=limits.rate_each,
        total_rate=limits.rate,
    )


def rules(config: Config, access: Access, measures: Measures) -> Rules:
    """What conversations go by; *access* and *measures* stay the same."""
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
        min_rate=limits.min_rate,
        max_total=limits.max_total,
        rate=least(limits.rate, limits.rate_each),
        types=Types(limits.types),
        measures=measures if each_of(config).any else None,
        proxies=[one if one == UNIX else ip_network(one) for one in config.server.proxies],
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


def terms(config: Config) -> Terms:
    """How long things are kept."""
    storage = config.storage
    return Terms(
        storage.keep_unfinished, storage.keep_finished, storage.keep_notices, storage.keep_gone
    )


def receivers(config: Config) -> Mapping[str, Receiver]:
    """The hooks, by name; may block."""
    trust = ssl.create_default_context() if any(one.url for one in config.hook.values()) else None
    return {
        name: Receiver(
            name=name,
            events=frozenset(hook.events),
            program=hook.run,
            target=target_of(hook.url) if hook.url else None,
            key=webhooks.key_of(hook.secret) if hook.secret else None,
            timeout=hook.timeout,
            attempts=hook.attempts,
            trust=trust,
        )
        for name, hook in config.hook.items()
    }


def lame(config: Config) -> Iterator[tuple[str, str]]:
    """The hooks whose program cannot be run, by name, and why.  May block."""
    for name, hook in config.hook.items():
        if hook.run and (why := fault(hook.run[0])):
            yield name, f"{hook.run[0]} cannot be run: {why}"


def warn_of_lame(config: Config) -> None:
    """Say which hooks would fail.  May block."""
    for name, why in lame(config):
        log.warning("hook %s: %s", name, why)


def first_shown(config: Config) -> Shown | None:
    """For TLS at the start, if there is any.  May block.  Raises CannotStart."""
    try:
        return _shown(config)
    except NoCertificate as error:
        raise CannotStart(str(error), MEND, os.EX_CONFIG, setting="tls.cert") from error


def _shown(config: Config) -> Shown | None:
    return shown_of(config.tls.cert, config.tls.key) if config.tls.cert else None


def parts(
    door: FrontDoor,
    uploads: Uploads,
    permissions: Permissions,
    encryption: Encryption,
    measures: Measures,
    listening: Listening,
) -> list[Prepare]:
    """Everything that can change; what runs keeps what it began with, but for its pace."""

    def conversations(config: Config) -> Callable[[], None]:
        return partial(door.adopt, rules(config, permissions.access, measures))

    def measuring(config: Config) -> Callable[[], None]:
        return partial(measures.adopt, each_of(config))

    def accepting(config: Config) -> Callable[[], None]:
        return partial(listening.adopt, config.limits.connections_each)

    def owning(config: Config) -> Callable[[], None]:
        return partial(uploads.quota.adopt, config.limits.max_total, config.limits.max_uploads)

    def storing(config: Config) -> Callable[[], None]:
        return partial(
            uploads.adopt,
            template=config.storage.path,
            max_length=config.limits.max_length,
            types=Types(config.limits.types),
        )

    def hooks(config: Config) -> Callable[[], None]:
        warn_of_lame(config)
        return partial(uploads.hooks.adopt, receivers(config))

    def logging_(config: Config) -> Callable[[], None]:
        return partial(logging.root.setLevel, config.log.level.upper())

    def encrypting(config: Config) -> Callable[[], None]:
        try:
            shown = _shown(config)
        except NoCertificate as error:
            place = Place(config.tls.cert)
            raise ConfigError([Problem(place, str(error), hint=MEND)]) from error
        return partial(encryption.adopt, shown, config.tls.handshake)

    limiting = [conversations, measuring, accepting, owning]
    return [permissions.prepare, encrypting, *limiting, storing, hooks, logging_]
