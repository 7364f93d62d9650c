"""The tree of errors, and the one table of how each is said."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from copy import copy

import pytest

from uploadd import errors
from uploadd.errors import Gone, UploadError
from uploadd.protocol.answers import ANSWERS, Answer, answer, problem


def below(kind: type[UploadError]) -> Iterator[type[UploadError]]:
    """Every class of the tree, the root left out."""
    for child in kind.__subclasses__():
        if child.__module__.startswith(errors.__name__):
            yield child
            yield from below(child)


TREE = sorted(set(below(UploadError)), key=lambda kind: kind.__name__)


def make(kind: type[UploadError]) -> UploadError:
    """One of them, with everything that it can carry."""
    if issubclass(kind, Gone):
        return kind("what happened", reason="expired", hint="what to type")
    return kind("what happened", hint="what to type", offset=7)


def test_every_error_has_its_row_and_every_row_its_error() -> None:
    """Nobody can add one without saying how it is said."""
    assert set(ANSWERS) == set(TREE)
    assert {e for _, e in inspect.getmembers(errors, inspect.isclass)} >= set(TREE)


def test_no_two_errors_have_one_code() -> None:
    """A peer and the documentation know them by it."""
    codes = [vars(kind)["code"] for kind in TREE]
    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and code.replace("-", "").isalpha() for code in codes)


@pytest.mark.parametrize("kind", TREE)
def test_a_row_can_be_said(kind: type[UploadError]) -> None:
    """Status, close code and level are such that the wires and the log know."""
    row = answer(make(kind))
    assert isinstance(row, Answer)
    assert 400 <= row.status < 600
    assert 4400 <= row.close < 4600
    assert row.level in {"debug", "info", "warning", "error"}
    assert row.title.strip()


@pytest.mark.parametrize("kind", TREE)
def test_the_fault_decides_the_status(kind: type[UploadError]) -> None:
    """5xx and the level error are for what we did; but for what we do not offer."""
    ours = issubclass(kind, errors.StoreError | errors.Draining | errors.HookFailed)
    not_offered = kind in (errors.NotImplementedHere, errors.Unsupported)
    assert (answer(make(kind)).status >= 500) == (ours or not_offered)
    assert answer(make(kind)).level != "error" or ours


@pytest.mark.parametrize("kind", TREE)
def test_a_problem_document_has_what_the_error_knows(kind: type[UploadError]) -> None:
    """RFC 9457 members, the code, the request; nothing that is None."""
    error = make(kind)
    told = problem(error, "r-1")
    assert told == {
        "type": f"/errors/{kind.code}",
        "title": answer(error).title,
        "status": answer(error).status,
        "detail": "what happened",
        "code": kind.code,
        "hint": "what to type",
        "request_id": "r-1",
    } | ({} if error.offset is None else {"offset": 7})
    error.hint = error.offset = None
    assert problem(error, "r-1").keys() == told.keys() - {"hint", "offset"}


def test_an_offset_of_nothing_is_told() -> None:
    """Zero is a number, not a member that is left out."""
    assert problem(errors.OffsetMismatch("no", offset=0), "r-1")["offset"] == 0


@pytest.mark.parametrize("kind", TREE)
def test_a_copy_is_an_error_of_its_own(kind: type[UploadError]) -> None:
    """Several peers may hear of one failure, each with its own offset; its cause is the same."""
    error = make(kind)
    error.__cause__ = OSError("why")
    twin = copy(error)
    assert twin.__cause__ is error.__cause__
    assert type(twin) is kind
    assert str(twin) == "what happened"
    assert vars(twin) == vars(error)
    twin.offset = 99
    assert error.offset != 99


def test_a_hint_stands_for_itself_or_is_the_usual_one() -> None:
    """What to type is never empty where there is something to type."""
    assert errors.NoSpace("full").hint == errors.NoSpace.default_hint
    assert errors.NoSpace("full", hint="buy a disk").hint == "buy a disk"
    assert errors.NotFound("no").hint is None
