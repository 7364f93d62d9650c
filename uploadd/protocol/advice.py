"""What an operator is told when peers are refused for what only a setting can mend."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Final

from uploadd.errors import UpgradeStripped
from uploadd.protocol.heads import Head
from uploadd.protocol.origins import DEFAULT_PORTS, Origin, parse_origin

RELOAD: Final = "   then: systemctl reload uploadd"
_LONGEST: Final = 200


def upgrade(proxy: str) -> str:
    """*proxy* takes ``Upgrade`` from handshakes."""
    happened = f'WebSocket requests from {proxy} arrive without "Upgrade"'
    meanwhile = "The page uploads over plain HTTP meanwhile, uploadd put not at all."
    return f"{happened}. {meanwhile}\n→ {UpgradeStripped.default_hint}"


def origin(head: Head, allowed: Collection[Origin]) -> str:
    """A page of a foreign origin was refused; empty when it was none that could be allowed."""
    origins = head.values(b"origin")
    text = origins[0].decode("latin-1") if len(origins) == 1 else ""
    if len(text) > _LONGEST or (asked := parse_origin(text)) is None:
        return ""
    known = sorted(map(_told, allowed))
    wanted = _list("origins", [*known, _told(asked)])
    return f"refused origin {_told(asked)} (allowed: {_all(known)})\n→ [server] {wanted}{RELOAD}"


def host(head: Head, names: Sequence[str]) -> str:
    """A name was asked for that is not known as ours."""
    name = head.authority.lower()
    name = name if name.endswith("]") else name.rpartition(":")[0] or name
    if not name or len(name) > _LONGEST:
        return ""
    wanted = _list("names", [*names, name])
    return f"refused Host {name} (known: {_all(names)})\n→ [server] {wanted}{RELOAD}"


def _told(origin: Origin) -> str:
    own = origin.port is None or DEFAULT_PORTS.get(origin.scheme) == origin.port
    return f"{origin.scheme}://{origin.host}{'' if own else f':{origin.port}'}"


def _all(known: Sequence[str]) -> str:
    return ", ".join(known) or "only its own"


def _list(key: str, values: Sequence[str]) -> str:
    return f"{key} = {json.dumps(list(values))}"
