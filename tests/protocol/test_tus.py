"""tus 1.0.0: what each head asks, and what each answer says (reference/protocols.md section 2)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd import errors
from uploadd.errors import UploadError
from uploadd.protocol import tus
from uploadd.protocol.answers import answer
from uploadd.protocol.checksums import Announced, Checksum
from uploadd.protocol.heads import METHODS, Head, HeadGate
from uploadd.protocol.requests import (
    Append,
    Asked,
    Cancel,
    Concat,
    Create,
    Retrieve,
    Standing,
    effective_method,
    upload_of,
)

ID = "AbCdEfGhIjKlMnOpQrSt_-"
OTHER = "b" * 24
CHUNK = "Content-Type: application/offset+octet-stream"
SHA1 = "Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="
TRAILER = "Trailer: Upload-Checksum"
CHUNKED = "Transfer-Encoding: chunked"


def head(method: str, *fields: str, target: str = "/files/") -> Head:
    """A request to ``here:8000``, as the gate gives it."""
    gate = HeadGate()
    lines = [f"{method} {target} HTTP/1.1", "Host: here:8000", *fields, "", ""]
    gate.feed("\r\n".join(lines).encode("latin-1"))
    made = gate.next()
    assert made is not None
    return made


def asked(method: str, *fields: str) -> Asked:
    """What a head of tus asks; POST where uploads are created, all others of one upload."""
    return tus.asked(
        head(method, "Tus-Resumable: 1.0.0", *fields), None if method == "POST" else ID
    )


def create(*fields: str) -> Create:
    """What a creation asks."""
    found = asked("POST", *fields)
    assert isinstance(found, Create)
    return found


def append(*fields: str) -> Append:
    """What an append asks; in the right media type."""
    found = asked("PATCH", CHUNK, *fields)
    assert isinstance(found, Append)
    return found


def refuses(method: str, *fields: str) -> int:
    """The status that the head is refused with."""
    with pytest.raises(UploadError) as caught:
        asked(method, *fields)
    return answer(caught.value).status


# --- versions and methods -----------------------------------------------------------------------


@pytest.mark.parametrize("said", [None, "0.2.2", "1.0", "1.0.0,0.2.2", "", "2.0.0"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "HEAD"])
def test_another_version_or_none_is_refused_and_ours_is_told(method: str, said: str | None) -> None:
    """412 with Tus-Version, before anything else is looked at; HEAD may leave it out."""
    made = head(method, *([] if said is None else [f"Tus-Resumable: {said}"]))
    if method == "HEAD" and said is None:
        assert tus.asked(made, ID) == Retrieve(ends=False, completes=False)
        return
    with pytest.raises(errors.VersionMismatch) as caught:
        tus.asked(made, None if method == "POST" else ID)
    status, fields, body = tus.refused(caught.value, "r", made)
    assert status == 412
    assert dict(fields)["Tus-Version"] == "1.0.0"
    assert "Tus-Resumable: 1.0.0" in json.loads(body)["hint"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("upload_id", [None, ID])
def test_a_method_that_tus_does_not_have_is_not_allowed(method: str, upload_id: str | None) -> None:
    """POST creates, PATCH, HEAD and DELETE are for an upload; the rest is 405."""
    made = head(method, "Tus-Resumable: 1.0.0", CHUNK, "Upload-Length: 1", "Upload-Offset: 0")
    known = ("POST",) if upload_id is None else ("PATCH", "HEAD", "DELETE")
    if method in known:
        tus.asked(made, upload_id)
        return
    with pytest.raises(errors.MethodNotAllowed):
        tus.asked(made, upload_id)


def test_looking_and_ending_need_nothing_more() -> None:
    """A retrieval leaves a moving append alone; for who speaks tus the last byte completes."""
    assert asked("HEAD") == Retrieve(ends=False, completes=True)
    assert asked("DELETE") == Cancel()


@pytest.mark.parametrize(
    ("method", "said", "meant"),
    [
        ("POST", None, "POST"),
        *[("POST", said, said) for said in ("PATCH", "DELETE", "HEAD", "PUT", "POST")],
        *[(method, "DELETE", method) for method in METHODS if method != "POST"],
        *[
            ("POST", said, None)
            for said in ("patch", "GET", "OPTIONS", "CONNECT", "", "PATCH, PUT")
        ],
    ],
)
def test_a_post_can_stand_for_another_method(
    method: str, said: str | None, meant: str | None
) -> None:
    """And nothing but a POST can."""
    made = head(method, *([] if said is None else [f"X-HTTP-Method-Override: {said}"]))
    if meant is None:
        with pytest.raises(errors.NotImplementedHere):
            effective_method(made)
        return
    assert effective_method(made) == meant


def test_a_post_that_stands_for_patch_appends() -> None:
    """For clients that have neither PATCH nor DELETE."""
    override = "X-HTTP-Method-Override: PATCH"
    made = head("POST", "Tus-Resumable: 1.0.0", override, CHUNK, "Upload-Offset: 3")
    assert tus.asked(made, ID) == Append(offset=3)


# --- numbers ------------------------------------------------------------------------------------

NUMBERS = [
    *[("0", 0), ("5", 5), ("05", 5), (" 5", 5), ("5 ", 5), ("9" * 18, 10**18 - 1)],
    *[(bad, None) for bad in ("-1", "-0", "+5", "5.0", "1e3", "0x10", "5,5", "5 5", "", "1_0")],
    *[(bad, None) for bad in (str(2**63 - 1), str(2**63), "1" + "0" * 30, "1" * 5000)],
]


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_a_number_is_one_to_eighteen_digits(text: str, number: int | None) -> None:
    """T10, for each field that is a number; anything else is 400."""
    if number is None:
        assert refuses("POST", f"Upload-Length: {text}") == 400
        assert refuses("PATCH", CHUNK, f"Upload-Offset: {text}") == 400
        assert refuses("PATCH", CHUNK, "Upload-Offset: 0", f"Upload-Length: {text}") == 400
        return
    assert create(f"Upload-Length: {text}").length == number
    assert append(f"Upload-Offset: {text}").offset == number
    assert append("Upload-Offset: 0", f"Upload-Length: {text}").length == number


@pytest.mark.parametrize(
    "name",
    ["Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Concat", "Tus-Resumable"],
)
def test_a_field_that_comes_twice_is_refused(name: str) -> None:
    """Two values contradict each other, also when they are the same."""
    value = {"Upload-Metadata": "a", "Upload-Concat": "partial"}.get(name, "1")
    fields = (f"{name}: {value}", f"{name}: {value}")
    if name == "Upload-Offset":
        assert refuses("PATCH", CHUNK, *fields) == 400
    else:
        length = () if name == "Upload-Length" else ("Upload-Length: 1",)
        assert refuses("POST", *length, *fields) == 400


# --- creation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        (["Upload-Length: 0"], 0),
        (["Upload-Length: 7"], 7),
        (["Upload-Defer-Length: 1"], None),
        (["Upload-Length: 7", "Content-Type: application/json"], 7),  # a default; no body
        (["Upload-Length: 7", "Content-Type: text/plain", "Content-Length: 0"], 7),
        (["Upload-Length: 7", SHA1], 7),
    ],
)
def test_a_creation_says_its_length_or_puts_it_off(fields: list[str], length: int | None) -> None:
    """Without a body nothing is carried, whatever the media type says."""
    found = create(*fields)
    assert (found.length, found.carries, found.completes) == (length, False, None)
    assert found.resumable
    assert found.checksum is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([], 400),
        (["Upload-Length: 1", "Upload-Defer-Length: 1"], 400),
        *[([f"Upload-Defer-Length: {bad}"], 400) for bad in ("0", "2", "", "true", "11", "01")],
        (["Upload-Length: 1", "Upload-Metadata: a %%%"], 400),
        (["Upload-Length: 1", "Upload-Metadata: a,a"], 400),
        (["Upload-Length: 1", "Content-Length: 1"], 415),
        (["Upload-Length: 1", "Content-Length: 1", "Content-Type: text/plain"], 415),
        (["Upload-Length: 1", "Content-Length: 1", CHUNK + "; charset=utf-8"], 415),
        (["Upload-Length: 1", CHUNKED, "Content-Type: application/json"], 415),
        (["Upload-Length: 1", "Content-Length: 2", CHUNK], 413),
    ],
)
def test_a_creation_that_is_not_one_is_refused(fields: list[str], status: int) -> None:
    """Before a byte of the body is read."""
    assert refuses("POST", *fields) == status


@pytest.mark.parametrize("framing", [["Content-Length: 5"], [CHUNKED], ["Content-Length: 0"], []])
def test_a_body_of_the_right_type_is_the_beginning(framing: list[str]) -> None:
    """creation-with-upload; an empty one is one, too."""
    found = create("Upload-Length: 5", CHUNK.upper(), *framing, SHA1)
    assert found.carries
    assert found.checksum == Checksum(
        "sha1", bytes.fromhex("2aae6c35c94fcfb415dbe95f408b9ce91ee846ed")
    )


def test_what_is_said_of_the_file_is_kept_and_echoed() -> None:
    """The very text; an empty field, as tuspy sends it, is none."""
    text = "filename YS50eHQ=,filetype dGV4dC9wbGFpbg==,x,bad /w=="
    found = create("Upload-Length: 1", f"Upload-Metadata: {text}")
    assert (found.name, found.media_type) == ("a.txt", "text/plain")
    assert found.metadata == {"filename": "a.txt", "filetype": "text/plain", "x": ""}
    assert found.echo == {"Upload-Metadata": text}
    assert create("Upload-Length: 1", "Upload-Metadata:") == create("Upload-Length: 1")


# --- append -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["", "Content-Type: text/plain", CHUNK + "; a=b", "Content-Type:"])
def test_an_append_of_another_type_is_refused(kind: str) -> None:
    """415, also when all else is right."""
    assert refuses("PATCH", *([kind] if kind else []), "Upload-Offset: 0") == 415


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([], 400),
        (["Upload-Offset: 5", "Upload-Length: 4"], 400),
        (["Upload-Offset: 5", "Upload-Length: 6", "Content-Length: 2"], 413),
    ],
)
def test_an_append_that_cannot_be_is_refused(fields: list[str], status: int) -> None:
    """No offset; a length below it; more bytes than the length."""
    assert refuses("PATCH", CHUNK, *fields) == status


def test_an_append_may_declare_the_length() -> None:
    """With a body or without; whether it is whole, its length decides."""
    assert append("Upload-Offset: 5", "Upload-Length: 5") == Append(offset=5, length=5)
    assert append("Upload-Offset: 5", "Content-Length: 9") == Append(offset=5)


# --- checksums ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PATCH", "POST"])
@pytest.mark.parametrize(
    "fields",
    [
        ["Upload-Checksum: crc64 aGk=", CHUNKED],  # unsupported
        ["Upload-Checksum: sha1 ****", CHUNKED],
        ["Upload-Checksum: sha1", CHUNKED],
        ["Upload-Checksum:", CHUNKED],
        ["Upload-Checksum: md5 aGk=", CHUNKED],  # wrong size
        [SHA1, TRAILER, CHUNKED],  # before and behind
        [SHA1, SHA1, CHUNKED],
        [TRAILER, "Content-Length: 1"],  # no trailers without chunks
        [TRAILER],
    ],
)
def test_a_checksum_that_cannot_be_is_refused(method: str, fields: list[str]) -> None:
    """400 before the body is read."""
    assert refuses(method, CHUNK, "Upload-Offset: 0", "Upload-Length: 5", *fields) == 400


def test_a_checksum_comes_before_the_body_or_behind_it() -> None:
    """And behind it, it must be there, once, and be one."""
    assert append("Upload-Offset: 0", SHA1, CHUNKED).checksum is not None
    assert append("Upload-Offset: 0", CHUNKED).checksum is None
    listed = "Trailer: x, UPLOAD-Checksum"
    assert append("Upload-Offset: 0", listed, CHUNKED).checksum == Announced()
    value = SHA1.partition(": ")[2].encode()
    assert (
        tus.trailer([(b"x", b"y"), (b"Upload-Checksum", value)])
        == append("Upload-Offset: 0", SHA1).checksum
    )
    for bad in ([], [b"sha1 ***"], [b"crc64 aGk="], [b""], [value, value]):
        with pytest.raises(UploadError) as caught:
            tus.trailer([(b"upload-checksum", each) for each in bad])
        assert answer(caught.value).status == 400


# --- concatenation ------------------------------------------------------------------------------


def test_a_part_is_created_like_any_upload() -> None:
    """It knows that it is one, and says so again."""
    found = create("Upload-Concat: partial", "Upload-Length: 5", CHUNK, "Content-Length: 5")
    assert found.concat == Concat()
    assert found.carries
    assert found.echo == {"Upload-Concat": "partial"}


@pytest.mark.parametrize(
    "urls",
    [
        f"/files/{ID} /files/{OTHER} /files/{ID}",
        f"{ID} ./{OTHER} {ID}",
        f"http://here:8000/files/{ID} HTTP://HERE:8000/files/{OTHER} http://localhost/files/{ID}",
        f" /files/{ID}  https://files.example:444/files/{OTHER} {ID} ",
    ],
)
def test_a_final_upload_names_its_parts_in_order(urls: str) -> None:
    """Absolute or relative, by any name of ours, one perhaps twice; echoed as it came."""
    made = head("POST", "Tus-Resumable: 1.0.0", f"Upload-Concat: final;{urls}")
    found = tus.asked(made, None, names=["files.example"])
    assert isinstance(found, Create)
    assert found.concat == Concat((ID, OTHER, ID))
    assert found.echo == {"Upload-Concat": f"final;{urls}".strip()}
    assert (found.length, found.carries) == (None, False)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        *[(value, 400) for value in ("", "final", "final;", "final; ", "Partial", "partial;", "x")],
        *[(f"final;{url}", 404) for url in ("../../x", "..", "a", "/", "/files/", f"/f/{ID}")],
        *[
            (f"final;{url}", 404)
            for url in (f"/files/{ID}?a", f"/files/{ID}/", f"/files/../files/{ID}")
        ],
        *[
            (f"final;{url}", 404)
            for url in (f"/files/%2e%2e/{ID}", f"//here:8000/files/{ID}", "a" * 65)
        ],
        *[
            (f"final;{url}", 404)
            for url in (f"files/{ID}", f"ftp://here/files/{ID}", "http://here:8000")
        ],
        *[
            (f"final;http://{host}/files/{ID}", 400)
            for host in ("evil", "here", "here:80", "", "a@b")
        ],
        *[
            (f"final;http://{host}/files/{ID}", 400)
            for host in ("here:8000.evil", "169.254.169.254")
        ],
        ("final;" + " ".join(["x"] * 1001), 400),
        ("final;" + " ".join(["/"] * 7000), 400),
    ],
)
def test_what_is_no_part_of_ours_is_refused(value: str, status: int) -> None:
    """T1, T24, T27: only the id is taken, and only from a URL of this server."""
    assert refuses("POST", f"Upload-Concat: {value}") == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["Upload-Length: 5"], 400),
        (["Upload-Defer-Length: 1"], 400),
        (["Content-Length: 5", CHUNK], 403),
        (["Content-Length: 5"], 403),
        ([CHUNKED], 403),
    ],
)
def test_a_final_upload_has_neither_length_nor_body(fields: list[str], status: int) -> None:
    """Both come from its parts; a media type alone is a default."""
    assert refuses("POST", f"Upload-Concat: final;/files/{ID}", *fields) == status
    assert not create(f"Upload-Concat: final;/files/{ID}", CHUNK).carries


@given(st.text(st.characters(codec="latin-1")))
def test_any_url_is_of_an_upload_or_refused(url: str) -> None:
    """And what comes out is an id, never a path."""
    try:
        found = upload_of(url, "here")
    except UploadError:
        return
    assert found in url
    assert found.replace("_", "").replace("-", "").isalnum()


# --- answers ------------------------------------------------------------------------------------

PLAIN = head("POST", "Tus-Resumable: 1.0.0")
HALF = Standing(id=ID, offset=5, length=9, expires=784111777)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


def test_a_creation_is_answered_201_and_where() -> None:
    """The offset when the body was taken, and when it will end."""
    status, fields = tus.created(HALF, PLAIN)
    assert status == 201
    assert fields == [
        ("Tus-Resumable", "1.0.0"),
        ("Location", f"/files/{ID}"),
        ("Upload-Expires", DATE),
    ]
    assert dict(tus.created(HALF, head("POST", CHUNK))[1])["Upload-Offset"] == "5"


def test_an_append_is_answered_204_and_the_offset() -> None:
    """Also that of 0; a complete upload does not end."""
    assert tus.appended(HALF, PLAIN) == (
        204,
        [("Tus-Resumable", "1.0.0"), ("Upload-Offset", "5"), ("Upload-Expires", DATE)],
    )
    whole = Standing(id=ID, offset=0, length=0, complete=True, expires=784111777)
    assert tus.appended(whole, PLAIN)[1] == [("Tus-Resumable", "1.0.0"), ("Upload-Offset", "0")]


TEXT = "b YQ==,a,c /w=="


@pytest.mark.parametrize(
    ("standing", "told"),
    [
        (HALF, {"Upload-Offset": "5", "Upload-Length": "9", "Upload-Expires": DATE}),
        (Standing(id=ID, offset=0), {"Upload-Offset": "0", "Upload-Defer-Length": "1"}),
        (
            Standing(id=ID, offset=9, length=9, complete=True, expires=1),
            {"Upload-Offset": "9", "Upload-Length": "9", "Upload-Complete": "?1"},
        ),
        (
            Standing(id=ID, offset=0, length=0, echo={"Upload-Metadata": TEXT, "Other": "x"}),
            {"Upload-Offset": "0", "Upload-Length": "0", "Upload-Metadata": TEXT},
        ),
        (
            Standing(id=ID, offset=0, length=0, metadata={"a": "hi"}),
            {"Upload-Offset": "0", "Upload-Length": "0", "Upload-Metadata": "a aGk="},
        ),
        (
            Standing(id=ID, offset=None, echo={"Upload-Concat": "final;a"}),
            {"Upload-Concat": "final;a"},
        ),
        (
            Standing(id=ID, offset=None, length=9, echo={"Upload-Concat": "final;a"}),
            {"Upload-Length": "9", "Upload-Concat": "final;a"},
        ),
    ],
)
def test_a_retrieval_tells_all_and_is_never_kept(standing: Standing, told: dict[str, str]) -> None:
    """200; Upload-Length, or that it is put off; no offset of what is still put together."""
    status, fields = tus.status(standing, head("HEAD"))
    assert status == 200
    assert len(dict(fields)) == len(fields)
    always = {"Tus-Resumable": "1.0.0", "Cache-Control": "no-store", "Upload-Complete": "?0"}
    assert dict(fields) == always | told


def test_a_cancellation_is_answered_204_exactly() -> None:
    """tus-js-client takes any other for an error."""
    assert tus.terminated(head("DELETE")) == (204, [("Tus-Resumable", "1.0.0")])


@pytest.mark.parametrize(
    "kind",
    [
        *(errors.NotFound, errors.OffsetMismatch, errors.LengthExceeded),
        *(errors.ChecksumMismatch, errors.ServerBug, errors.HolderStuck),
    ],
)
def test_every_refusal_names_the_version_and_409_the_offset(kind: type[UploadError]) -> None:
    """And nothing else tells an offset: a client would believe it."""
    status, fields, _ = tus.refused(kind("no", offset=5), "r", PLAIN)
    assert dict(fields)["Tus-Resumable"] == "1.0.0"
    assert dict(fields).get("Upload-Offset") == ("5" if status == 409 else None)
    assert "Tus-Version" not in dict(fields)
    assert dict(fields)["Content-Type"] == "application/problem+json"


def test_the_statuses_are_those_of_the_specification() -> None:
    """Each error that tus has a number for."""
    numbers = {
        errors.ChecksumMismatch: 460, errors.ChecksumUnsupported: 400, errors.NotAppendable: 403,
        errors.OffsetMismatch: 409, errors.UnsupportedMediaType: 415, errors.VersionMismatch: 412,
        errors.TooLarge: 413, errors.LengthExceeded: 413, errors.LengthConflict: 400,
        errors.NotFound: 404, errors.HolderStuck: 423,
    }  # fmt: skip
    assert {kind: answer(kind("")).status for kind in numbers} == numbers
    assert answer(errors.Gone("", reason="expired")).status == 410


def test_options_offers_all_nine_extensions() -> None:
    """Each by its token; the limit only when there is one."""
    told = dict(tus.options(10))
    assert told["Tus-Version"] == "1.0.0"
    assert told["Tus-Max-Size"] == "10"
    assert told["Tus-Checksum-Algorithm"] == "sha1,sha256,sha512,md5,crc32"
    assert set(told["Tus-Extension"].split(",")) == {
        *("creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum"),
        *("checksum-trailer", "termination", "concatenation", "concatenation-unfinished"),
    }
    assert "Tus-Max-Size" not in dict(tus.options())


def test_nothing_is_said_before_the_answer() -> None:
    """tus has no interim answers."""
    assert tus.offered(HALF, PLAIN) is None


NAMES = st.sampled_from(
    [
        *["Upload-Length", "Upload-Offset", "Upload-Defer-Length", "Upload-Metadata", "Trailer"],
        *["Upload-Concat", "Upload-Checksum", "Content-Type", "X-HTTP-Method-Override"],
    ]
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20) | (
    st.sampled_from(
        ["1", "0", "partial", f"final;{ID}", CHUNK[14:], SHA1[17:], "PATCH", "upload-checksum"]
    )
)


@given(st.sampled_from(METHODS), st.lists(st.tuples(NAMES, VALUES), max_size=6), st.booleans())
def test_any_head_asks_something_or_is_refused(
    method: str, fields: list[tuple[str, str]], below: bool
) -> None:
    """With an error that can be told, and no other exception."""
    made = head(method, "Tus-Resumable: 1.0.0", *(f"{name}: {value}" for name, value in fields))
    try:
        tus.asked(made, ID if below else None)
    except UploadError as error:
        status, _, body = tus.refused(error, "r", made)
        assert 400 <= status < 502
        json.loads(body)
