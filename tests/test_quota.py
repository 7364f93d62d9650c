"""Quotas: what is reserved is never more than an owner may have, whoever comes and goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.errors import OverQuota
from uploadd.protocol.upload import Upload
from uploadd.quota import Quota, Taken

MOST = 1000
OWNERS = ("ana", "ben", "@anon", "?anon", "")
STEPS = st.tuples(
    st.sampled_from(["enter", "extend", "settle", "leave", "forget"]),
    st.integers(0, 30),
    st.sampled_from(OWNERS),
    st.none() | st.integers(0, 700),
)


@given(st.lists(STEPS, max_size=60))
def test_no_owner_ever_has_more_than_it_may(steps: list[tuple[str, int, str, int | None]]) -> None:
    """In any order; and a daemon that starts again counts the same."""
    quota, uploads, complete = Quota(MOST, 5), dict[str, Upload](), dict[str, Upload]()
    reserved = dict[str, int]()
    for number, (verb, which, owner, count) in enumerate(steps):
        known = list(uploads.values())
        upload = known[which % len(known)] if known else None
        try:
            if verb == "enter":
                new = Upload(f"u{number}", length=count, owner=owner)
                quota.enter(new)
                uploads[new.id], reserved[new.id] = new, count or 0
            elif upload is None:
                continue
            elif verb == "extend" and upload.length is None:
                quota.extend(upload, count or 0)
                reserved[upload.id] = max(reserved[upload.id], count or 0)
            elif verb == "settle":
                upload.length = min(count or 0, reserved[upload.id])
                quota.settle(upload)
                complete[upload.id] = uploads.pop(upload.id)
                del reserved[upload.id]
            elif verb in ("leave", "forget"):
                getattr(quota, verb)(upload)
                quota.forget(upload)
                del uploads[upload.id], reserved[upload.id]
        except OverQuota:
            pass
        again = Quota(MOST, 5)
        again.load([Taken(u.owner, reserved[u.id], u.id) for u in uploads.values()])
        again.load([Taken(u.owner, u.length or 0) for u in complete.values()])
        for name in OWNERS:
            mine = [u for u in (*uploads.values(), *complete.values()) if same(u.owner, name)]
            total = sum(reserved.get(u.id, u.length or 0) for u in mine)
            assert quota.used(name) == again.used(name) == total <= MOST
            assert quota.left(name) == MOST - total
            assert len(mine) <= 5


def same(one: str, other: str) -> bool:
    """Whether two owners are counted as one."""
    return one == other or not (one.isalpha() or other.isalpha())


def test_a_complete_upload_makes_room_when_it_goes() -> None:
    """It has its length, not what was reserved."""
    quota, upload = Quota(100), Upload("u", owner="ana")
    quota.enter(upload)
    quota.extend(upload, 80)
    upload.length = 60
    quota.settle(upload)
    assert quota.used("ana") == 60
    quota.leave(upload)
    assert quota.used("ana") == 0


def test_the_fullest_owner_is_known() -> None:
    """By bytes or by uploads, whichever is scarcer; without any limit nobody is full."""
    quota = Quota(100, 4)
    assert quota.fullest == 0
    quota.enter(Upload("a", owner="a", length=30))
    assert quota.fullest == 0.3
    quota.enter(Upload("b", owner="b", length=1))
    quota.enter(Upload("c", owner="b", length=1))
    assert quota.fullest == 0.5
    assert Quota().fullest is None


def test_the_refusal_says_what_is_left() -> None:
    """And nothing is taken."""
    quota = Quota(100, 1)
    quota.enter(Upload("u", length=70, owner="ana"))
    with pytest.raises(OverQuota, match="1 uploads are kept") as caught:
        quota.enter(Upload("v", length=0, owner="ana"))
    assert "limits.max_uploads" in str(caught.value.hint)
    quota = Quota(100)
    with pytest.raises(OverQuota, match="needs 101 B more, and this owner has 100 B left of 100 B"):
        quota.enter(Upload("v", length=101, owner="ana"))
    assert quota.left("ana") == 100
    assert Quota(None, 1).left("ana") is None
