"""How an upload stands: the parts of a store that keeps parts, on every wire that tells of it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol import api, plainsocket
from uploadd.protocol.extents import NOTHING
from uploadd.protocol.seen import Glance, Seen, progress, seen
from uploadd.protocol.upload import Upload

GRAIN = 8


@st.composite
def standings(draw: st.DrawFn) -> tuple[Upload, int]:
    """An upload that somebody sends, whole parts of it durable; and how much of it is here."""
    length = draw(st.integers(1, 5 * GRAIN))
    received = draw(st.integers(0, length))
    upload = Upload("u", length=length if draw(st.booleans()) else None)
    upload.hold(NOTHING.add(0, draw(st.integers(0, received // GRAIN)) * GRAIN))
    return upload, received


@given(standings())
def test_a_part_is_told_while_it_is_stored(standing: tuple[Upload, int]) -> None:
    """From when all of it is here until it is durable: never of what is still coming."""
    upload, received = standing
    told = progress(upload, Glance(received, held=True, grain=GRAIN))
    due = min(upload.offset + GRAIN, upload.length or 6 * GRAIN)
    waits = upload.offset < due <= received
    assert told.part == (upload.offset // GRAIN + 1 if waits else None)
    if waits:
        assert told.state == Seen.STORING
    assert (
        seen(upload, Glance(received, held=True)) is not Seen.STORING or received == upload.length
    )


@given(standings(), st.booleans())
def test_where_there_are_no_parts_none_is_told(standing: tuple[Upload, int], held: bool) -> None:
    """Nor of what nobody sends, wherever it is kept."""
    upload, received = standing
    assert progress(upload, Glance(received, held=held)).part is None
    assert progress(upload, Glance(received, held=False, grain=GRAIN)).part is None


def test_every_wire_tells_the_part() -> None:
    """Lists and streams, and the socket that is told of processing."""
    upload, glance = Upload("u", length=20), Glance(19, held=True, grain=GRAIN)
    upload.hold(NOTHING.add(0, GRAIN))
    assert api.shown(upload, glance, 0.0, mine=False).part == 2
    told = json.loads(plainsocket.told(upload, glance, "client"))
    assert (told["status"], told["part"], told["progress"]) == ("processing", 2, 40)
