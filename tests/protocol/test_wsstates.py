"""The tables of uploadd.v1: total, closed, and fit for messages that cross."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from uploadd.protocol.wsstates import (
    CLIENT_REFS,
    DEAF,
    MUTE,
    SERVER_REFS,
    SESSION,
    WATCHES,
    RefInput,
    RefState,
    SessionInput,
    SessionState,
    WatchInput,
    WatchState,
)

R, Do = RefState, RefInput
S, On = SessionState, SessionInput

ASKED = {Do.BEGIN, Do.CHUNK, Do.FINISH, Do.CANCEL}
TOLD = {Do.READY, Do.ACK, Do.DONE, Do.REFUSE, Do.FAIL, Do.GONE}


def test_every_table_names_every_state_and_leads_only_to_states() -> None:
    """And every input is used somewhere."""
    for table in (CLIENT_REFS, SERVER_REFS):
        assert set(table) == set(RefState)
        assert {then for row in table.values() for then in row.values()} == set(RefState)
        assert {what for row in table.values() for what in row} == set(RefInput)
    assert set(SESSION) == set(SessionState)
    assert {then for row in SESSION.values() for then in row.values()} | {S.OPENING} == set(S)
    assert {what for row in SESSION.values() for what in row} == set(SessionInput)


def test_from_every_state_of_a_ref_a_last_word_can_come() -> None:
    """Nothing is alive for ever: from everywhere the way to ABSENT is open."""
    for table in (CLIENT_REFS, SERVER_REFS):
        for state in RefState:
            assert R.ABSENT in reachable(state, lambda at, rows=table: rows[at].values())


def test_a_session_that_is_not_over_can_fail_and_close() -> None:
    """From every state, and after that nothing happens."""
    for state, row in SESSION.items():
        if state in DEAF:
            assert row == {}
        else:
            assert (row[On.FAIL], row[On.CLOSE]) == (S.FAILING, S.CLOSED)


def test_what_the_server_takes_in_silence_leads_nowhere() -> None:
    """From the wire only begin and cancel lead out of ABSENT and DROPPED."""
    for state in (R.ABSENT, R.DROPPED):
        for what, then in SERVER_REFS[state].items():
            assert then is state or what in (Do.BEGIN, Do.CANCEL)
    assert Do.BEGIN not in SERVER_REFS[R.CANCELLING]


# --- both ends, and what lies between them ----------------------------------------------------
# A place is (client's state, server's state, on the way to the server, on the way to the client).

ON_THE_WAY = 5  # messages in each direction

Place = tuple[Any, Any, tuple[Any, ...], tuple[Any, ...]]


def reachable(start: Any, then: Callable[[Any], Iterable[Any]]) -> set[Any]:
    """Everything that can be reached from *start*."""
    seen, todo = {start}, [start]
    while todo:
        for place in then(todo.pop()):
            if place not in seen:
                seen.add(place)
                todo.append(place)
    return seen


def after_ref(place: Place) -> Iterator[Place]:
    """Where a ref can be after one more thing was said or has arrived at either end."""
    client, server, to_server, to_client = place
    if len(to_server) < ON_THE_WAY:
        for what in CLIENT_REFS[client].keys() & ASKED:
            yield CLIENT_REFS[client][what], server, (*to_server, what), to_client
    if len(to_client) < ON_THE_WAY:
        for what in SERVER_REFS[server].keys() & TOLD:
            then = SERVER_REFS[server][what]
            heard = server not in MUTE or (server is not R.ABSENT and then is R.ABSENT)
            yield client, then, to_server, (*to_client, what) if heard else to_client
    if to_server:  # KeyError: an honest client would be failed
        yield client, SERVER_REFS[server][to_server[0]], to_server[1:], to_client
    if to_client:  # KeyError: an honest server would be failed
        yield CLIENT_REFS[client][to_client[0]], server, to_server, to_client[1:]


def test_whatever_crosses_on_the_way_no_honest_peer_is_failed() -> None:
    """Every place that a ref can come to, with all that can be on the way: all in the tables."""
    places = reachable((R.ABSENT, R.ABSENT, (), ()), after_ref)
    assert {client for client, *_ in places} == set(RefState)
    assert any(client is R.OPEN and server is R.ABSENT for client, server, *_ in places)


def test_when_nothing_is_on_the_way_both_ends_agree_about_a_ref() -> None:
    """So that nobody waits for a word that does not come."""
    for client, server, to_server, to_client in reachable((R.ABSENT, R.ABSENT, (), ()), after_ref):
        if not to_server and not to_client:
            assert client is server


def after_session(place: Place) -> Iterator[Place]:
    """Likewise for a session; a close may come at any time, and who is deaf hears nothing."""
    client, server, to_server, to_client = place
    if len(to_server) < ON_THE_WAY:
        for what in SESSION[client].keys() & {On.HELLO, On.ASK, On.DRAINED, On.CLOSE}:
            yield SESSION[client][what], server, (*to_server, what), to_client
    if len(to_client) < ON_THE_WAY:
        for what in SESSION[server].keys() & {On.WELCOME, On.TELL, On.DRAIN, On.FAIL, On.CLOSE}:
            yield client, SESSION[server][what], to_server, (*to_client, what)
    if to_server:
        then = server if server in DEAF else SESSION[server][to_server[0]]
        yield client, then, to_server[1:], to_client
    if to_client:
        then = client if client in DEAF else SESSION[client][to_client[0]]
        yield then, server, to_server, to_client[1:]


def test_whatever_crosses_on_the_way_no_honest_session_is_failed() -> None:
    """A drain, a drained and all that is said meanwhile included."""
    places = reachable((S.OPENING, S.OPENING, (), ()), after_session)
    assert {client for client, *_ in places} == set(SessionState)
    for client, server, to_server, to_client in places:
        if not to_server and not to_client and not {client, server} & DEAF:
            assert client is server


def test_a_watch_is_the_same_at_both_ends_whatever_crosses() -> None:
    """The table is total; when nothing is on the way, whoever spoke last is believed by both."""
    assert set(WATCHES) == set(WatchState)
    for row in WATCHES.values():
        assert set(row) == set(WatchInput)
    for state in WatchState:
        assert WATCHES[state][WatchInput.WATCH] is WatchState.WATCHED
        assert WATCHES[state][WatchInput.PROGRESS] is state
        for what in (WatchInput.UNWATCH, WatchInput.GONE):
            assert WATCHES[state][what] is WatchState.UNWATCHED
