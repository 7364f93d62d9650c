"""What proves a token, and what does not: static ones, JSON Web Tokens, tickets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from uploadd.auth import files
from uploadd.auth.files import Unusable
from uploadd.auth.jws import read_keys
from uploadd.auth.keyring import Keyring, Places
from uploadd.errors import Unauthorised
from uploadd.protocol import tokens
from uploadd.protocol.tickets import Ticket
from uploadd.protocol.tokens import Claims, Terms

NOW = 1_800_000_000.0
SECRET = bytes(range(32))
GOOD = {"sub": "ana", "exp": int(NOW + 60), "aud": "uploads"}
RSA = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"HS256": SECRET, "RS256": RSA, "ES256": EC, "EdDSA": ED}


def packed(raw: bytes) -> str:
    """As JOSE writes bytes."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


JWKS: dict[str, dict[str, Any]] = {
    "HS256": {"kty": "oct", "k": packed(SECRET), "kid": "h"},
    "RS256": RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True) | {"kid": "r"},
    "ES256": ECAlgorithm.to_jwk(EC.public_key(), as_dict=True) | {"kid": "e"},
    "EdDSA": OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True) | {"kid": "d"},
}


def ring(folder: Path, *keys: dict[str, Any]) -> Keyring:
    """A keyring over *folder*, with these keys for JSON Web Tokens."""
    if not keys:
        return Keyring(Places(str(folder / "tokens"), str(folder / "keys")))
    path = folder / "jwks.json"
    path.touch(0o600)
    path.write_text(json.dumps({"keys": keys}))
    terms = Terms("uploads")
    return Keyring(Places(str(folder / "tokens"), str(folder / "keys"), str(path), terms))


def made(alg: str, said: dict[str, Any] = GOOD, **header: Any) -> str:
    """A token signed with the key of that algorithm."""
    return jwt.encode(said, PRIVATE[alg], algorithm=alg, headers=header or None)


@pytest.mark.parametrize("alg", list(JWKS))
def test_each_algorithm_is_known_by_its_key(tmp_path: Path, alg: str) -> None:
    """With its name and without; the second time it is remembered."""
    keyring = ring(tmp_path, *JWKS.values())
    for token in (made(alg), made(alg, kid=JWKS[alg]["kid"])):
        assert keyring.prove(token, NOW).claims.subject == "ana"
        assert keyring.prove(token, NOW) is keyring.prove(token, NOW)


def unsigned() -> str:
    return jwt.encode(GOOD, None, algorithm="none")


def by_the_public_key() -> str:
    """HS256, and the secret is what everybody knows of the RSA key (CVE-2022-29217)."""
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = packed(b'{"alg":"HS256"}')
    body = f"{header}.{packed(json.dumps(GOOD).encode())}"
    return f"{body}.{packed(hmac.digest(pem, body.encode(), hashlib.sha256))}"


def other_payload() -> str:
    """The signature of another."""
    first, _, last = made("RS256").split(".")
    return f"{first}.{packed(json.dumps(GOOD | {'sub': 'eve'}).encode())}.{last}"


FORGED = {
    "unsigned": unsigned(),
    "by the public key": by_the_public_key(),
    "of another payload": other_payload(),
    "critical": made("RS256", crit=["x"], x=1),
    "by nobody's key": jwt.encode(GOOD, b"x" * 32, algorithm="HS256"),
    "of another algorithm": jwt.encode(GOOD, RSA, algorithm="RS512"),
    "with a key that is a path": made("RS256", kid="../../dev/null"),
    "with the name of another key": made("RS256", kid="e"),
    "without exp": made("RS256", {"sub": "ana", "aud": "uploads"}),
    "without aud": made("RS256", {"sub": "ana", "exp": int(NOW)}),
    "for somebody else": made("RS256", GOOD | {"aud": "other"}),
    "cut off": made("RS256")[:-4],
    "empty": "",
    "dots": "...",
    "no token": "hello",
    "not ASCII": "é.ü.ß",
}


@pytest.mark.parametrize("which", list(FORGED))
def test_what_was_forged_is_refused_and_not_repeated(tmp_path: Path, which: str) -> None:
    """RFC 8725's list, one after the other, before keys of every kind."""
    keyring = ring(tmp_path, *JWKS.values())
    with pytest.raises(Unauthorised) as caught:
        keyring.prove(FORGED[which], NOW)
    said = f"{caught.value} {caught.value.hint}"
    assert len(FORGED[which]) < 8 or FORGED[which] not in said


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ({"kty": "oct", "k": packed(b"short")}, "at least 32"),
        ({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}, "P-521"),
        ({"kty": "RSA", "n": "AA"}, "cannot be read"),
        (JWKS["RS256"] | {"alg": "HS256"}, "RSA key is for RS256"),
        (JWKS["HS256"] | {"alg": "none"}, "oct key is for HS256"),
        (JWKS["HS256"] | {"kid": 7}, "kid"),
        (RSAAlgorithm.to_jwk(RSA, as_dict=True), "private"),
        (RSAAlgorithm.to_jwk(WEAK.public_key(), as_dict=True), "1024 bits"),
        ({}, "kind"),
    ],
)
def test_a_key_that_cannot_be_meant_keeps_us_from_starting(
    tmp_path: Path, key: dict[str, Any], why: str
) -> None:
    """It is named by its place, never by what is in it."""
    with pytest.raises(Unusable, match=why) as caught:
        ring(tmp_path, JWKS["ES256"], key)
    assert "key 2" in str(caught.value)
    assert packed(SECRET) not in str(caught.value)


@pytest.mark.parametrize("mark", [{"use": "enc", "alg": "RSA-OAEP"}, {"key_ops": ["encrypt"]}])
def test_keys_that_are_not_for_signatures_are_left_out(
    tmp_path: Path, mark: dict[str, Any]
) -> None:
    """Sets of identity providers have some; what is signed with one is not believed."""
    other = JWKS["RS256"] | mark
    keyring = ring(tmp_path, other, JWKS["ES256"])
    assert keyring.prove(made("ES256"), NOW).claims.subject == "ana"
    with pytest.raises(Unauthorised):
        keyring.prove(made("RS256"), NOW)
    with pytest.raises(Unusable, match="no key is for signatures"):
        ring(tmp_path, other)


def test_a_shared_secret_that_everybody_can_read_is_none(tmp_path: Path) -> None:
    """Public keys may be read by whoever wants."""
    ring(tmp_path, JWKS["ES256"], JWKS["HS256"])
    (tmp_path / "jwks.json").chmod(0o644)
    with pytest.raises(Unusable, match="chmod o="):
        ring(tmp_path, JWKS["ES256"], JWKS["HS256"])
    ring(tmp_path, JWKS["ES256"])


@pytest.mark.parametrize("text", ["", "[]", '{"keys": []}', '{"keys": 7}', "[" * 5000])
def test_a_file_without_keys_is_named(tmp_path: Path, text: str) -> None:
    """So that nobody thinks that there were any."""
    (tmp_path / "jwks.json").write_text(text)
    with pytest.raises(Unusable, match=r"jwks\.json"):
        Keyring(Places("/none", "/none", str(tmp_path / "jwks.json"), Terms("uploads")))


def test_a_static_token_is_proven_until_its_file_goes(tmp_path: Path) -> None:
    """Who has it in hand hears of that; the other tokens do not."""
    folder = str(tmp_path / "tokens")
    ana, ben = (files.new_token(folder, Claims(name)) for name in ("ana", "ben"))
    keyring = ring(tmp_path)
    proofs = {text: keyring.prove(text, NOW) for text in (ana, ben)}
    assert proofs[ana].claims == Claims("ana")
    files.revoke(folder, tokens.id_of(ana) or "")
    assert keyring.changed()
    keyring.load()()
    assert not keyring.changed()
    assert (proofs[ana].standing.good, proofs[ben].standing.good) == (False, True)
    with pytest.raises(Unauthorised):
        keyring.prove(ana, NOW)
    assert keyring.prove(ben, NOW).standing is proofs[ben].standing


def test_one_letter_of_a_static_token_makes_another(tmp_path: Path) -> None:
    """The id alone is nothing."""
    text = files.new_token(str(tmp_path / "tokens"), Claims("ana"))
    keyring = ring(tmp_path)
    other = text[:-1] + ("A" if text[-1] != "A" else "B")
    for wrong in (other, text[:-1], text + "A", "uploadd_abcd1234_" + "A" * 43):
        with pytest.raises(Unauthorised):
            keyring.prove(wrong, NOW)


def test_a_key_that_is_taken_away_takes_its_tokens_along(tmp_path: Path) -> None:
    """Those of the key that stays stay good, and are not verified from memory alone."""
    keyring = ring(tmp_path, JWKS["RS256"], JWKS["ES256"])
    old, kept = keyring.prove(made("RS256"), NOW), keyring.prove(made("ES256"), NOW)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [JWKS["ES256"]]}))
    keyring.load()()
    assert (old.standing.good, kept.standing.good) == (False, True)
    with pytest.raises(Unauthorised):
        keyring.prove(made("RS256"), NOW)
    assert keyring.prove(made("ES256"), NOW).standing is kept.standing


def test_what_is_wrong_with_a_file_is_told_once_and_permits_nothing(tmp_path: Path) -> None:
    """Nobody starts, or reloads, with it; but beside it tokens come and go as ever."""
    folder = str(tmp_path / "tokens")
    ana, ben = (files.new_token(folder, Claims(name)) for name in ("ana", "ben"))
    keyring = ring(tmp_path)
    files.revoke(folder, tokens.id_of(ben) or "")
    (tmp_path / "tokens" / "abcd.json").write_text("{")
    with pytest.raises(Unusable):
        keyring.load()
    unusable: list[Unusable] = []
    keyring.refresh(unusable.append)()
    assert [error.path for error in unusable] == [f"{folder}/abcd.json"]
    assert not keyring.changed()
    assert keyring.prove(ana, NOW).standing.good
    with pytest.raises(Unauthorised):
        keyring.prove(ben, NOW)
    (tmp_path / "tokens" / f"{tokens.id_of(ana)}.json").write_text("{")
    assert keyring.changed()
    keyring.refresh(unusable.append)()
    with pytest.raises(Unauthorised):
        keyring.prove(ana, NOW)


@pytest.mark.parametrize("beside", ["link", "pipe"])
def test_what_lies_beside_a_token_keeps_it_from_nothing(tmp_path: Path, beside: str) -> None:
    """An editor's lock, which leads nowhere; a pipe, for which nobody waits: it is revoked."""
    ana = files.new_token(str(tmp_path / "tokens"), Claims("ana"))
    keyring = ring(tmp_path)
    if beside == "link":
        (tmp_path / "tokens" / ".#abcd.json").symlink_to("me@host.1:2")
    else:
        os.mkfifo(tmp_path / "tokens" / "abcd.json")
    unusable: list[Unusable] = []
    keyring.refresh(unusable.append)()
    assert len(unusable) == (beside == "pipe")
    files.revoke(str(tmp_path / "tokens"), str(tokens.id_of(ana)))
    assert keyring.changed()
    keyring.refresh(unusable.append)()
    with pytest.raises(Unauthorised):
        keyring.prove(ana, NOW)


def test_keys_of_others_that_cannot_be_read_are_those_of_before(tmp_path: Path) -> None:
    """Whoever writes them again does not cut off everybody meanwhile; what is mended then counts,
    also when that was while it was read.
    """
    keyring = ring(tmp_path, JWKS["RS256"])
    proof = keyring.prove(made("RS256"), NOW)
    (tmp_path / "jwks.json").write_text("{")
    unusable: list[Unusable] = []
    stay = keyring.refresh(unusable.append)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [JWKS["ES256"]]}))
    stay()
    assert "of before" in str(unusable[0])
    assert proof.standing.good
    assert keyring.changed()
    keyring.refresh(unusable.append)()
    assert not proof.standing.good
    assert keyring.prove(made("ES256"), NOW).standing.good


def test_links_are_signed_with_a_key_that_is_made_for_them(tmp_path: Path) -> None:
    """A newer one signs; what the older has signed is good as long as it is there."""
    keyring = ring(tmp_path)
    ticket = Ticket("read", "u1", int(NOW) + 60)
    assert keyring.sign(ticket) is None
    keyring.with_key()()
    first = keyring.sign(ticket)
    assert first is not None
    [old] = (tmp_path / "keys").iterdir()
    os.utime(old, ns=(1, 1))
    keyring.with_key()()
    second = keyring.sign(ticket)
    assert second not in (first, None)
    proof = keyring.prove(first, NOW)
    assert proof.claims == ticket.claims()
    old.unlink()
    keyring.load()()
    assert not proof.standing.good
    with pytest.raises(Unauthorised):
        keyring.prove(first, NOW)


@pytest.mark.parametrize("key", [{"kty": ["RSA"]}, {"kty": {}}, {"kty": "EC", "crv": ["P-256"]}])
def test_a_kind_that_is_no_text_is_no_kind(key: dict[str, Any]) -> None:
    """It is refused as any other mistake in the file."""
    with pytest.raises(ValueError, match="key 1: a key of kind"):
        read_keys(json.dumps({"keys": [key]}).encode())


def test_a_link_is_good_as_long_as_the_key_of_the_token_that_made_it(tmp_path: Path) -> None:
    """However the issuer orders what the key says; the link does not tell what the key is."""
    keyring = ring(tmp_path, JWKS["HS256"], JWKS["ES256"])
    keyring.with_key()()
    by = {alg: keyring.prove(made(alg), NOW).standing for alg in ("HS256", "ES256")}
    ticket = Ticket("read", "u1", int(NOW) + 60)
    texts = {alg: keyring.sign(ticket, maker) or "" for alg, maker in by.items()}
    proofs = {alg: keyring.prove(text, NOW) for alg, text in texts.items()}
    turned = dict(reversed(JWKS["ES256"].items()))
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [turned]}))
    keyring.load()()
    assert (proofs["HS256"].standing.good, proofs["ES256"].standing.good) == (False, True)
    with pytest.raises(Unauthorised, match="revoked"):
        keyring.prove(texts["HS256"], NOW)
    assert keyring.prove(texts["ES256"], NOW).standing.good
    with pytest.raises(Unauthorised, match="revoked"):
        keyring.sign(ticket, by["HS256"])
