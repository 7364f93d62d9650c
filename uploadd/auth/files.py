"""Tokens and keys as files: a folder with one file a token, and one with keys for links.

Making one is creating a file, revoking it is removing one: nothing is ever rewritten.
"""

from __future__ import annotations

import math
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

import msgspec

from uploadd.protocol.tickets import KEY_BYTES
from uploadd.protocol.tokens import Claims, Scope, Stored, hashed, token_text

TOKENS: Final = "tokens"
"""Below the daemon's own folder, where the settings say nothing else."""
KEYS: Final = "keys"
SUFFIX: Final = ".json"
KEY_SUFFIX: Final = ".key"
MAX_FILE: Final = 64 << 10
_ID: Final = re.compile(r"[a-z0-9]{4,32}")


class Unusable(Exception):
    """A file that cannot be used: which, and why.  Never what is in it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


def read(path: str) -> bytes:
    """What is in *path*.  Raises Unusable."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise Unusable(path, error.strerror or "cannot be read") from error
    if len(raw) > MAX_FILE:
        raise Unusable(path, f"more than {MAX_FILE} bytes")
    return raw


def _without_waiting(path: str, flags: int) -> int:
    """So that a pipe with nobody at its other end is empty, and does not keep all else waiting."""
    return os.open(path, flags | os.O_NONBLOCK)


def is_open(path: str) -> bool:
    """Whether everybody can read *path*.  Raises Unusable."""
    try:
        return bool(os.stat(path).st_mode & 0o007)
    except OSError as error:
        raise Unusable(path, error.strerror or "cannot be read") from error


def _named(folder: str, suffix: str) -> Iterator[tuple[str, str]]:
    """Name without *suffix*, and path, of each such file in *folder*.  Raises Unusable."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unusable(folder, error.strerror or "cannot be read") from error
    for name in names:
        if name.endswith(suffix) and not name.startswith("."):
            yield name.removesuffix(suffix), os.path.join(folder, name)


# --- tokens ---------------------------------------------------------------------------------------


Tell: TypeAlias = Callable[[Unusable], None]


def refuse(error: Unusable) -> None:
    """Raise it: nothing is read then."""
    raise error


def stored(folder: str, tell: Tell = refuse) -> dict[str, Stored]:
    """Every token in *folder*, by its id.  One that is not understood might have been meant to
    permit less: *tell* hears of it, and it permits nothing.  Raises Unusable.
    """
    found = {}
    for id, path in _named(folder, SUFFIX):
        try:
            found[id] = _stored(id, path)
        except Unusable as error:
            tell(error)
    return found


def _stored(id: str, path: str) -> Stored:
    if not _ID.fullmatch(id):
        raise Unusable(path, "a token's file is called by its id: 4 to 32 of a-z and 0-9")
    try:
        told = msgspec.json.decode(read(path), type=Stored)
        told.claims()
    except (ValueError, msgspec.MsgspecError) as error:
        raise Unusable(path, str(error)) from error
    return told


def new_token(folder: str, claims: Claims) -> str:
    """Keep a new token that says *claims*; its text, which is kept nowhere.  Raises OSError."""
    _make_folder(folder, 0o755)
    id = secrets.token_hex(4)
    text = token_text(id, secrets.token_urlsafe(32))
    kept = Stored(
        claims.subject,
        hashed(text),
        tuple(scope for scope in Scope if scope in claims.scopes),
        None if math.isinf(claims.expires) else claims.expires,
    )
    # A hash of so much chance tells nobody anything, and the daemon may be another user.
    _create(os.path.join(folder, id + SUFFIX), msgspec.json.encode(kept) + b"\n", 0o644)
    return text


def revoke(folder: str, id: str) -> bool:
    """Forget the token *id*; whether there was one.  Raises OSError."""
    if not _ID.fullmatch(id):
        return False
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, id + SUFFIX))
        _sync(folder)
        return True
    return False


# --- keys for links -------------------------------------------------------------------------------


def keys(folder: str, tell: Tell = refuse) -> list[bytes]:
    """The keys in *folder*, the newest first: that one signs.  As `stored`.  Raises Unusable."""
    found = []
    for _, path in _named(folder, KEY_SUFFIX):
        try:
            found.append((*_key(path), path))
        except Unusable as error:
            tell(error)
    return [key for _, key, _ in sorted(found, key=lambda one: (one[0], one[2]), reverse=True)]


def _key(path: str) -> tuple[int, bytes]:
    """When it was made, and the key."""
    try:
        key = bytes.fromhex(read(path).decode("ascii").strip())
        born = os.stat(path).st_mtime_ns
    except (ValueError, OSError) as error:
        raise Unusable(path, f"a key is {KEY_BYTES} bytes in hex") from error
    if len(key) < KEY_BYTES:
        raise Unusable(path, f"a key is {KEY_BYTES} bytes in hex, this one has {len(key)}")
    return born, key


def new_key(folder: str) -> bytes:
    """Make a key that signs from now on.  Raises OSError."""
    _make_folder(folder, 0o700)
    key = secrets.token_bytes(KEY_BYTES)
    name = secrets.token_hex(4) + KEY_SUFFIX
    _create(os.path.join(folder, name), key.hex().encode() + b"\n", 0o600)
    return key


def _create(path: str, data: bytes, mode: int) -> None:
    """A new file, whole under its name or not there; durable."""
    draft = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(fd, data)
        os.fchmod(fd, mode)
        _give_away(fd, path)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(draft, path)
    _sync(os.path.dirname(path))


def _make_folder(path: str, mode: int) -> None:
    """The folder *path*, durably; those around it that are missing are the daemon's alone."""
    if not os.path.isdir(path):
        around = os.path.dirname(path)
        if around and around != path:
            _make_folder(around, 0o700)
        os.mkdir(path, mode)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _give_away(fd, path)
        finally:
            os.close(fd)
        _sync(around or ".")


def _give_away(fd: int, path: str) -> None:
    """Let what root has made belong to the user of the daemon, whose the folder around it is.

    That user may put something else in its place, so the name is not asked again.
    """
    if os.geteuid() == 0:
        around = os.stat(os.path.dirname(path) or ".")
        os.fchown(fd, around.st_uid, around.st_gid)


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def stamp(path: str) -> tuple[object, ...]:
    """What changes when *path*, or something right below it, does."""
    try:
        below = sorted(os.listdir(path))
    except OSError:  # it is a file, or not there
        below = []
    return (_mark(path), *((name, _mark(os.path.join(path, name))) for name in below))


def _mark(path: str) -> tuple[int, ...]:
    try:
        told = os.stat(path)
    except OSError as error:  # it leads nowhere, and what lies beside it counts all the same
        return (error.errno or 0,)
    return told.st_ino, told.st_mtime_ns, told.st_size
