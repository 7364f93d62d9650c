"""Heads: one head, exactly; whatever two readers could read in two ways is refused."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.strategies import chunked
from uploadd.errors import BadRequest, HeadTooLarge, NotImplementedHere, UploadError
from uploadd.protocol.heads import MAX_FIELDS, MAX_HEAD, METHODS, Head, HeadGate

Outcome = tuple[list[Head], type[UploadError] | None, str, int]


def outcome(*pieces: bytes) -> Outcome:
    """The heads in *pieces*, what was refused, and how many bytes are left unread."""
    gate = HeadGate()
    heads: list[Head] = []
    for piece in pieces:
        gate.feed(piece)
        try:
            while (head := gate.next()) is not None:
                heads.append(head)
        except UploadError as error:
            return heads, type(error), error.message, 0
    return heads, None, "", gate.unread


def the_head(raw: bytes) -> Head:
    """The only head in *raw*."""
    heads, refused, message, unread = outcome(raw)
    assert (refused, message, unread) == (None, "", 0)
    [head] = heads
    return head


def refused(raw: bytes) -> type[UploadError] | None:
    """What the gate refuses *raw* with; the same in one segment and byte by byte."""
    whole = outcome(raw)
    assert outcome(*(raw[at : at + 1] for at in range(len(raw)))) == whole
    assert not whole[0]
    return whole[1]


def request(*fields: bytes, line: bytes = b"PUT /a HTTP/1.1", host: bytes = b"Host: x") -> bytes:
    """A head of *line*, *host* if any, and *fields*."""
    return b"\r\n".join([line, *([host] if host else []), *fields, b"", b""])


# --- what is taken --------------------------------------------------------------------------


def test_a_head_is_its_bytes_and_what_they_say() -> None:
    """Names in lower case, values without the white space around them, in order."""
    raw = request(b"X-A:\t b \tc ", b"x-a:", b"Content-Length: 012", b'ETag:W/"x"')
    head = the_head(raw)
    assert head.raw == raw
    assert (head.method, head.target, head.version, head.authority) == ("PUT", "/a", "1.1", "x")
    assert head.fields[1:] == (
        *((b"x-a", b"b \tc"), (b"x-a", b"")),
        *((b"content-length", b"012"), (b"etag", b'W/"x"')),
    )
    assert (head.length, head.chunked) == (12, False)


def test_fields_are_found_by_name() -> None:
    """One value, all values, or the members of a list that several fields make up."""
    head = the_head(request(b"A: 1", b"L: x, y ,,", b"l:\tz"))
    assert (head.get(b"a"), head.get(b"b")) == (b"1", None)
    assert head.values(b"l") == [b"x, y ,,", b"z"]
    assert head.items(b"l") == [b"x", b"y", b"z"]
    assert head.items(b"none") == []
    with pytest.raises(BadRequest, match="more than one l field"):
        head.get(b"l")


def test_a_head_does_not_show_its_secrets() -> None:
    """Tokens and cookies stay out of every log that shows a head."""
    assert "hunter2" not in repr(the_head(request(b"Authorization: Bearer hunter2")))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_seven_methods_in_both_versions(method: str, version: str) -> None:
    """Nothing else is needed by any protocol that we speak."""
    head = the_head(request(line=f"{method} / HTTP/{version}".encode()))
    assert (head.method, head.version) == (method, version)


def test_the_bytes_behind_a_head_stay() -> None:
    """For the body, or for the next request, in order."""
    gate = HeadGate()
    gate.feed(request(b"Content-Length: 5") + b"hello" + request(line=b"GET /b HTTP/1.1") + b"!")
    first = gate.next()
    assert first is not None
    assert gate.take(first.length) == b"hello"
    second = gate.next()
    assert second is not None
    assert second.target == "/b"
    assert gate.unread == 1
    assert gate.take() == b"!"
    assert gate.unread == 0
    assert gate.next() is None


def test_what_a_body_left_over_can_be_given_back() -> None:
    """A parser that read too far feeds the rest, and the scan begins anew."""
    gate = HeadGate()
    gate.feed(b"5\r\nhello\r\n0\r\n\r\nGET / HT")
    left = gate.take().partition(b"\r\n\r\n")[2]
    gate.feed(left)
    assert gate.next() is None
    gate.feed(b"TP/1.1\r\nHost: x\r\n\r\n")
    assert gate.next() is not None


@pytest.mark.parametrize(
    ("target", "path", "authority"),
    [
        ("/", "/", "x"),
        ("/%00?a=b&c", "/%00?a=b&c", "x"),
        ("//evil/..", "//evil/..", "x"),
        ("http://h", "/", "h"),
        ("HTTPS://H:80?q", "/?q", "H:80"),
        ("http://[::1]:8000/a/b", "/a/b", "[::1]:8000"),
    ],
)
def test_an_absolute_target_is_its_path_and_its_authority(
    target: str, path: str, authority: str
) -> None:
    """The authority takes the place of Host (RFC 9112, 3.2.2), so that it is the one checked."""
    head = the_head(request(line=f"GET {target} HTTP/1.1".encode()))
    assert (head.target, head.authority) == (path, authority)


@pytest.mark.parametrize("host", ["", "a", "A.b-c_d:0", "127.0.0.1:65535", "[2001:db8::1]", "h:"])
def test_hosts(host: str) -> None:
    """A name or an address, with a port or without; whether it is ours is not asked here."""
    assert the_head(request(host=b"Host:" + host.encode())).authority == host


def test_http_1_0_needs_no_host() -> None:
    """It had none to send."""
    assert the_head(request(line=b"GET / HTTP/1.0", host=b"")).authority == ""


def test_two_empty_lines_before_a_request_are_forgiven_and_a_third_is_not() -> None:
    """They count for nothing, and begin anew behind each request."""
    raw = b"\r\n\r\n" + request()
    heads, error, _, unread = outcome(raw + raw)
    assert ([head.raw for head in heads], error, unread) == ([request()] * 2, None, 0)
    assert refused(b"\r\n" + raw) is BadRequest


# --- what is not ----------------------------------------------------------------------------

SMUGGLING = {
    "CL and TE": request(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "TE and CL": request(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "CL twice, equal": request(b"Content-Length: 5", b"Content-Length: 5"),
    "CL twice, different": request(b"Content-Length: 5", b"content-length: 6"),
    "CL as a list": request(b"Content-Length: 5, 5"),
    "CL empty": request(b"Content-Length:"),
    "CL with 19 digits": request(b"Content-Length: " + b"9" * 19),
    **{
        f"CL {value!r}": request(b"Content-Length: " + value)
        for value in (b"+3", b"-1", b"0x3", b"1_0", b"1e3", b"3 ;", b"3 3", b"5,")
    },
    "TE twice": request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "TE in 1.0": request(b"Transfer-Encoding: chunked", line=b"PUT / HTTP/1.0"),
    "bare LF everywhere": b"PUT / HTTP/1.1\nHost: x\n\n",
    "bare LF at one line": b"PUT / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
    "bare LF at the end": b"PUT / HTTP/1.1\r\nHost: x\r\n\n",
    "bare LF before anything": b"\nPUT / HTTP/1.1\r\nHost: x\r\n\r\n",
    "LF CR": b"PUT / HTTP/1.1\n\rHost: x\r\n\r\n",
    "CR CR LF": b"PUT / HTTP/1.1\r\r\nHost: x\r\n\r\n",
    "bare CR in a value": request(b"A: b\rC: d"),
    "bare CR in a name": request(b"A\r: b"),
    "bare CR in the request line": request(line=b"PUT /\rx HTTP/1.1"),
    "NUL in a value": request(b"A: b\0"),
    "NUL in the target": request(line=b"PUT /\0 HTTP/1.1"),
    "obs-fold": request(b"A: b\r\n c"),
    "obs-fold with a tab": request(b"A: b\r\n\tc"),
    "fold before any field": request(b"A: b", host=b" Host: x"),
    "space before the colon": request(b"Content-Length : 5"),
    "tab before the colon": request(b"Content-Length\t: 5"),
    "no colon": request(b"A"),
    "no name": request(b": b"),
    "a name that is not a token": request(b"A(b): c"),
    "a name that is not ASCII": request(b"\xc3\xa9: c"),
    "a value that is not ASCII": request(b"A: \xc3\xa9"),
    "DEL in a value": request(b"A: \x7f"),
    "ESC in a value": request(b"A: \x1b[2J"),
    "no Host": request(host=b""),
    "two Hosts": request(b"Host: x"),
    "Host of raw bytes": request(host=b"Host: \xff\xfe"),
    "Host as a list": request(host=b"Host: a, b"),
    "Host with user": request(host=b"Host: a@b"),
    "Host with path": request(host=b"Host: a/b"),
    "Host with a long port": request(host=b"Host: a:123456"),
    "two spaces": request(line=b"PUT  / HTTP/1.1"),
    "a space at the end": request(line=b"PUT / HTTP/1.1 "),
    "a tab": request(line=b"PUT\t/ HTTP/1.1"),
    "no version": request(line=b"PUT /"),
    "a long version": request(line=b"PUT / HTTP/1.10"),
    "a lower-case version": request(line=b"PUT / http/1.1"),
    "a target that is not ASCII": request(line=b"PUT /\xe9 HTTP/1.1"),
    "a target of raw bytes": request(line=b"PUT /\xff\xfe HTTP/1.1"),
    "a relative target": request(line=b"PUT a HTTP/1.1"),
    "a relative target of OPTIONS": request(line=b"OPTIONS a HTTP/1.1"),
    "a fragment": request(line=b"PUT /a#b HTTP/1.1"),
    "* without OPTIONS": request(line=b"GET * HTTP/1.1"),
    "another scheme": request(line=b"GET ftp://x/ HTTP/1.1"),
    "no authority": request(line=b"GET http:///a HTTP/1.1"),
    "user in the authority": request(line=b"GET http://a@b/ HTTP/1.1"),
    "backslash in the authority": request(line=b"GET http://a\\b/ HTTP/1.1"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a leading space": b" GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("raw", SMUGGLING.values(), ids=SMUGGLING)
def test_what_can_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    """However it is segmented."""
    assert refused(raw) is BadRequest


UNKNOWN = {
    "TE gzip": request(b"Transfer-Encoding: gzip, chunked"),
    "TE xchunked": request(b"Transfer-Encoding: xchunked"),
    "TE identity": request(b"Transfer-Encoding: identity"),
    "HTTP/1.9": request(line=b"GET / HTTP/1.9"),
    "HTTP/0.9": request(line=b"GET / HTTP/0.9"),
    "HTTP/2.0": request(line=b"GET / HTTP/2.0"),
    "CONNECT": request(line=b"CONNECT x:80 HTTP/1.1"),
    "TRACE": request(line=b"TRACE / HTTP/1.1"),
    "a method in lower case": request(line=b"get / HTTP/1.1"),
    "a method of another protocol": request(line=b"M-SEARCH * HTTP/1.1"),
}


@pytest.mark.parametrize("raw", UNKNOWN.values(), ids=UNKNOWN)
def test_what_we_do_not_speak_is_told_apart_from_what_is_wrong(raw: bytes) -> None:
    """501, not 400: the request is fine, and meant for somebody else."""
    assert refused(raw) is NotImplementedHere


def test_http_2_with_prior_knowledge_is_told_by_name() -> None:
    """Whoever configured it reads what to change."""
    assert "HTTP/2" in outcome(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")[2]


@pytest.mark.parametrize("first", [b"\x16", b" ", b"\x7f", b"\0", b"\xff"])
def test_what_cannot_be_http_is_refused_at_its_first_byte(first: bytes) -> None:
    """A client that waits for an answer in another protocol gets one at once."""
    assert outcome(first)[1] is BadRequest
    assert ("TLS" in outcome(first)[2]) == (first == b"\x16")
    assert outcome(b"!")[1] is None


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"A: b\r\n c", "folded"),
        (b"A: b\r\n\tc: d", "folded"),
        (b"Abc", "without a colon"),
        (b"A : b", "white space"),
        (b"A\t: b", "white space"),
        (b"A(b): c", "not a token"),
        (b"A: \xc3\xa9", "not ASCII in the field A"),
        (b"A: b\0", "control character in the field A"),
    ],
)
def test_a_refusal_says_what_is_wrong_with_the_line(line: bytes, fault: str) -> None:
    """And in which field, where the name can be shown."""
    assert fault in outcome(request(line))[2]


def test_after_a_refusal_nothing_more_is_read() -> None:
    """Where a wrong head ends nobody can say, so a good one behind it is not served."""
    gate = HeadGate()
    gate.feed(request(b"A : b") + request())
    for _ in range(2):
        with pytest.raises(BadRequest):
            gate.next()
    gate.feed(request())
    with pytest.raises(BadRequest):
        gate.next()


def test_what_came_before_a_refusal_is_served() -> None:
    """A pipelined head passes the gate like the first one, each by itself."""
    heads, error, _, _ = outcome(request() + SMUGGLING["CL and TE"])
    assert (len(heads), error) == (1, BadRequest)


# --- bounds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "error"), [(MAX_FIELDS, None), (MAX_FIELDS + 1, HeadTooLarge)])
def test_a_head_has_at_most_100_fields(count: int, error: type[UploadError] | None) -> None:
    """Host is one of them."""
    raw = request(*[b"a:b"] * (count - 1))
    assert outcome(raw)[1] is error
    assert outcome(*(raw[at : at + 1] for at in range(len(raw)))) == outcome(raw)


@pytest.mark.parametrize(("size", "error"), [(MAX_HEAD, None), (MAX_HEAD + 1, HeadTooLarge)])
@pytest.mark.parametrize("block", [1, 7, 4096, 100_000])
@pytest.mark.parametrize("behind", [b"", b"GET /", b"\r\n"])
def test_a_head_has_at_most_16_kib(
    size: int, error: type[UploadError] | None, block: int, behind: bytes
) -> None:
    """In one segment, byte by byte, and with something behind it."""
    raw = request(b"A: " + b"a" * (size - len(request(b"A: "))))
    assert len(raw) == size
    raw += behind
    heads, found, _, _ = outcome(*(raw[at : at + block] for at in range(0, len(raw), block)))
    assert found is error
    assert len(heads) == (error is None)


def test_a_long_body_is_not_mistaken_for_a_long_head() -> None:
    """Only what stands before the empty line counts."""
    gate = HeadGate()
    gate.feed(request(b"Content-Length: 50000") + b"x" * 50_000)
    assert gate.next() is not None
    assert gate.take(50_000) == b"x" * 50_000
    assert gate.next() is None


def test_the_bounds_are_those_that_the_hint_names() -> None:
    """They are published."""
    assert "100 header fields and 16 KiB" in str(HeadTooLarge.default_hint)
    assert (MAX_FIELDS, MAX_HEAD) == (100, 16_384)


def test_a_line_that_never_ends_is_refused_at_16_kib() -> None:
    """Not one byte later."""
    gate = HeadGate()
    gate.feed(b"GET /" + b"a" * (MAX_HEAD - 6))
    assert gate.next() is None
    gate.feed(b"a")
    with pytest.raises(HeadTooLarge):
        gate.next()


def test_200_000_fields_in_one_segment_are_refused_at_the_101st() -> None:
    """And not looked at beyond: the rest of the megabyte is not even split into lines."""
    gate = HeadGate()
    gate.feed(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:b\r\n" * 200_000)
    with pytest.raises(HeadTooLarge, match="100 header fields"):
        gate.next()
    assert outcome(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:b\r\n" * 99)[1] is None
    assert outcome(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:b\r\n" * 100)[1] is HeadTooLarge


@pytest.mark.parametrize(("digits", "error"), [(18, None), (19, BadRequest)])
def test_a_content_length_has_at_most_18_digits(
    digits: int, error: type[UploadError] | None
) -> None:
    """They fit into 64 bits with room to add to."""
    assert outcome(request(b"Content-Length: " + b"9" * digits))[1] is error


# --- properties -----------------------------------------------------------------------------

NAMES = st.sampled_from([b"A", b"x-Long-Name", b"!#$%&'*+-.^_`|~9", b"Cookie", b"Connection"])
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
TARGETS = st.sampled_from([b"/", b"/a/b?c=d", b"http://h:1/p", b"/%2e%2e/"])
BODIES = st.sampled_from([(), (b"Content-Length: 3",), (b"Transfer-Encoding: Chunked",)])


@st.composite
def good(draw: st.DrawFn) -> bytes:
    """A head that is right."""
    method = draw(st.sampled_from(METHODS)).encode()
    fields = [
        name + draw(st.sampled_from([b":", b": ", b":\t "])) + value.encode()
        for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))
    ]
    lines = [*fields, *draw(BODIES), b"Host: h:80"]
    return request(*lines, line=method + b" " + draw(TARGETS) + b" HTTP/1.1", host=b"")


POISON = [
    *[bytes([byte]) for byte in b"\0\t\n\r :#@,;\x7f\x80\xff"],
    *[b"\r\n", b"\r\n\r\n", b"\n\n", b"Host: y\r\n", b"Content-Length: 5\r\n", b" chunked"],
    *[b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1", b"\r\n ", b"a" * 300, b"a:b\r\n" * 50],
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Good heads in a row, with something put in, taken out or written over in a few places."""
    raw = b"".join(draw(st.lists(good(), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        gone = draw(st.sampled_from([0, 0, 1, 2, 20]))
        piece = draw(st.sampled_from(POISON) | st.binary(max_size=3))
        raw = raw[:at] + piece + raw[at + gone :]
    return raw


def any_raw() -> SearchStrategy[bytes]:
    """Good, wrong and meaningless bytes."""
    return good() | mutated() | st.binary(max_size=200)


@given(st.data(), st.lists(any_raw(), min_size=1, max_size=3).map(b"".join))
def test_any_split_gives_the_same_heads_and_the_same_refusal(
    data: st.DataObject, raw: bytes
) -> None:
    """Down to the wording."""
    assert outcome(*data.draw(chunked(raw))) == outcome(raw)


@given(good())
def test_a_good_head_passes_whole(raw: bytes) -> None:
    """And leaves nothing behind."""
    assert the_head(raw).raw == raw


@given(mutated())
@example(b"\n")
@example(b"\r\n\r\n\r\n")
@example(b"A\r\n \r\n")
def test_no_bytes_raise_anything_but_what_a_peer_can_be_told(raw: bytes) -> None:
    """``outcome`` lets everything else through; a message is short whatever was sent."""
    heads, _, message, _ = outcome(raw)
    assert len(message) < 200
    assert message.isprintable()
    assert all(raw.find(head.raw) >= 0 for head in heads)


@given(any_raw())
def test_what_passes_the_gate_h11_reads_as_we_do(raw: bytes) -> None:
    """The same method, fields and body: one head to us is one head, and the same, to the parser."""
    for head in outcome(raw)[0]:
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(head.raw)
        event = parser.next_event()
        assert isinstance(event, h11.Request)
        assert event.method.decode() == head.method
        assert event.target.decode().endswith(head.target.lstrip("/"))
        assert event.http_version.decode() == head.version
        assert [(name, value.lower()) for name, value in event.headers] == [
            (name, value.lower()) for name, value in head.fields
        ]
        after = parser.next_event()
        waits = head.chunked or bool(head.length)
        assert (after is h11.NEED_DATA) == waits
        assert waits or isinstance(after, h11.EndOfMessage)
