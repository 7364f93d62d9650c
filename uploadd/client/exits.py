"""Exit codes of ``uploadd put`` and ``uploadd get``."""

from __future__ import annotations

from typing import Final

from uploadd.client.errors import (
    DigestMismatch,
    LocalFileChanged,
    LocalReadError,
    LocalWriteError,
    NotAuthorised,
    Rejected,
    ServerUnavailable,
    UploadFailed,
    UploadGone,
)

OK: Final = 0  # everything is stored
FAILED: Final = 1  # some files failed, or one for a reason that has no code of its own
USAGE: Final = 2
UNREACHABLE: Final = 3  # the same command again goes on where this one ended
NOT_AUTHORISED: Final = 4
REJECTED: Final = 5  # size, room, type, name
LOCAL: Final = 6  # the file here cannot be read, or written
MISMATCH: Final = 7  # the bytes that arrived are not the bytes that were sent
SIGNALLED: Final = 128  # and the number of the signal, as shells have it: 130 for Ctrl-C
INTERRUPTED: Final = 130

# The first class that fits: a DigestMismatch is a Rejected too.
_CODES: Final[tuple[tuple[type[UploadFailed], int], ...]] = (
    (DigestMismatch, MISMATCH),
    (ServerUnavailable, UNREACHABLE),
    (NotAuthorised, NOT_AUTHORISED),
    (Rejected, REJECTED),
    (UploadGone, REJECTED),
    (LocalReadError, LOCAL),
    (LocalWriteError, LOCAL),
    (LocalFileChanged, LOCAL),
)


def of(error: UploadFailed) -> int:
    """The exit code that stands for *error*."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def of_all(codes: set[int], *, some: bool) -> int:
    """The exit code of a command from those of the files that failed; *some* did not."""
    if not codes:
        return OK
    return FAILED if some or len(codes) > 1 else next(iter(codes))


HELP: Final = """\
exit codes:
  0    everything is stored
  1    some files failed, the others are stored; or a failure without a code of its own
  2    the command line is wrong
  3    the server cannot be reached; the same command again goes on
  4    not authorised: no token, or a wrong one
  5    the server refused: size, room, type, name, or the upload is gone
  6    a file here cannot be read, or changed while it was read (get: cannot be written)
  7    the checksum of what arrived is another one
  130  interrupted (Ctrl-C; 143 for SIGTERM); what was sent is kept, the same command goes on
"""
