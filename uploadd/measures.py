"""What one owner and one address may do at a time: sessions, uploads, requests and bytes."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from uploadd import errors
from uploadd.auth.who import is_anonymous
from uploadd.pacing import Bucket, Flow, Pacer

T = TypeVar("T")
UNBOUNDED: Final = 1e15
"""Bytes a second for who keeps to a rate that there is no more."""
REMEMBERED: Final = 10_000
"""Owners and addresses of which it is known how much they have had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """Limits of one owner, and of one address; None: as many as there are of all."""

    uploads: int | None = None
    """Being sent at one time."""
    sessions: int | None = None
    requests: int | None = None
    """A second, of one address."""
    rate: float | None = None
    """Bytes a second."""
    total_rate: float | None = None
    """Bytes a second of everybody together."""

    @property
    def any(self) -> bool:
        """Whether there is anything to measure."""
        return self != Each()


class Measures:
    """Keeps everybody to *each*.  Nothing here waits but `Flow.pay`."""

    def __init__(self, each: Each) -> None:
        self._each = each
        self._sessions: Counter[str] = Counter()
        self._uploads: Counter[str] = Counter()
        self._pacers: OrderedDict[str, Pacer] = OrderedDict()
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._all = Pacer(each.total_rate or UNBOUNDED)

    def adopt(self, each: Each) -> None:
        """Go by other limits; what runs keeps its place, and its pace is the new one."""
        self._each = each
        self._buckets.clear()
        self._all.adopt(each.total_rate or UNBOUNDED)
        for pacer in self._pacers.values():
            pacer.adopt(each.rate or UNBOUNDED)

    def request(self, address: str) -> None:
        """One more request from *address*.  Raises TooOften."""
        most = self._each.requests
        if most is not None and not _kept(self._buckets, address, lambda: Bucket(most)).take():
            raise errors.TooOften(f"more than {most} requests a second from one address")

    @contextmanager
    def session(self, whose: str) -> Iterator[None]:
        """A place for one more session of an owner or address.  Raises TooMany."""
        with _counted(self._sessions, whose, self._each.sessions, "sessions"):
            yield

    @contextmanager
    def upload(self, owner: str, address: str) -> Iterator[Flow]:
        """A place for one more upload that is being sent, and its pace.  Raises TooMany."""
        with ExitStack() as places:
            keys = [whose for whose in (owner_key(owner), address_key(address)) if whose]
            for whose in keys:
                most = self._each.uploads
                places.enter_context(_counted(self._uploads, whose, most, "uploads"))
            yield Flow([*map(self._pacer, keys if self._each.rate else ()), *self._for_all()])

    def _pacer(self, whose: str) -> Pacer:
        rate = self._each.rate or UNBOUNDED

        def idle(whose: str) -> bool:  # else an owner's next upload would not share with the last
            return whose not in self._uploads and self._pacers[whose].idle

        return _kept(self._pacers, whose, lambda: Pacer(rate), idle)

    def _for_all(self) -> list[Pacer]:
        return [self._all] if self._each.total_rate is not None else []


def owner_key(owner: str) -> str:
    """What an owner is counted by; empty for who has no token, and is counted by address alone."""
    return "" if is_anonymous(owner) else "o" + owner


def address_key(address: str) -> str:
    """What an address is counted by; empty for none."""
    return address and "a" + address


@contextmanager
def _counted(counter: Counter[str], whose: str, most: int | None, what: str) -> Iterator[None]:
    if most is not None and counter[whose] >= most:
        kind = "owner" if whose.startswith("o") else "address"
        raise errors.TooMany(
            f"{counter[whose]} {what} of this {kind} run, and at most {most} may",
            hint="try again when another has ended",
        )
    counter[whose] += 1
    try:
        yield
    finally:
        counter[whose] -= 1
        if not counter[whose]:
            del counter[whose]


def _kept(
    known: OrderedDict[str, T],
    key: str,
    make: Callable[[], T],
    idle: Callable[[str], bool] = lambda key: True,
) -> T:
    """The one of *key*, made when it is new; of too many the oldest that are *idle* are dropped."""
    found = known.get(key)
    if found is None:
        # Two looks for one that is added: those that are not idle pass, and do not add up.
        for _ in range(2):
            if len(known) < REMEMBERED:
                break
            oldest = next(iter(known))
            if idle(oldest):
                del known[oldest]
            else:
                known.move_to_end(oldest)
        found = known[key] = make()
    known.move_to_end(key)
    return found
