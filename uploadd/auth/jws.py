"""Signatures of JSON Web Tokens, by PyJWT: the keys of a file, each for one algorithm.

What a token says is for ``protocol/tokens.py``; nothing of it counts before its signature does.
PyJWT is imported when there are keys: not everybody has it.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

import msgspec

from uploadd.auth.who import Standing
from uploadd.errors import Unauthorised
from uploadd.protocol.tokens import JoseHeader, read_header

if TYPE_CHECKING:
    from jwt.api_jws import PyJWS

MAX_KEYS: Final = 32
_ALGORITHMS: Final = {
    ("oct", None): "HS256",
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
"""By kind and curve: the one algorithm that a key is for, whatever a token claims."""
_LEAST_SECRET: Final = 32
"""Bytes of a shared secret (RFC 7518 section 3.2)."""
_LEAST_RSA: Final = 2048
"""Bits of an RSA key (RFC 7518 section 3.3)."""


class Jwk:
    """One key of the file."""

    def __init__(self, said: dict[str, Any]) -> None:
        """Raises ValueError, which says nothing of the key itself."""
        self.kid = said.get("kid")
        curve = said.get("crv")
        kind = str(said.get("kty")), curve if isinstance(curve, str) else None
        algorithm = _ALGORITHMS.get(kind)
        if algorithm is None:
            raise ValueError(f"a key of kind {kind[0]} {kind[1] or ''} is not taken here")
        if said.get("alg", algorithm) != algorithm:
            raise ValueError(f"a {kind[0]} key is for {algorithm}, not for {said['alg']}")
        if kind[0] != "oct" and "d" in said:
            raise ValueError("a private key: only the public half belongs here")
        if self.kid is not None and not isinstance(self.kid, str):
            raise ValueError("a kid that is no text")
        self.algorithm = algorithm
        self.said = said
        self.raw = msgspec.json.encode(said, order="sorted")
        self.standing = Standing()
        self._jws, self._key = _load(said, algorithm)

    @property
    def secret(self) -> bool:
        """Whether whoever can read it can sign, too."""
        return self.algorithm == "HS256"

    def fits(self, header: JoseHeader) -> bool:
        """Whether a token with that *header* may be signed by it."""
        return header.alg == self.algorithm and header.kid in (None, self.kid)

    def payload(self, token: str) -> bytes | None:
        """What *token* says if its signature is by this key."""
        from jwt.exceptions import PyJWTError

        try:
            told = self._jws.decode_complete(token, self._key, algorithms=[self.algorithm])
        except PyJWTError:
            return None
        payload: bytes = told["payload"]
        return payload


def _load(said: dict[str, Any], algorithm: str) -> tuple[PyJWS, Any]:
    try:
        from jwt.api_jwk import PyJWK
        from jwt.api_jws import PyJWS
        from jwt.exceptions import PyJWTError
    except ImportError as error:
        raise ValueError("PyJWT is not installed: pip install 'uploadd[jwt]'") from error
    try:
        key = PyJWK(said, algorithm).key
    except (PyJWTError, ValueError, TypeError, KeyError):
        raise ValueError(f"a {said['kty']} key that cannot be read") from None
    if algorithm == "HS256" and len(key) < _LEAST_SECRET:
        raise ValueError(f"a shared secret of {len(key)} bytes: at least {_LEAST_SECRET}")
    if algorithm == "RS256" and key.key_size < _LEAST_RSA:
        raise ValueError(f"an RSA key of {key.key_size} bits: at least {_LEAST_RSA}")
    return PyJWS(algorithms=[algorithm]), key


def read_keys(raw: bytes) -> list[Jwk]:
    """The keys for signatures in a JWK set (RFC 7517), or a single one.  Raises ValueError."""
    try:
        tree = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        raise ValueError("not JSON") from None
    keys = tree.get("keys", [tree]) if isinstance(tree, dict) else None
    if not isinstance(keys, list) or not all(isinstance(one, dict) for one in keys):
        raise ValueError("not a JWK set")
    if not 0 < len(keys) <= MAX_KEYS:
        raise ValueError(f"{len(keys)} keys: 1 to {MAX_KEYS} are taken")
    found = []
    for number, said in enumerate(keys, 1):
        try:
            if _signs(said):
                found.append(Jwk(said))
        except ValueError as error:
            raise ValueError(f"key {number}: {error}") from None
    if not found:
        raise ValueError("no key is for signatures (use, key_ops)")
    return found


def _signs(said: dict[str, Any]) -> bool:
    """Whether the key is for signatures: sets have others, too, that nothing is signed with."""
    operations = said.get("key_ops", ["verify"])
    signs = isinstance(operations, list) and ("verify" in operations or "sign" in operations)
    return signs and said.get("use", "sig") == "sig"


def proven(keys: list[Jwk], token: str) -> tuple[bytes, Standing]:
    """The payload of *token*, and what vouches for it.  Raises Unauthorised."""
    header = read_header(_header_of(token))
    for key in keys:
        if key.fits(header) and (payload := key.payload(token)) is not None:
            return payload, key.standing
    raise Unauthorised("the token is not signed by a key that is known here")


def _header_of(token: str) -> bytes:
    first, dot, _ = token.partition(".")
    try:
        raw = base64.b64decode(first + "=" * (-len(first) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not dot or not raw:
        raise Unauthorised("the token is not one of this server's, and no JSON Web Token")
    return raw
