"""The settings that bound how much: of a daemon, an owner, an upload.  Pure."""

from __future__ import annotations

from uploadd.settings.declare import section, setting
from uploadd.settings.kinds import (
    KIB,
    MEDIA_TYPE,
    MIB,
    RATE,
    count,
    many,
    optional,
    size,
)


@section
class Limits:
    """What one daemon, session or upload may use."""

    max_length: int | None = setting(
        optional(size()),
        "none",
        'Bytes of the largest upload that is taken, or "none": as many as the disk holds.',
        reloads=True,
    )
    max_total: int | None = setting(
        optional(size()),
        "none",
        "Bytes that one owner may have here, reserved when an upload begins and free again when it"
        " is gone. All who come without a token are one owner.",
        reloads=True,
    )
    max_uploads: int | None = setting(
        optional(count(most=10**12)),
        "none",
        "Uploads that one owner may have here, complete ones included.",
        reloads=True,
    )
    types: tuple[str, ...] = setting(
        many(MEDIA_TYPE),
        [],
        'Kinds of files that are taken, "image/*" or "application/pdf": by the name, and by what is'
        " in the file. Empty: every kind.",
        reloads=True,
    )
    uploads_each: int | None = setting(
        optional(count()),
        "none",
        "Uploads that one owner, or one address, may send at one time.",
        reloads=True,
    )
    sessions_each: int | None = setting(
        optional(count()),
        "none",
        "WebSocket sessions of one owner, or one address, at one time.",
        reloads=True,
    )
    connections_each: int | None = setting(
        optional(count()),
        "none",
        "Connections of one address (of IPv6 its /64); the excess is closed at once. A proxy is one"
        " address.",
        reloads=True,
    )
    requests_each: int | None = setting(
        optional(count()),
        "none",
        "Requests a second from one address, and uploads that are begun in sessions; as many may"
        " come at once.",
        reloads=True,
    )
    rate: int | None = setting(
        optional(RATE),
        "none",
        "Bytes a second of all uploads together, shared fairly among them. A rate where there was"
        " none is for uploads that begin then.",
        reloads=True,
    )
    rate_each: int | None = setting(
        optional(RATE), "none", "Bytes a second of one owner, and of one address.", reloads=True
    )
    min_rate: int = setting(
        RATE,
        "1 KiB/s",
        "What the body of a request must bring over a minute, or it is given up: it holds its"
        " upload for nothing. What came is kept.",
        reloads=True,
    )
    memory: int = setting(
        size(least=MIB),
        "256 MiB",
        "Bytes of all uploads together that may wait in memory. When it is full, the sessions that"
        " use most are not read for a while. As many as fill half of it, at 10 KiB each, may be"
        " under way in sessions though nothing comes of them.",
    )
    max_sessions: int = setting(
        count(),
        10000,
        "WebSocket sessions at one time. Each needs a file descriptor, and every upload that moves"
        " one more: see LimitNOFILE of the unit.",
        reloads=True,
    )
    max_refs: int = setting(count(), 256, "Uploads and fetches alive in one session.", reloads=True)
    max_watched: int = setting(
        count(),
        1000,
        "Uploads that one session or one stream of events may watch by their ids.",
        reloads=True,
    )
    max_events: int = setting(
        count(),
        1000,
        "Streams of events, and questions that wait for their answer, at one time. Each holds a"
        " connection.",
        reloads=True,
    )
    max_chunk: int = setting(
        size(16 * KIB, 16 * MIB),
        "1 MiB",
        "Bytes of the largest chunk, 16 KiB to 16 MiB. Less is granted when many sessions share"
        " memory.",
    )
