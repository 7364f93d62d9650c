"""Who may what, at the one place that says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd import errors
from uploadd.auth import NOBODY, Access, Operation, Who, anonymous, ends, lists_everybody
from uploadd.protocol.upload import State, Upload

SECRET = "s" * 22
OPEN, SHUT = Access(listing=True), Access(listing=False)


@given(st.text(max_size=60))
def test_a_client_is_known_by_a_hash_of_its_id(id: str) -> None:
    """The same id is the same owner, another one another; the id itself is nowhere in it."""
    who = anonymous(id)
    assert who == anonymous(id)
    assert who != anonymous(id + "x")
    assert who.owns is (len(id) >= 22)
    assert (who == NOBODY) is (id == "")
    assert len(id) < 5 or id not in who.owner


@pytest.mark.parametrize("access", [OPEN, SHUT])
@pytest.mark.parametrize("who", [NOBODY, anonymous("short"), anonymous(SECRET)])
def test_whoever_knows_an_id_may_watch_and_cancel(access: Access, who: Who) -> None:
    """The id is the permission, until there are tokens."""
    for upload in (Upload("u"), Upload("u", owner=anonymous(SECRET).owner)):
        assert access.may(who, Operation.WATCH, upload)
        assert access.may(who, Operation.CANCEL, upload)


def test_lists_are_for_everybody_or_nobody_and_mine_for_who_has_a_secret() -> None:
    """A short client id is nobody's own."""
    for who in (NOBODY, anonymous("short"), anonymous(SECRET)):
        assert OPEN.may(who, Operation.LIST_ALL)
        assert not SHUT.may(who, Operation.LIST_ALL)
        assert OPEN.may(who, Operation.LIST_MINE) is SHUT.may(who, Operation.LIST_MINE) is who.owns


def test_a_published_file_is_deleted_by_its_owner() -> None:
    """Or by anybody, where everybody may see everything, or when nobody owns it."""
    owned = Upload("u", owner=anonymous(SECRET).owner, state=State.PUBLISHED)
    weak = Upload("u", owner=anonymous("short").owner, state=State.PUBLISHED)
    assert ends(owned) is Operation.DELETE
    assert ends(Upload("u")) is Operation.CANCEL
    for who in (NOBODY, anonymous("x" * 22), anonymous("short")):
        assert not SHUT.may(who, Operation.DELETE, owned)
        assert OPEN.may(who, Operation.DELETE, owned)
        assert SHUT.may(who, Operation.DELETE, weak)
        assert SHUT.may(who, Operation.DELETE, Upload("u", state=State.PUBLISHED))
    assert SHUT.may(anonymous(SECRET), Operation.DELETE, owned)


@pytest.mark.parametrize(
    ("setting", "local", "names", "listing"),
    [
        ("auto", True, (), True),
        ("auto", True, ("files.example.com",), False),
        ("auto", False, (), False),
        ("everybody", False, ("x",), True),
        ("nobody", True, (), False),
    ],
)
def test_who_has_said_nothing_lists_on_its_own_computer_only(
    setting: str, local: bool, names: tuple[str, ...], listing: bool
) -> None:
    """A name means that there is a way in from elsewhere."""
    found = lists_everybody(setting, names, local=local)  # type: ignore[arg-type]  # no Literal here
    assert found is listing


def test_who_may_not_see_all_is_told_how_mine_is_asked_for() -> None:
    """Over HTTP, too, where it is a parameter."""
    with pytest.raises(errors.Forbidden) as caught:
        SHUT.check(NOBODY, Operation.LIST_ALL)
    assert "of=mine" in (caught.value.hint or "")
