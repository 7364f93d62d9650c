"""The same may succeed later: the peer must ask for the state first, or we have failed."""

from __future__ import annotations

from uploadd.errors.base import UploadError


# --- the peer must ask again ------------------------------------------------------------------
class Conflict(UploadError):
    """True a moment ago, not now: ask for the state and go on from there."""

    code = "conflict"


class OffsetMismatch(Conflict):
    """A chunk that does not begin where the last one ended."""

    code = "offset-mismatch"
    complete = False
    """Whether nothing is missing: the upload is complete."""


class ChecksumMismatch(Conflict):
    """A chunk that was damaged on its way; nothing of it was stored."""

    code = "checksum-mismatch"


class Incomplete(Conflict):
    """Finishing was asked for, and bytes are missing."""

    code = "incomplete"


class KeyConflict(Conflict):
    """The idempotency key belongs to an upload with another name or length."""

    code = "key-conflict"


class TakenOver(Conflict):
    """A newer claim has taken the upload."""

    code = "taken-over"


class HolderStuck(Conflict):
    """The old holder is stuck in the disk and cannot be let go of yet."""

    code = "holder-stuck"


# --- we failed --------------------------------------------------------------------------------
class StoreError(UploadError):
    """The medium failed; what was acknowledged is still held."""

    code = "store-failed"


class NoSpace(StoreError):
    """The disk, quota or file size limit is exhausted; the upload goes on when there is room."""

    code = "no-space"
    default_hint = (
        "free space on the server (uploadd gc) and resume: nothing that was acknowledged is lost"
    )


class NotWritable(StoreError):
    """The medium does not take writes: read-only, removed, or not ours."""

    code = "store-not-writable"
    default_hint = (
        "whoever runs the server has to look after its disk; then resume: nothing that was "
        "acknowledged is lost"
    )


class ServerBug(StoreError):
    """An error of ours that nobody foresaw; the log has it under the session's id."""

    code = "internal"


class HookFailed(UploadError):
    """A hook that must be asked first could not be: nothing is done without its answer."""

    code = "hook-failed"
    default_hint = "the same again in a moment; the server's log says what is wrong with the hook"


class Draining(UploadError):
    """The daemon is about to stop or restart; come back."""

    code = "draining"
