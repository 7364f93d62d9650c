"""What must hold between settings each of which is right alone.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from uploadd.settings.sections import Config


class Contradiction(NamedTuple):
    """*setting*, as ``section.key``, is to blame; what is wrong, and what to write."""

    setting: str
    message: str
    hint: str


def contradictions(config: Config) -> Iterator[Contradiction]:
    """All of them, in the order of the file."""
    if config.limits.max_chunk * 4 > config.limits.memory:
        least = -(-config.limits.max_chunk * 4 >> 20)
        yield Contradiction(
            "limits.memory",
            "must hold four of limits.max_chunk: one session needs as much",
            f'memory = "{least} MiB" or more, or a smaller limits.max_chunk',
        )
    if bool(config.access.jwt_keys) != bool(config.access.jwt_audience):
        yield Contradiction(
            "access.jwt_audience",
            "and access.jwt_keys need one another: a token must say that it is meant for us",
            'jwt_audience = "uploads.example.com", as the issuer of the tokens calls this service',
        )
    if config.tls.key and not config.tls.cert:
        yield Contradiction(
            "tls.key",
            "is of no use without tls.cert",
            'cert = "/etc/uploadd/cert.pem"',
        )
    if config.timeouts.ping >= config.timeouts.idle:
        yield Contradiction(
            "timeouts.ping",
            "must be shorter than timeouts.idle: quiet sessions would be cut",
            f'ping = "{config.timeouts.idle / 2:g} s", or a longer timeouts.idle',
        )
