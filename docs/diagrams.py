"""Writes the computed sections of the pages beside it: diagrams, tables, hex.

    python docs/diagrams.py            rewrite what lies between the marks
    python docs/diagrams.py --check    exit with 1 when that would change anything

A section stands between ``<!-- computed: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from uploadd import errors as e
from uploadd.config.spelling import toml
from uploadd.errors import UploadError
from uploadd.protocol import wsmessages as m
from uploadd.protocol.answers import ANSWERS
from uploadd.protocol.openapi import OPERATIONS
from uploadd.protocol.seen import MEANING
from uploadd.protocol.ws import CAN
from uploadd.protocol.wsbegin import MIN_ANONYMOUS_KEY
from uploadd.protocol.wschunks import Chunk, pack
from uploadd.protocol.wsstates import (
    CLIENT_REFS,
    SERVER_REFS,
    SESSION,
    WATCHES,
    RefInput,
    RefState,
    SessionState,
    WatchState,
)
from uploadd.settings import SECTIONS as ALL_SETTINGS
from uploadd.settings import Setting

PAGES: Final = [
    Path(__file__).with_name(name) for name in ("protocol.md", "api.md", "configuration.md")
]
SECTION: Final = re.compile(r"<!-- computed: ([a-z-]+) -->\n(.*?)<!-- end -->\n", re.DOTALL)

# --- what a client does about an error; a test sees to it that every error is in one of these ---

WHAT_TO_DO: Final[dict[type[UploadError], str]] = {
    e.BadMessage: "a bug of the client: fix it; do not repeat the message",
    e.Unsupported: "do without it; `welcome.can` lists what is offered",
    e.Unauthorised: "get a new token, open a new session",
    e.TokenExpired: "begin it in a new session with a new token; what runs already goes on",
    e.OriginNotAllowed: "tell the user: the operator must allow this origin",
    e.HostNotAllowed: "tell the user: the operator must allow this host name",
    e.Forbidden: "tell the user: it is somebody else's, or the token does not permit it",
    e.Refused: "tell the user what `message` says: a hook of the operator's has refused it",
    e.TooSlow: "open a new session and resume",
    e.TooMany: "of a ref: begin again when another has ended; of a session: open a new one later",
    e.TooOften: "wait, then the same again",
    e.OverQuota: "tell the user: what they may have here is used up",
    e.TypeNotAllowed: "tell the user: this kind of file is not taken (`limits.types`)",
    e.TooLarge: "tell the user: the file is over `limits.max_length`",
    e.NotFound: "begin anew: there is no such upload, or it is not yours",
    e.Gone: "begin anew: it was cancelled, expired, deleted or lost",
    e.LengthExceeded: "the file has grown, or the length was wrong: begin anew",
    e.LengthConflict: "the length was declared otherwise before: begin anew",
    e.CreditExceeded: "a bug of the client: a chunk must end at or below the newest `limit`",
    e.DigestMismatch: "`begin{ref, upload}` and finish with the right digest, or cancel",
    e.OffsetMismatch: "`begin{ref, upload}` and go on from `ready.offset`",
    e.ChecksumMismatch: "`begin{ref, upload}` and go on from `ready.offset`",
    e.Incomplete: "`begin{ref, upload}` and send what is missing from `ready.offset` on",
    e.KeyConflict: "the key belongs to an upload of another name or length: use a new key",
    e.TakenOver: "somebody else goes on with it: do not resume by yourself",
    e.HolderStuck: "begin again in a second or more",
    e.StoreError: "`begin{ref, upload}` after a pause that grows: nothing acknowledged is lost",
    e.NoSpace: "tell the user; `begin{ref, upload}` when there is room",
    e.NotWritable: "tell the user; `begin{ref, upload}` after a pause that grows",
    e.HookFailed: "`begin` again after a pause that grows: the operator's hook cannot be asked",
    e.ServerBug: "resume once in a new session, then tell the user",
    e.Draining: "open a new session after a second or more and resume",
}
ELSEWHERE: Final = frozenset(  # said over HTTP only, or the parent of what is said
    {
        *(e.ClientError, e.Conflict, e.BadRequest, e.HeadTooLarge, e.NotImplementedHere),
        *(e.MethodNotAllowed, e.UpgradeStripped, e.UpgradeRequired),
        *(e.RangeNotSatisfiable, e.PreconditionFailed),
        *(e.UnsupportedMediaType, e.VersionMismatch, e.NotAppendable),
        *(e.AlreadyComplete, e.ChecksumUnsupported),
    }
)
CLOSES: Final[dict[int, tuple[str, str]]] = {
    1000: ("the client closed", "nothing"),
    1002: ("broken frames, or a chunk header that is not one", "a bug of the client: fix it"),
    1007: ("a text message that is not UTF-8", "a bug of the client: fix it"),
    1008: ("too many frames, or a message that did not end in time", "open a new session, resume"),
    1009: ("a message over its limit", "a bug of the client: keep to 8 KiB and `max_chunk`"),
    1011: ("the server failed", "as 4500"),
    1012: ("the server restarts", "open a new session after `reconnect_after` and resume"),
    4400: ("a message that is not of the protocol, or not now", "a bug of the client: fix it"),
    4401: ("the token is missing, wrong or expired", "get a new token, open a new session"),
    4403: ("origin or host not allowed", "tell the user"),
    4408: ("nothing was heard for too long, or no `hello`", "open a new session, resume"),
    4413: ("too large", "tell the user"),
    4429: ("too many sessions, or answers that nobody reads", "open a new session later"),
    4500: ("the server failed", "open a new session after a pause that grows, resume"),
    4503: ("the server is about to stop, or cannot write", "as 4500"),
    4507: ("the disk is full", "tell the user; resume when there is room"),
}


# --- the sections -----------------------------------------------------------------------------


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def diagram(
    transitions: Mapping[StrEnum, Mapping[StrEnum, StrEnum]], outside: StrEnum, start: str = ""
) -> str:
    """A mermaid diagram with one arrow for each pair of states; *outside* is drawn as a dot."""
    arrows: dict[tuple[StrEnum, StrEnum], list[str]] = {}
    for state, row in transitions.items():
        for what, then in row.items():
            if not state is then is outside:
                arrows.setdefault((state, then), []).append(what)
    lines = [
        f"    {'[*]' if state is outside else state} --> {'[*]' if then is outside else then}"
        f": {' / '.join(whats)}\n"
        for (state, then), whats in arrows.items()
    ]
    return f"```mermaid\nstateDiagram-v2\n{start}{''.join(lines)}```\n"


def session() -> str:
    """The states of a session; the same at both ends."""
    return diagram(SESSION, SessionState.CLOSED, f"    [*] --> {SessionState.OPENING}: connected\n")


def ref() -> str:
    """The states of a ref, as its client sees them."""
    return diagram(CLIENT_REFS, RefState.ABSENT)


def watch() -> str:
    """The states of a watch; the same at both ends."""
    return diagram(WATCHES, WatchState.UNWATCHED)


def seen() -> str:
    """How an upload can stand."""
    return table(["state", "what it means"], [[f"`{word}`", MEANING[word]] for word in MEANING])


def operations() -> str:
    """Everything under ``/api``, one line each."""
    rows = [
        [f"[`{op.method} {op.path}`](#{op.id})", op.what.partition(". ")[0].rstrip(".")]
        for op in OPERATIONS
    ]
    return table(["what", "does"], rows)


def parameters() -> str:
    """Each operation with its parameters and its good answers."""
    out = ""
    for op in OPERATIONS:
        rows = [[f"`{param.name}`", param.place, param.what] for param in op.params]
        good = "; ".join(
            f"{answer.status}"
            + (f" `{answer.schema}`" if answer.schema else "")
            + f": {answer.what}"
            for answer in op.answers
        )
        body = f"Body: `{op.body}`. " if op.body else ""
        out += f"### {op.id}\n\n`{op.method} {op.path}`: {op.what}\n\n"
        out += f"{table(['parameter', 'in', ''], rows)}\n{body}Answer: {good}.\n\n"
    return out


def server_ref() -> str:
    """What the server makes of what a client says of a ref."""
    asked = (RefInput.BEGIN, RefInput.CHUNK, RefInput.FINISH, RefInput.CANCEL)

    def cell(state: RefState, what: RefInput) -> str:
        then = SERVER_REFS[state].get(what)
        if then is None:
            return "close 4400"
        return "dropped in silence" if then in (RefState.ABSENT, RefState.DROPPED) else then

    rows = [[state, *(cell(state, what) for what in asked)] for state in RefState]
    return table(["the server has it in", *asked], rows)


def errors() -> str:
    """Every code that can be said in a session."""
    said = sorted(WHAT_TO_DO, key=lambda kind: kind.code)
    rows = [
        [
            f"`{kind.code}`",
            "yes" if ANSWERS[kind].final else "no",
            ANSWERS[kind].close,
            WHAT_TO_DO[kind],
        ]
        for kind in said
    ]
    return table(["code", "final", "close", "what to do"], rows)


def closes() -> str:
    """Every close code."""
    rows = [[code, meaning, remedy] for code, (meaning, remedy) in sorted(CLOSES.items())]
    return table(["code", "what happened", "what to do"], rows)


def limits() -> str:
    """What is fixed; the rest is in welcome."""
    rows = [
        ["a text message", f"{m.MAX_TEXT} bytes of UTF-8"],
        ["an integer", f"0 … {m.MAX_INTEGER} (2⁵³−1), written without fraction or exponent"],
        ["`ref`", f"0 … {m.MAX_CLIENT_REF} (2³¹−1); the others belong to the server"],
        ["`name`", f"{m.MAX_NAME} bytes of UTF-8"],
        ["`media_type`, `client`", "255 characters"],
        ["`upload`, a member of `uploads` or `notices`", "1 … 255 characters"],
        ["`client_id`", f"1 … 255 characters; to own something at least {MIN_ANONYMOUS_KEY}"],
        ["`key`", f"1 … 255 characters; without a token at least {MIN_ANONYMOUS_KEY}"],
        ["`digest`", ", ".join(f"`{alg}`" for alg in m.DIGEST_SIZES)],
    ]
    return table(["what", "limit"], rows)


def can() -> str:
    """What welcome.can holds today."""
    return ", ".join(f"`{word}`" for word in CAN) + "\n"


def chunk() -> str:
    """A chunk, byte by byte."""
    payload = b"hello"
    message = pack(
        Chunk(7, 65536, memoryview(payload), last=True, flush=True, crc32=zlib.crc32(payload))
    )
    pieces = [
        (1, "kind: 1"),
        (1, "flags: 1 + 2 + 4, so crc32, last and flush"),
        (2, "reserved"),
        (4, "ref: 7"),
        (8, "offset: 65536"),
        (4, f"crc32 of the payload: 0x{zlib.crc32(payload):08x}"),
        (len(payload), 'payload: "hello"'),
    ]
    lines, at = [], 0
    for size, what in pieces:
        lines.append(f"{message[at : at + size].hex(' '):<24}{what}\n")
        at += size
    assert at == len(message)
    return f"```\n{''.join(lines)}```\n"


def _when(setting: Setting) -> str:
    return "reload" if setting.reloads else "restart"


def settings() -> str:
    """Every setting with its kind and default, section by section."""
    blocks = []
    for name, section in ALL_SETTINGS.items():
        heading = f"{name}.NAME" if section.repeated else name
        rows = "".join(
            f"| `{key}` | {one.kind.says} | `{toml(one.default)}` | {_when(one)} |\n"
            for key, one in section.settings.items()
        )
        head = "| key | value | default | takes effect |\n|---|---|---|---|\n"
        blocks.append(f"\n**`[{heading}]`** {section.about}\n\n{head}{rows}")
    return "".join(blocks) + "\n"


SECTIONS: Final[dict[str, Callable[[], str]]] = {
    "session": session,
    "ref": ref,
    "watch": watch,
    "seen": seen,
    "server-ref": server_ref,
    "errors": errors,
    "closes": closes,
    "limits": limits,
    "can": can,
    "chunk": chunk,
    "operations": operations,
    "parameters": parameters,
    "settings": settings,
}


def computed(page: str) -> str:
    """*page* with every section as it must be.  Raises KeyError for one that nobody computes."""
    return SECTION.sub(
        lambda mark: f"<!-- computed: {mark[1]} -->\n{SECTIONS[mark[1]]()}<!-- end -->\n", page
    )


def main(arguments: list[str]) -> int:
    """See the module."""
    stale = False
    for path in PAGES:
        old = path.read_text(encoding="utf-8")
        new = computed(old)
        stale = stale or new != old
        if arguments != ["--check"]:
            path.write_text(new, encoding="utf-8")
    return int(stale and arguments == ["--check"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
