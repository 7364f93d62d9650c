"""uploadd.v1 as tables: what may happen to a session, a ref and a watch, and where it leads.

Rule 1: the tables know no message, no byte and no credit; the two machines know no transition.

Rule 2: a pair that is not in a table is a mistake of whoever caused it.  The peer's ends the
session with ``bad-message``; ours raises LocalError.

A session is the same table at both ends, and so is a watch.  A ref has two, since messages cross:
the server may have ended a ref, or refused a chunk of it, while the client still sends for it.
What the server takes in ABSENT and DROPPED, and what the client hears in ABSENT, is therefore
dropped in silence.
``tests/protocol/test_ws_machine.py`` walks every reachable pair of both ends and all that can lie
between them, and finds none that is not in the tables.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class LocalError(Exception):
    """We asked a machine for what cannot be now: a bug of the caller, never of the peer."""


class SessionState(StrEnum):
    """Where a session is."""

    OPENING = "OPENING"  # nothing said
    GREETED = "GREETED"  # the server looks at the token
    OPEN = "OPEN"
    DRAINING = "DRAINING"  # the server is about to restart; the client ends its message
    DRAINED = "DRAINED"  # the client says nothing more; the last acks go out
    FAILING = "FAILING"  # what is queued goes out, then the close code
    CLOSED = "CLOSED"


class SessionInput(StrEnum):
    """What can happen to a session; the values are words for the documentation."""

    HELLO = "hello"
    WELCOME = "welcome"
    ASK = "client speaks"  # begin, chunk, finish, cancel, watch, and what is not offered
    TELL = "server speaks"  # ready, ack, done, error, progress, gone, notice
    DRAIN = "drain"
    DRAINED = "drained"
    FAIL = "final error without ref"
    CLOSE = "close"


class RefState(StrEnum):
    """Where a ref is, as its owner sees it."""

    ABSENT = "ABSENT"  # never begun, or ended
    OPENING = "OPENING"  # begun, not ready
    OPEN = "OPEN"
    FINISHING = "FINISHING"  # declared complete; the last word is awaited
    DROPPED = "DROPPED"  # refused, not finally; nothing counts until it is begun again
    CANCELLING = "CANCELLING"  # the last word is awaited


class RefInput(StrEnum):
    """What can happen to a ref: four from the client, six from the server."""

    BEGIN = "begin"
    CHUNK = "chunk"
    FINISH = "finish or last"
    CANCEL = "cancel"
    READY = "ready"
    ACK = "ack"
    DONE = "done"
    REFUSE = "error, not final"
    FAIL = "error, final"
    GONE = "gone"


class WatchState(StrEnum):
    """Whether one upload is watched by its id, at either end."""

    UNWATCHED = "UNWATCHED"
    WATCHED = "WATCHED"


class WatchInput(StrEnum):
    """What can happen to a watch: two from the client, two from the server."""

    WATCH = "watch"
    UNWATCH = "unwatch"
    PROGRESS = "progress"
    GONE = "gone without ref"


S = SessionState
On = SessionInput
R = RefState
Do = RefInput

SESSION: Final[dict[SessionState, dict[SessionInput, SessionState]]] = {
    # state      what may happen    and where it leads
    S.OPENING:  {On.HELLO: S.GREETED,
                 On.FAIL: S.FAILING, On.CLOSE: S.CLOSED},
    S.GREETED:  {On.WELCOME: S.OPEN,
                 On.FAIL: S.FAILING, On.CLOSE: S.CLOSED},
    S.OPEN:     {On.ASK: S.OPEN, On.TELL: S.OPEN, On.DRAIN: S.DRAINING,
                 On.FAIL: S.FAILING, On.CLOSE: S.CLOSED},
    S.DRAINING: {On.ASK: S.DRAINING, On.TELL: S.DRAINING, On.DRAIN: S.DRAINING,
                 On.DRAINED: S.DRAINED,
                 On.FAIL: S.FAILING, On.CLOSE: S.CLOSED},
    S.DRAINED:  {On.TELL: S.DRAINED, On.DRAIN: S.DRAINED,
                 On.FAIL: S.FAILING, On.CLOSE: S.CLOSED},
    S.FAILING:  {},
    S.CLOSED:   {},
}  # fmt: skip

DEAF: Final = frozenset({S.FAILING, S.CLOSED})
"""States in which a machine hears nothing and says nothing new."""

CLIENT_REFS: Final[dict[RefState, dict[RefInput, RefState]]] = {
    R.ABSENT:     {Do.BEGIN: R.OPENING,
                   Do.READY: R.ABSENT, Do.ACK: R.ABSENT, Do.DONE: R.ABSENT,
                   Do.REFUSE: R.ABSENT, Do.FAIL: R.ABSENT, Do.GONE: R.ABSENT},
    R.OPENING:    {Do.CHUNK: R.OPENING, Do.FINISH: R.FINISHING, Do.CANCEL: R.CANCELLING,
                   Do.READY: R.OPEN, Do.DONE: R.ABSENT,
                   Do.REFUSE: R.DROPPED, Do.FAIL: R.ABSENT, Do.GONE: R.ABSENT},
    R.OPEN:       {Do.CHUNK: R.OPEN, Do.FINISH: R.FINISHING, Do.CANCEL: R.CANCELLING,
                   Do.ACK: R.OPEN,
                   Do.REFUSE: R.DROPPED, Do.FAIL: R.ABSENT, Do.GONE: R.ABSENT},
    R.FINISHING:  {Do.CANCEL: R.CANCELLING,
                   Do.READY: R.FINISHING, Do.ACK: R.FINISHING, Do.DONE: R.ABSENT,
                   Do.REFUSE: R.DROPPED, Do.FAIL: R.ABSENT, Do.GONE: R.ABSENT},
    R.DROPPED:    {Do.BEGIN: R.OPENING, Do.CANCEL: R.CANCELLING},
    R.CANCELLING: {Do.READY: R.CANCELLING, Do.ACK: R.CANCELLING, Do.DONE: R.ABSENT,
                   Do.REFUSE: R.CANCELLING, Do.FAIL: R.ABSENT, Do.GONE: R.ABSENT},
}  # fmt: skip

SERVER_REFS: Final[dict[RefState, dict[RefInput, RefState]]] = {
    R.ABSENT:     {Do.BEGIN: R.OPENING,
                   Do.CHUNK: R.ABSENT, Do.FINISH: R.ABSENT, Do.CANCEL: R.ABSENT,
                   Do.READY: R.ABSENT, Do.ACK: R.ABSENT, Do.DONE: R.ABSENT,
                   Do.REFUSE: R.ABSENT, Do.FAIL: R.ABSENT, Do.GONE: R.ABSENT},
    R.OPENING:    CLIENT_REFS[R.OPENING],
    R.OPEN:       CLIENT_REFS[R.OPEN],
    R.FINISHING:  CLIENT_REFS[R.FINISHING],
    R.DROPPED:    {Do.BEGIN: R.OPENING, Do.CANCEL: R.CANCELLING,
                   Do.CHUNK: R.DROPPED, Do.FINISH: R.DROPPED,
                   Do.READY: R.DROPPED, Do.ACK: R.DROPPED,
                   Do.REFUSE: R.DROPPED, Do.FAIL: R.DROPPED, Do.GONE: R.DROPPED},
    R.CANCELLING: CLIENT_REFS[R.CANCELLING],
}  # fmt: skip

MUTE: Final = frozenset({R.ABSENT, R.DROPPED, R.CANCELLING})
"""Ref states in which the server says nothing but the last word (which leads to ABSENT).

In ABSENT and DROPPED there is none to say.  A last word sent in DROPPED could meet the client's
next ``begin`` on the way, which would leave the server with an upload that nobody knows of.
"""

W, See = WatchState, WatchInput

WATCHES: Final[dict[WatchState, dict[WatchInput, WatchState]]] = {
    W.UNWATCHED: {See.WATCH: W.WATCHED, See.UNWATCH: W.UNWATCHED,
                  See.PROGRESS: W.UNWATCHED, See.GONE: W.UNWATCHED},
    W.WATCHED:   {See.WATCH: W.WATCHED, See.UNWATCH: W.UNWATCHED,
                  See.PROGRESS: W.WATCHED, See.GONE: W.UNWATCHED},
}  # fmt: skip
"""Total, since all of it may cross on the way; ``mine`` and ``all`` are watched beside it."""
