"""The Python client: ``async with open_client(url) as client: await client.upload(path)``."""

from uploadd.client.errors import (
    CannotRewind,
    DigestMismatch,
    LocalFileChanged,
    LocalReadError,
    NotAuthorised,
    Rejected,
    ServerUnavailable,
    TakenOver,
    UploadFailed,
    UploadGone,
)
from uploadd.client.session import Client, Stored, open_client
from uploadd.client.uploading import Progress

__all__ = [
    "CannotRewind",
    "Client",
    "DigestMismatch",
    "LocalFileChanged",
    "LocalReadError",
    "NotAuthorised",
    "Progress",
    "Rejected",
    "ServerUnavailable",
    "Stored",
    "TakenOver",
    "UploadFailed",
    "UploadGone",
    "open_client",
]
