"""What has happened since the start: plain numbers, kept where it happens and read on a scrape.

Nothing is computed or looked up where bytes move: what moves now is read off the claims.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from uploadd import errors
from uploadd.errors import UploadError
from uploadd.protocol.upload import State, Upload

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
QUICK: Final = (0.0001, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
LONG: Final = (0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0, 86400.0, 604800.0)
BYTES: Final = tuple(float(4**power) for power in range(5, 21))
"""A kibibyte to a tebibyte."""

RESULTS: Final = {
    State.PUBLISHED: "ok",
    State.CANCELLED: "aborted",
    State.EXPIRED: "expired",
    State.FAILED: "failed",
    State.LOST: "failed",
}
"""How an upload has ended; that it was deleted later is no end of its own."""

REASONS: Final[dict[type[UploadError], str]] = {
    errors.Unauthorised: "auth",
    errors.TokenExpired: "auth",
    errors.Forbidden: "auth",
    errors.OverQuota: "quota",
    errors.TooLarge: "size",
    errors.LengthExceeded: "size",
    errors.TypeNotAllowed: "type",
    errors.UnsupportedMediaType: "type",
    errors.OriginNotAllowed: "origin",
    errors.HostNotAllowed: "origin",
    errors.TooMany: "rate",
    errors.TooOften: "rate",
    errors.TooSlow: "rate",
    errors.Draining: "draining",
    errors.NoSpace: "disk",
    errors.NotWritable: "disk",
}
"""Why somebody was refused; what is missing here is a mistake of the peer, or of ours."""


class Way(NamedTuple):
    """How bytes come."""

    wire: str = "none"
    """"ws", "tus", "ietf", "put" or "form"; "none" where none come."""
    id: str = ""
    """Of the request or the session, as it is in the log."""


NO_WAY: Final = Way()


class Histogram:
    """How many values were at most each of *bounds*."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """By bound, each without those below it; the last is of those beyond all."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Tally:
    """Counts by wire ("ws", "tus", "ietf", "put", "form"), result, reason, code."""

    def __init__(self) -> None:
        self.created: Counter[str] = Counter()
        self.finished: Counter[tuple[str, str]] = Counter()
        self.received: Counter[str] = Counter()
        """Bytes of claims that were given back."""
        self.resumed: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.closed: Counter[int] = Counter()
        """WebSockets, by the code of our Close."""
        self.requests: Counter[tuple[str, int]] = Counter()
        self.store_errors: Counter[str] = Counter()
        self.sent = 0
        """Bytes of files."""
        self.loop_lag = 0.0
        """Seconds by which the loop was late when it was last looked at."""
        self.request_seconds = Histogram(SECONDS)
        self.upload_seconds = Histogram(LONG)
        self.upload_bytes = Histogram(BYTES)
        self.ack_seconds: dict[str, Histogram] = {}
        self.store_seconds: Mapping[str, Histogram] = {}
        """By what the disk was asked to do."""
        self.hooks: Counter[tuple[str, str, str]] = Counter()
        """By hook, event and result ("ok", "refused", "failed")."""
        self.hook_seconds: dict[str, Histogram] = {}
        self.removed: Counter[str] = Counter()
        """What was kept for a time, which is over: "unfinished", "finished", "notices", "gone"."""
        self.stuck = 0
        """Files whose time is over and that cannot be removed."""
        self.resent = 0
        """Bytes that came once more, as they had not become durable."""
        self._furthest: WeakKeyDictionary[Upload, int] = WeakKeyDictionary()
        self._ways: WeakKeyDictionary[Upload, Way] = WeakKeyDictionary()

    def claimed(self, upload: Upload, way: Way) -> None:
        """Somebody claims *upload*, to send it *way*, unless that is none."""
        if way is not NO_WAY:
            self._ways[upload] = way

    def let_go(self, upload: Upload, way: Way, start: int, received: int) -> None:
        """Who claimed *upload* has sent the bytes from *start* to *received*, and lets go."""
        self.received[way.wire] += received - start
        if received > upload.offset:
            self._furthest[upload] = max(received, self._furthest.get(upload, 0))

    def went_on(self, upload: Upload, way: Way) -> None:
        """Somebody goes on with *upload* at its offset: what had come beyond it comes again."""
        if way is not NO_WAY:
            self.resumed[way.wire] += upload.offset > 0
            self.resent += max(0, self._furthest.pop(upload, 0) - upload.offset)

    def way(self, upload: Upload) -> Way:
        """By which *upload* came last; after a restart nobody knows."""
        return self._ways.get(upload, NO_WAY)

    def waited(self, wire: str, seconds: float) -> None:
        """Bytes became durable *seconds* after they had come."""
        found = self.ack_seconds.get(wire)
        if found is None:
            found = self.ack_seconds[wire] = Histogram(SECONDS)
        found.observe(seconds)

    def ended(self, upload: Upload, now: float) -> None:
        """*upload* is complete, or gone."""
        if (result := RESULTS.get(upload.state)) is None or _was_ok(upload):
            return
        self.finished[self.way(upload).wire, result] += 1
        if upload.state is State.PUBLISHED:
            self.upload_seconds.observe(max(0.0, now - upload.created))
            self.upload_bytes.observe(upload.length or 0)

    def hooked(self, hook: str, event: str, result: str, seconds: float) -> None:
        """A *hook* was asked or told of an *event*, and that took so long."""
        self.hooks[hook, event, result] += 1
        if hook not in self.hook_seconds:
            self.hook_seconds[hook] = Histogram(SECONDS)
        self.hook_seconds[hook].observe(seconds)

    def refused(self, error: UploadError) -> None:
        """Somebody was told *error*."""
        if (reason := REASONS.get(type(error))) is not None:
            self.rejected[reason] += 1

    def answered(self, method: str, status: int, seconds: float) -> None:
        """A request was answered, *seconds* after its head had come."""
        self.requests[method, status] += 1
        self.request_seconds.observe(seconds)


def _was_ok(upload: Upload) -> bool:
    """Whether it was complete before it came to its end."""
    return upload.published is not None and upload.state is not State.PUBLISHED
