"""The Python client: ``async with open_client(url) as client: await client.upload(path)``.

Without trio: ``with connect(url) as client: client.upload(path)``, or ``upload(path, url)``.
"""

from uploadd.client.blocking import BlockingClient, ClientClosed, connect, upload
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
    "BlockingClient",
    "CannotRewind",
    "Client",
    "ClientClosed",
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
    "connect",
    "open_client",
    "upload",
]
