"""What uploads are called: their ids, and their paths below the root."""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator

from uploadd.auth.who import is_anonymous
from uploadd.protocol import names
from uploadd.protocol.hooks import PLACE
from uploadd.protocol.upload import Upload


def path_of(template: str, upload: Upload) -> str:
    """Where *upload* is to lie below the root, by *template*, a value of ``storage.path``.

    Unless a hook has chosen.
    """
    if (chosen := upload.echo.get(PLACE)) is not None:
        return chosen
    values = {
        "name": names.sanitise(upload.name, upload.id),
        "folder": names.folders(upload.metadata.get(names.RELATIVE_PATH)),
        "id": upload.id,
    }
    if "{date}" in template:
        values["date"] = time.strftime("%Y-%m-%d", time.gmtime(upload.created))
    if "{subject}" in template:
        values["subject"] = _subject(upload)
    return names.expand(template, **values)


def new_ids() -> Iterator[str]:
    """New ids of 144 random bits, drawn many at a time: they are a twentieth of a small upload.

    None begins with a minus, or ``uploadd uploads show ID`` would take it for an option.
    """
    while True:
        drawn = secrets.token_bytes(256 * 18)
        for at in range(0, len(drawn), 18):
            id = urlsafe_b64encode(drawn[at : at + 18]).decode("ascii")
            if not id.startswith("-"):
                yield id


def _subject(upload: Upload) -> str:
    """Who began *upload*, as the name of a folder; anonymous owners are secrets of a kind."""
    return names.sanitise("" if is_anonymous(upload.owner) else upload.owner, "anon")
