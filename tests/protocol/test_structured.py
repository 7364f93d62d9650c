"""Structured fields, against a slow model that follows RFC 9651 section 4.2 letter by letter."""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Callable
from decimal import Decimal
from string import ascii_letters, ascii_lowercase, digits

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from uploadd.protocol import structured as sf
from uploadd.protocol.structured import Bare, Date, Display, Member, Token

# --- the model: one function per algorithm of the RFC, on a list of characters ------------------

Left = list[str]
KEY = set(ascii_lowercase + digits + "_-.*")
TOKEN = set(ascii_letters + digits + "!#$%&'*+-.^_`|~:/")


class Fails(Exception):
    """The algorithm says: fail parsing."""


def head(left: Left) -> str:
    return left[0] if left else ""


def number(left: Left) -> int | Decimal:
    sign, text, decimal = 1, "", False
    if head(left) == "-":
        left.pop(0)
        sign = -1
    if head(left) not in set(digits):
        raise Fails
    while left:
        char = left.pop(0)
        if char in digits:
            text += char
        elif char == "." and not decimal:
            if len(text) > 12:
                raise Fails
            text, decimal = text + ".", True
        else:
            left.insert(0, char)
            break
        if len(text) > (16 if decimal else 15):
            raise Fails
    if not decimal:
        return sign * int(text)
    if text.endswith(".") or len(text.partition(".")[2]) > 3:
        raise Fails
    return sign * Decimal(text)


def string(left: Left) -> str:
    left.pop(0)
    text = ""
    while left:
        char = left.pop(0)
        if char == "\\":
            if head(left) not in ("\\", '"'):
                raise Fails
            text += left.pop(0)
        elif char == '"':
            return text
        elif not " " <= char <= "~":
            raise Fails
        else:
            text += char
    raise Fails


def binary(left: Left) -> bytes:
    left.pop(0)
    if ":" not in left:
        raise Fails
    text = "".join(left[: left.index(":")])
    del left[: left.index(":") + 1]
    bare = text.rstrip("=")
    if not set(bare) <= set(ascii_letters + digits + "+/") or len(bare) % 4 == 1:
        raise Fails
    if text != bare and len(text) % 4:
        raise Fails
    if len(text) - len(bare) > 2:
        raise Fails
    return b64decode(bare + "=" * (-len(bare) % 4))


def display(left: Left) -> Display:
    left.pop(0)
    if head(left) != '"':
        raise Fails
    left.pop(0)
    raw = b""
    while left:
        char = left.pop(0)
        if not " " <= char <= "~":
            raise Fails
        if char == "%":
            pair = "".join(left[:2])
            if len(pair) < 2 or not set(pair) <= set("0123456789abcdef"):
                raise Fails
            del left[:2]
            raw += bytes([int(pair, 16)])
        elif char == '"':
            try:
                return Display(raw.decode("utf-8"))
            except UnicodeDecodeError:
                raise Fails from None
        else:
            raw += char.encode()
    raise Fails


def bare(left: Left) -> Bare:
    first = head(left)
    if first == "-" or first in set(digits):
        return number(left)
    if first == '"':
        return string(left)
    if first == "*" or first in set(ascii_letters):
        text = ""
        while head(left) in TOKEN:
            text += left.pop(0)
        return Token(text)
    if first == ":":
        return binary(left)
    if first == "?":
        left.pop(0)
        if head(left) not in ("0", "1"):
            raise Fails
        return left.pop(0) == "1"
    if first == "@":
        left.pop(0)
        seconds = number(left)
        if isinstance(seconds, Decimal):
            raise Fails
        return Date(seconds)
    if first == "%":
        return display(left)
    raise Fails


def spaces(left: Left, which: str = " ") -> None:
    while left and left[0] in which:
        left.pop(0)


def key(left: Left) -> str:
    if head(left) != "*" and head(left) not in set(ascii_lowercase):
        raise Fails
    text = ""
    while head(left) in KEY:
        text += left.pop(0)
    return text


def parameters(left: Left) -> None:
    while head(left) == ";":
        left.pop(0)
        spaces(left)
        key(left)
        if head(left) == "=":
            left.pop(0)
            bare(left)


def item(left: Left) -> Bare:
    value = bare(left)
    parameters(left)
    return value


def inner_list(left: Left) -> tuple[Bare, ...]:
    left.pop(0)
    values: list[Bare] = []
    while left:
        spaces(left)
        if head(left) == ")":
            left.pop(0)
            parameters(left)
            return tuple(values)
        values.append(item(left))
        if head(left) not in (" ", ")"):
            raise Fails
    raise Fails


def dictionary(left: Left) -> dict[str, Member]:
    members: dict[str, Member] = {}
    while left:
        name = key(left)
        if head(left) == "=":
            left.pop(0)
            members[name] = inner_list(left) if head(left) == "(" else item(left)
        else:
            members[name] = True
            parameters(left)
        spaces(left, " \t")
        if not left:
            return members
        if left.pop(0) != ",":
            raise Fails
        spaces(left, " \t")
        if not left:
            raise Fails
    return members


def model(read: Callable[[Left], object], text: str) -> object:
    """What *read* makes of the whole of *text*; None when it fails."""
    left = list(text)
    try:
        spaces(left)
        value = read(left)
        spaces(left)
    except Fails:
        return None
    return None if left else value


# --- and the reader beside it -------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *[
            "a",
            "max-size",
            "*",
            "sha-256",
            "A",
            "a=",
            "=",
            ";",
            "; ",
            ",",
            ", ",
            "\t,\t",
            " ",
            "\t",
        ],
        *["(", ")", "1", "-1", "0", "-", "1.5", ".", "12345678901234567", "123456789012.123"],
        *[
            "999999999999999",
            '"',
            '"a b"',
            '"\\"',
            "\\",
            ":",
            ":aGk=:",
            ":aGk:",
            ":aG:",
            ":a:",
            "==",
        ],
        *["?1", "?0", "?", "?2", "@1", "@", "@1.5", '%"', '%"%c3%a9"', '%"%ff"', "%", "tok/en:x"],
        *["é", "\x00", "\n", "٣"],
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=30)


@settings(max_examples=500)
@given(TEXTS)
@example(":aGk==:")
@example(":a:")
@example("a=:aGkxa:")
@example('a=("x""y")')
@example("a=(1?1)")
@example("a=(1 2);x, b")
@example("a=(1  )")
@example("a=(1)2")
@example("-0")
def test_every_text_is_read_as_the_standard_reads_it(text: str) -> None:
    """The same value, of the same type, or None by both; never an exception."""
    for found, expected in (
        (sf.item(text), model(item, text)),
        (sf.dictionary(text), model(dictionary, text)),
    ):
        assert found == expected
        assert type(found) is type(expected)
        assert repr(found) == repr(expected)  # True is not 1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("0", 0), ("5", 5), ("05", 5), ("-0", 0), ("-7", -7), (" 5 ", 5), ("5;a=1;b", 5)],
        ("999999999999999", 999_999_999_999_999),
        *[(bad, None) for bad in ("", "+5", "5.0", "1e3", "0x10", "٣", "5,5", "5, 5", "1 2")],
        *[(bad, None) for bad in ("1000000000000000", "9" * 5000, "?1", "@5", '"5"', "5;", "5\t")],
    ],
)
def test_an_integer_has_at_most_fifteen_digits_and_nothing_beside(
    text: str, number: int | None
) -> None:
    """T10, as structured fields have it: what is malformed is as good as absent."""
    assert sf.integer(text) == number


@pytest.mark.parametrize(
    ("text", "value"),
    [("?1", True), ("?0", False), ("?1;a", True), (" ?0", False)]
    + [(bad, None) for bad in ("1", "0", "true", "?", "?2", "?1,?1", "?1 ?1", '"?1"', "?01")],
)
def test_a_boolean_is_a_question_mark_and_a_digit(text: str, value: bool | None) -> None:
    """Nothing else says whether an upload is complete."""
    assert sf.boolean(text) is value


def test_the_last_of_two_values_of_a_key_counts() -> None:
    """Section 4.2.2."""
    assert sf.dictionary("a=1, b, a=:aGk=:;x=y") == {"a": b"hi", "b": True}
    assert sf.dictionary("") == {}


SAYABLE = (
    st.booleans()
    | st.integers(-sf.MAX_INTEGER, sf.MAX_INTEGER)
    | st.binary(max_size=70)
    | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
    | st.from_regex(r"[A-Za-z*][A-Za-z0-9:/!#.-]{0,20}", fullmatch=True).map(Token)
)


@given(st.dictionaries(st.from_regex(r"[a-z*][a-z0-9_.*-]{0,12}", fullmatch=True), SAYABLE))
def test_what_is_written_is_read_again(
    members: dict[str, bool | int | str | bytes | Token],
) -> None:
    """By us, and by the model."""
    text = sf.write_dictionary(members)
    assert sf.dictionary(text) == model(dictionary, text) == members
    for value in members.values():
        assert sf.item(sf.write(value)) == value


@pytest.mark.parametrize(
    "value", [sf.MAX_INTEGER + 1, -sf.MAX_INTEGER - 1, "é", "a\nb", "\x7f", Token(""), Token("1")]
)
def test_what_cannot_be_said_is_not_said_wrongly(value: int | str | Token) -> None:
    """A field that nobody can read would be ignored as a whole."""
    with pytest.raises(ValueError, match="structured field"):
        sf.write(value)
    with pytest.raises(ValueError, match="key"):
        sf.write_dictionary({"Max-Size": 1})


@pytest.mark.parametrize(
    "text",
    [
        *['"' + "\\" * 2**16, '"' + "a" * 2**16, '%"' + "%c3" * 2**15, ":" + "a" * 2**16],
        *[":" + "=" * 2**16, "a" * 2**16 + "\x00", " " * 2**16 + "x ", "1" * 2**16],
        *["a;" * 2**15, "a=(" + "1 " * 2**14, "a=(" + " " * 2**16, "a," * 2**14, "a \t" * 2**14],
        "a" + " " * 2**16 + "b",
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """Four times what a head can hold; in quadratic time each would take a quarter of a minute."""
    start = time.process_time()
    sf.item(text)
    sf.dictionary(text)
    assert time.process_time() - start < 3
