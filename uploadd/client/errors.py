"""Why a file was not stored.  The message says what happened and why, the hint what to do."""

from __future__ import annotations

from typing import ClassVar, Final


class UploadFailed(Exception):
    """``code`` is stable, ``retryable``: the same call again may succeed, and resumes."""

    code: str = "failed"
    retryable: bool = False
    default_hint: ClassVar[str] = "run the same command again"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint


class ServerUnavailable(UploadFailed):
    """No server there, none that answers, or one that went away and did not come back in time."""

    code = "unreachable"
    retryable = True
    default_hint = "check the URL, and that uploadd runs there; the same command again resumes"


class WrongAddress(ServerUnavailable):
    """No such host, or TLS where there is none: a mistake of typing, unless it was well before.

    So it is tried again only when the server has been met.
    """

    code = "wrong-address"
    default_hint = "check the URL"


_FIELD: Final = "Authorization: Bearer <token>"


class NotAuthorised(UploadFailed):
    """The server wants a token, or another one."""

    code = "token"
    default_hint = "set UPLOADD_TOKEN, or name a file with --token-file"

    def __init__(self, message: str, hint: str | None = None) -> None:
        """A *hint* of the server's names the field of HTTP: said is what is typed for it."""
        typed = None if hint is None else hint.replace(_FIELD, "--token-file FILE or UPLOADD_TOKEN")
        super().__init__(message, typed)


_LATER = "run the same command again later, it goes on where this one ended"
_NEVER = "the same again would be refused again; the server's log says more"


class Rejected(UploadFailed):
    """The server refused; *code* is the server's (``uploadd/errors/`` has them all)."""

    def __init__(
        self, code: str, message: str, hint: str | None = None, *, retryable: bool = False
    ) -> None:
        super().__init__(message, hint or (_LATER if retryable else _NEVER))
        self.code = code
        self.retryable = retryable


class DigestMismatch(Rejected):
    """What arrived is not what was announced."""

    default_hint = "run the same command again; if that says the same, check the disk and memory"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__("digest-mismatch", message, hint or self.default_hint)


class TakenOver(UploadFailed):
    """Somebody else goes on with this upload: it is not ours any more, and not lost."""

    code = "taken-over"
    default_hint = "another uploadd put runs for the same file: let it"


class UploadGone(UploadFailed):
    """The upload is not there any more; *reason* as in ``gone``, or not-found."""

    code = "gone"
    default_hint = "run the same command again: it starts anew"

    def __init__(self, message: str, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.reason = reason


class LocalReadError(UploadFailed):
    """The file cannot be read here."""

    code = "local-read"
    default_hint = "check the path, and that you may read it: ls -l"


class LocalWriteError(UploadFailed):
    """The file cannot be written here."""

    code = "local-write"
    default_hint = "name another place with -o"


class LocalFileChanged(UploadFailed):
    """Size or time of the file changed while it was read: no one state of it was sent."""

    code = "local-changed"
    default_hint = "wait until nothing writes to the file, then run it again"


class CannotRewind(UploadFailed):
    """The server needs bytes again which a pipe or an iterator does not give twice."""

    code = "cannot-rewind"
    default_hint = "write it to a file first, then upload the file"
