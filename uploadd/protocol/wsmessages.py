"""What uploadd.v1 says in text: every message as a struct, and its JSON.

The same structs are the events of the machines: what one end says is what the other end hears.
Lengths and offsets are bytes, times are seconds.  Members that are None are left out on the wire.

This module must not know who may say what when (``wsstates.py``) nor what follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from uploadd.protocol.names import MAX_NAME
from uploadd.protocol.wsdigest import DIGEST_SIZES as DIGEST_SIZES
from uploadd.protocol.wsdigest import Digest as Digest

MAX_TEXT: Final = 8 * 1024  # bytes of UTF-8; a message is a sentence, not a payload
MAX_INTEGER: Final = 2**53 - 1  # what a JavaScript number can hold
MAX_CLIENT_REF: Final = 2**31 - 1  # the others belong to the server

# RFC 6455 7.4.1, and ours from 4400 (WebSocket close codes of applications are 4000-4999)
PROTOCOL_ERROR: Final = 1002
MESSAGE_TOO_BIG: Final = 1009
BAD_MESSAGE: Final = 4400


class Violation(Exception):
    """A message that is not of the protocol, and the close code that answers it."""

    def __init__(self, reason: str, close: int = BAD_MESSAGE) -> None:
        super().__init__(reason)
        self.close = close


Natural: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Ref: TypeAlias = Annotated[int, Meta(ge=0, le=2**32 - 1)]
ClientRef: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_CLIENT_REF)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0)]
Label: TypeAlias = Annotated[str, Meta(max_length=255)]
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]
Subjects: TypeAlias = tuple[Id, ...] | Literal["mine", "all"]
"""What is watched: uploads by their ids, those of the same owner, or everybody's."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """One text message."""


# --- client → server ------------------------------------------------------------------------


class Hello(Message, frozen=True, tag="hello"):
    """The first message: who is there, and what it understands."""

    token: str | None = None
    client: Label | None = None
    can: tuple[str, ...] = ()
    client_id: Id | None = None

    def __repr__(self) -> str:
        return f"Hello(token={'...' if self.token else None}, client={self.client!r})"


class Begin(Message, frozen=True, tag="begin"):
    """A new upload, or (``upload``, ``key``) one that goes on, under *ref* from now on."""

    ref: ClientRef
    name: str | None = None
    length: Natural | None = None
    media_type: Label | None = None
    metadata: dict[str, str] | None = None
    digest: Digest | None = None
    upload: Id | None = None
    key: Id | None = None
    start: Any = None  # reserved, with the next two: ranges of one upload
    end: Any = None
    ticket: Any = None

    def __post_init__(self) -> None:
        if self.name is not None and len(self.name.encode()) > MAX_NAME:
            raise ValueError(f"a name has at most {MAX_NAME} bytes")


class Finish(Message, frozen=True, tag="finish"):
    """The upload is whole; ``length``, where given, is its length in bytes."""

    ref: ClientRef
    length: Natural | None = None
    digest: Digest | None = None


class Cancel(Message, frozen=True, tag="cancel"):
    """The upload is not wanted any more: its bytes are deleted."""

    ref: ClientRef


class Watch(Message, frozen=True, tag="watch"):
    """Tell of these uploads too, from how they stand now on."""

    uploads: Subjects


class Unwatch(Message, frozen=True, tag="unwatch"):
    """Tell no more of these; of none without ``uploads``."""

    uploads: Subjects | None = None


class Read(Message, frozen=True, tag="read"):
    """These notices need not be told again."""

    notices: tuple[Id, ...] | Literal["all"]


class Drained(Message, frozen=True, tag="drained"):
    """The answer to ``drain``: nothing more comes in this session."""


# --- server → client ------------------------------------------------------------------------


class Limits(msgspec.Struct, frozen=True):
    """What a client must keep to, in bytes; ``max_refs`` alive at once.  Told in ``welcome``."""

    max_chunk: Natural
    max_length: Natural | None
    initial: Natural  # what may be sent for a new upload before it is ready
    max_refs: Natural = 256
    max_watched: Natural = 1000  # uploads named to ``watch``
    types: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # kinds that are taken; else all
    max_total: Natural | msgspec.UnsetType = msgspec.UNSET  # bytes that one owner may have here
    left: Natural | msgspec.UnsetType = msgspec.UNSET  # of those, for who asks
    rate: Natural | msgspec.UnsetType = msgspec.UNSET  # bytes a second, at most


class Welcome(Message, frozen=True, tag="welcome"):
    """The session is open."""

    session: str
    version: str
    can: tuple[str, ...]
    limits: Limits
    durability: str


class Ready(Message, frozen=True, tag="ready"):
    """Send from ``offset`` on, up to ``limit``."""

    ref: Ref
    upload: str
    url: str
    offset: Natural
    limit: Natural


class Acked(Message, frozen=True, tag="ack"):
    """Bytes taken, bytes durable, and the newest limit.  Cumulative: only the newest is sent."""

    ref: Ref
    received: Natural
    offset: Natural
    limit: Natural
    max_chunk: Natural | None = None


class Done(Message, frozen=True, tag="done"):
    """A last word: the upload is complete, durable and published."""

    ref: Ref
    upload: str
    url: str
    length: Natural
    digest: Digest | None = None


class Refused(Message, frozen=True, tag="error"):
    """What was refused and what to do; a last word when ``final``, of the session without ref."""

    code: str
    message: str
    final: bool
    ref: Ref | None = None
    hint: str | None = None
    offset: Natural | None = None


class Gone(Message, frozen=True, tag="gone"):
    """The upload left this ref, or without one it is watched no more; and why (see docs)."""

    upload: str
    reason: str
    ref: Ref | None = None
    offset: Natural | None = None


class Progress(Message, frozen=True, tag="progress"):
    """Where an upload is; ``rate`` in bytes a second, ``held`` all durable bytes."""

    upload: str
    offset: Natural
    held: Natural
    state: str
    name: str | None = None
    length: Natural | None = None
    rate: Seconds | None = None
    expected: Natural | None = None  # a guess of the length, while that is not known
    url: str | None = None  # once it is published
    part: Natural | None = None  # that is being stored, from 1 on, where there are parts


class Notice(Message, frozen=True, tag="notice"):
    """How an upload of this owner ended while it was perhaps not watched."""

    notice: str
    upload: str
    state: str
    at: Seconds  # since the epoch
    name: str | None = None
    length: Natural | None = None
    url: str | None = None


class Drain(Message, frozen=True, tag="drain"):
    """The server restarts: end your message, answer ``drained``, come back."""

    reconnect_after: Seconds
    deadline: Seconds


# --- text -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message whose type is not known here."""

    type: str


class _Envelope(msgspec.Struct):
    type: str


def _read_digest(kind: type, value: object) -> Digest:
    assert kind is Digest, kind
    return Digest.parse(value)


def _write_digest(value: object) -> str:
    assert isinstance(value, Digest), value
    return str(value)


Decoders: TypeAlias = dict[str, msgspec.json.Decoder[Any]]


def _decoders(*kinds: type[Message]) -> Decoders:
    return {
        str(kind.__struct_config__.tag): msgspec.json.Decoder(kind, dec_hook=_read_digest)
        for kind in kinds
    }


FROM_CLIENT: Final = _decoders(Hello, Begin, Finish, Cancel, Watch, Unwatch, Read, Drained)
FROM_SERVER: Final = _decoders(Welcome, Ready, Acked, Done, Refused, Gone, Progress, Notice, Drain)
_envelope = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder(enc_hook=_write_digest)


def encode(message: Message) -> str:
    """The text of *message*."""
    return _encoder.encode(message).decode()


def decode(text: str, table: Decoders) -> Message | Unknown:
    """The message in *text*.  Raises Violation: too long, not JSON, or not its members."""
    try:
        raw = text.encode()
        if len(raw) > MAX_TEXT:
            raise Violation(f"a text message of {len(raw)} bytes", MESSAGE_TOO_BIG)
        kind = _envelope.decode(raw).type
        decoder = table.get(kind)
        return decoder.decode(raw) if decoder else Unknown(kind)
    # RecursionError: 8 KiB hold 4 000 open brackets, and msgspec goes as deep as Python lets it
    except (UnicodeEncodeError, msgspec.MsgspecError, RecursionError) as error:
        raise Violation(f"not a message: {error}"[:200]) from None
