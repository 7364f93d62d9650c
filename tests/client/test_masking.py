"""What takes the place of wsproto's masking does the same, for any data cut anywhere."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
import wsproto.frame_protocol
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage

from tests.strategies import chunked
from uploadd.client.masking import Masker, install
from uploadd.protocol import masking

KEYS = st.binary(min_size=4, max_size=4)


def untouched() -> ModuleType:
    """wsproto's module loaded a second time, so that no ``install`` has reached it."""
    assert wsproto.frame_protocol.__file__
    spec = importlib.util.spec_from_file_location("untouched", wsproto.frame_protocol.__file__)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORIGINAL = untouched().XorMaskerSimple


@pytest.fixture(params=[masking.apply_mask, masking.apply_mask_python], ids=["chosen", "python"])
def routine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both routines take their turn."""
    monkeypatch.setattr(masking, "apply_mask", request.param)


@pytest.mark.usefixtures("routine")
def test_any_split_is_masked_as_wsproto_does_it() -> None:
    """Piece by piece the same bytes, whatever the key and wherever the data is cut."""

    @given(st.data(), st.binary(max_size=300), KEYS)
    def check(data: st.DataObject, whole: bytes, key: bytes) -> None:
        ours, theirs = Masker(bytearray(key)), ORIGINAL(key)
        for piece in [b"", *data.draw(chunked(whole)), b""]:
            assert ours.process(bytearray(piece)) == theirs.process(bytearray(piece))

    check()


@pytest.mark.usefixtures("routine")
@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 65_536, 1_048_577])
def test_every_size_comes_back_when_masked_twice(size: int) -> None:
    """Also sizes that are no multiple of the key, and large ones."""
    plain = bytes(range(256)) * (size // 256 + 1)
    plain = plain[:size]
    once = Masker(b"\x00\x01\xfe\xff").process(plain)
    assert Masker(b"\x00\x01\xfe\xff").process(once) == plain
    assert (once == plain) == (size <= 1)  # the first byte of the key changes nothing


def test_installing_again_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one call or two, wsproto's both ends mask with ours and understand each other."""
    monkeypatch.setattr(wsproto.frame_protocol, "XorMaskerSimple", ORIGINAL)
    install()
    install()
    assert wsproto.frame_protocol.XorMaskerSimple is Masker
    client, server = Connection(ConnectionType.CLIENT), Connection(ConnectionType.SERVER)
    wire = client.send(BytesMessage(b"0123456789" * 50))
    for at in range(0, len(wire), 7):
        server.receive_data(wire[at : at + 7])
    events = [event for event in server.events() if isinstance(event, BytesMessage)]
    assert b"".join(event.data for event in events) == b"0123456789" * 50
    assert b"0123456789" not in wire
