"""What the tests of tus-js-client share: which clients there are, and what they say of a file."""

from __future__ import annotations

from typing import Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.peers.conftest import VERSIONS

TUS: Final = "tus-v1"
IETF: Final = ("ietf-draft-03", "ietf-draft-05")
LENGTH: Final = 5_000_000
METADATA: Final = {
    "filename": "słońce na śniegu.txt",
    "filetype": "text/plain",
    "nonlatin": "日本 🌞",
    "number": "100",
    "empty": "",
}

every_client = pytest.mark.parametrize(
    ("version", "protocol"),
    [("4.3.1", TUS), ("4.3.1", IETF[0]), ("5.0.0-pre2", TUS), ("5.0.0-pre2", IETF[1])],
)
every_tus_client = pytest.mark.parametrize("version", VERSIONS)


def status(url: str, method: str = "GET", fields: dict[str, str] | None = None) -> int:
    """With what a request is answered."""
    try:
        with urlopen(Request(url, method=method, headers=fields or {})) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code
