"""What must hold between settings each of which is right alone.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from uploadd.protocol import webhooks
from uploadd.settings.hooks import Hook
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
    for name, hook in config.hook.items():
        yield from _hook(f"hook.{name}", hook)
    if config.timeouts.ping >= config.timeouts.idle:
        yield Contradiction(
            "timeouts.ping",
            "must be shorter than timeouts.idle: quiet sessions would be cut",
            f'ping = "{config.timeouts.idle / 2:g} s", or a longer timeouts.idle',
        )


def _hook(name: str, hook: Hook) -> Iterator[Contradiction]:
    if bool(hook.run) == bool(hook.url):
        hint = 'run = ["/usr/local/bin/tell"], or url = "https://…"'
        yield Contradiction(f"{name}.url", "or run must be there, and not both", hint)
    elif hook.run and not hook.run[0].startswith("/"):
        hint = f'run = ["/usr/local/bin/{hook.run[0]}", …]'
        yield Contradiction(f"{name}.run", "must begin with the whole path of a program", hint)
    elif hook.url and not _is_address(hook.url):
        hint = 'url = "https://example.com/hooks"'
        yield Contradiction(f"{name}.url", "must be http:// or https:// and a host", hint)
    if not hook.events:
        yield Contradiction(f"{name}.events", "names nothing", 'events = ["post-finish"]')
    if hook.secret:
        try:
            webhooks.key_of(hook.secret)
        except ValueError as error:
            yield Contradiction(f"{name}.secret", "is no secret for signatures", str(error))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        sound = parts.port is None or parts.port > 0
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    named = bool(parts.hostname) and parts.username is None
    return sound and plain and named and parts.scheme in ("http", "https")
