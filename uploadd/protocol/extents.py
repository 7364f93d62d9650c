"""The set of byte ranges that an upload holds durably.

Half-open, disjoint, sorted, never touching: two extents that meet are one.  Immutable, so a
snapshot taken before a flush stays what it was.  A linear upload is the case with one extent
that starts at 0.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Final


class Extents:
    """An immutable set of half-open byte ranges."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        merged: list[tuple[int, int]] = []
        for start, end in sorted(pairs):
            if start < 0 or end < start:
                raise ValueError(f"not a range: [{start}, {end})")
            if start == end:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        self._pairs = tuple(merged)

    def add(self, start: int, end: int) -> Extents:
        """This set and [start, end).  Linear appending costs the same whatever is held."""
        if start < 0 or end < start:
            raise ValueError(f"not a range: [{start}, {end})")
        if start == end:
            return self
        pairs = self._pairs
        out = Extents.__new__(Extents)
        if not pairs:
            out._pairs = ((start, end),)
            return out
        first, last = pairs[-1]
        if first <= start <= last:  # it goes on where the last one ends, as most do
            out._pairs = (*pairs[:-1], (first, max(end, last)))
            return out
        low = bisect_left(pairs, start, key=lambda pair: pair[1])  # first that ends at or past
        high = bisect_right(pairs, end, key=lambda pair: pair[0])  # first that starts after
        if low < high:
            start = min(start, pairs[low][0])
            end = max(end, pairs[high - 1][1])
        out._pairs = (*pairs[:low], (start, end), *pairs[high:])
        return out

    def union(self, other: Extents) -> Extents:
        """Both sets together."""
        if not self._pairs or not other._pairs:
            return self if self._pairs else other
        out = self
        for start, end in other._pairs:
            out = out.add(start, end)
        return out

    def parts(self, grain: int) -> tuple[Extents, Extents]:
        """The whole parts of *grain* bytes that are in it, and the rest."""
        whole, rest = Extents(), Extents()
        for start, end in self._pairs:
            first = min(end, -(-start // grain) * grain)
            last = max(first, end // grain * grain)
            whole, rest = whole.add(first, last), rest.add(start, first).add(last, end)
        return whole, rest

    def covers(self, start: int, end: int) -> bool:
        """Whether every byte of [start, end) is held; an empty range always is."""
        return not self.missing(start, end)

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that are not held, in order."""
        gaps: list[tuple[int, int]] = []
        at = bisect_right(self._pairs, start, key=lambda pair: pair[1])
        while start < end:
            if at == len(self._pairs) or self._pairs[at][0] >= end:
                gaps.append((start, end))
                break
            first, last = self._pairs[at]
            if start < first:
                gaps.append((start, first))
            start = last
            at += 1
        return gaps

    def end_from(self, start: int) -> int:
        """Where the unbroken run of held bytes that contains *start* ends; *start* if none."""
        at = bisect_right(self._pairs, start, key=lambda pair: pair[0]) - 1
        return max(start, self._pairs[at][1]) if at >= 0 else start

    @property
    def offset(self) -> int:
        """Bytes held from the start without a gap."""
        pairs = self._pairs
        return pairs[0][1] if pairs and not pairs[0][0] else 0

    @property
    def end(self) -> int:
        """One past the last byte held; what lies below it may have gaps."""
        return self._pairs[-1][1] if self._pairs else 0

    @property
    def total(self) -> int:
        """How many bytes are held."""
        if len(self._pairs) == 1:  # as nearly always
            ((start, end),) = self._pairs
            return end - start
        return sum(end - start for start, end in self._pairs)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Extents) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return f"Extents({list(self._pairs)})"


NOTHING: Final = Extents()
