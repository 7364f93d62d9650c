"""Who may do what: every operation on every wire, by whoever there is, before the real daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import jwt
import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.rights import ROWS, Asker
from uploadd.auth import files
from uploadd.protocol.tokens import USUAL, Claims, Scope

SECRET: Final = bytes(range(32))
JWKS: Final = {
    "keys": [{"kty": "oct", "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "kid": "h"}]
}

# "-" is what a token that was good when it began may still do: the same as the owner.
# 104 offers an upload whose body is still to come.
TABLE: Final = """
                          owner   other     expired        anonymous admin   creator   reader
create: tus               201     201       401            401       201     201       403
create: tus, whole        201     201       401            401       201     201       403
create: IETF              104     104       401            401       104     104       403
create: PUT               201     201       401            401       201     201       403
create: form              201     201       401            401       201     201       403
create: posted            201     201       401            401       201     201       403
create: session           ready   ready     token-expired  token     ready   ready     forbidden
create: session, key      ready   ready     token-expired  token     ready   ready     forbidden
concat: tus               201     403       401            401       201     403       403
append: tus               204     403       -              401       204     403       403
append: tus, last         204     403       -              401       204     403       403
append: POST for PATCH    204     403       -              401       204     403       403
append: IETF              204     403       -              401       204     403       403
append: session           ready   forbidden -              token     ready   forbidden forbidden
offset: tus               200     403       -              401       200     403       403
offset: IETF              204     403       -              401       204     403       403
look: API                 200     403       -              401       200     403       200
look: API, status         200     403       -              401       200     403       200
watch: events             200     403       -              401       200     403       403
watch: session            progress forbidden -             token     progress forbidden forbidden
watch mine: events        200     200       -              401       200     403       403
watch mine: plain         open    open      -              4401      open    4403      4403
watch all: events         403     403       401            401       200     403       403
read: GET                 200     403       401            401       200     403       200
read: HEAD                200     403       401            401       200     403       200
read: where it was sent   200     403       401            401       200     403       200
cancel: tus               204     403       -              401       204     403       403
cancel: IETF              204     403       -              401       204     403       403
cancel: API               204     403       -              401       204     403       403
cancel: API, DELETE       204     403       -              401       204     403       403
cancel: session           cancelled forbidden -            token     cancelled forbidden forbidden
delete: tus               204     403       401            401       204     403       403
delete: API               204     403       401            401       204     403       403
list mine: API            200     200       401            401       200     403       403
list mine: active         200     200       401            401       200     403       403
list mine: notices        200     200       401            401       200     403       403
list mine: read           204     204       401            401       204     403       403
list all: API             403     403       401            401       200     403       403
list all: active          403     403       401            401       200     403       403
link to have              201     403       401            401       201     403       201
link to send              201     201       401            401       201     201       403
"""


def cells() -> Iterator[tuple[str, str, str]]:
    """Row, column and what is expected there."""
    columns, *lines = TABLE.strip().splitlines()
    for line in lines:
        name, found = line[:26].strip(), line[26:].split()
        row = dict(zip(columns.split(), found, strict=True))
        for column, expected in row.items():
            yield name, column, row["owner"] if expected == "-" else expected


def signed(subject: str, expires: float | None = None) -> str:
    """A JSON Web Token; it expires now, where nothing else is said."""
    said = {"sub": subject, "exp": time.time() if expires is None else expires, "aud": "uploads"}
    return jwt.encode(said, SECRET, algorithm="HS256")


@pytest.fixture
def store(memory: Path) -> Path:
    """A folder that asks for tokens, with the keys of whoever signs some."""
    (memory / "jwks.json").write_text(json.dumps(JWKS))
    (memory / "served").mkdir()
    (memory / "served" / ".uploadd" / "tokens").mkdir(parents=True)
    return memory / "served"


def token(store: Path, subject: str, *scopes: Scope) -> str:
    """A token for *subject*."""
    claims = Claims(subject, frozenset(scopes) or USUAL)
    return files.new_token(str(store / ".uploadd" / "tokens"), claims)


@pytest.fixture
def daemon(store: Path) -> Iterator[Daemon]:
    """A daemon that asks for tokens."""
    keys = store.parent / "jwks.json"
    said = ("--set", f"access.jwt_keys={keys}", "--set", "access.jwt_audience=uploads")
    with Daemon(store, *said) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log, daemon.log


def test_everybody_may_what_the_table_says(store: Path, daemon: Daemon) -> None:
    """Every operation, on every wire, by everybody."""
    tokens = {
        "owner": token(store, "ana"),
        "other": token(store, "ben"),
        "admin": token(store, "root", Scope.ADMIN),
        "creator": token(store, "cem", Scope.CREATE),
        "reader": token(store, "ana", Scope.READ),
    }
    daemon.start()
    owner = Asker(daemon, tokens["owner"])
    found, expected = {}, {}
    for row, column, cell in cells():
        late = partial(signed, "ana") if column == "expired" else None
        asker = Asker(daemon, tokens.get(column), owner, late)
        found[row, column] = ROWS[row](asker)
        expected[row, column] = cell
    assert {row for row, _ in expected} == set(ROWS)
    wrong = {at: (found[at], cell) for at, cell in expected.items() if found[at] != cell}
    assert wrong == {}, "found, expected"
