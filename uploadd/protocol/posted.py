"""What comes beside a form that is posted to ``/api/upload``: names, and sizes for the bar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from uploadd.errors import BadRequest
from uploadd.protocol.heads import Head
from uploadd.protocol.wsbegin import MIN_ANONYMOUS_KEY

SIZES: Final[Mapping[str, bytes]] = {
    "msa_imgs": b"x-image-filesize",
    "docs_field": b"x-docs-filesize",
}
"""By field of the form: the header field that tells the bytes of the file in it."""

_UPLOAD_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_SIZE: Final = re.compile(rb"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Posted:
    """What a client says of the form that it posts."""

    upload_id: str | None = None
    """How it calls the upload."""
    socket_id: str | None = None
    """The session that is to be told of it."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of the file in a field, as announced."""

    def is_key(self, *, owned: bool) -> bool:
        """Whether nobody else calls an upload so; *owned*: the client has a name of its own."""
        return self.upload_id is not None and (owned or len(self.upload_id) >= MIN_ANONYMOUS_KEY)


def posted(head: Head) -> Posted:
    """What *head* says.  Raises BadRequest."""
    name, socket = head.get(b"x-upload-id"), head.get(b"x-socket-id")
    upload_id = None if name is None else name.decode("ascii")
    if upload_id is not None and not _UPLOAD_ID.fullmatch(upload_id):
        raise BadRequest("X-Upload-Id has 1 to 128 letters, digits, and . _ ~ -")
    if socket is not None and not 0 < len(socket) <= 255:
        raise BadRequest("X-Socket-Id has 1 to 255 characters")
    sizes = {}
    for part, header in SIZES.items():
        if (said := head.get(header)) is not None:
            if not _SIZE.fullmatch(said):
                raise BadRequest(f"{header.decode('ascii')} is a number of bytes")
            sizes[part] = int(said)
    return Posted(upload_id, None if socket is None else socket.decode("ascii"), sizes)
