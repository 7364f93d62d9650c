"""The IETF's resumable uploads, versions 3 to 9 (reference/protocols.md section 3)."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd import errors
from uploadd.errors import UploadError
from uploadd.protocol import ietf, interop
from uploadd.protocol import structured as sf
from uploadd.protocol.answers import answer
from uploadd.protocol.checksums import Announced, Checksum
from uploadd.protocol.heads import METHODS, Head, HeadGate
from uploadd.protocol.interop import NEWEST, VERSIONS
from uploadd.protocol.requests import Append, Asked, Cancel, Create, Retrieve, Standing

ID = "AbCdEfGhIjKlMnOpQrSt_-"
PARTIAL = "Content-Type: application/partial-upload"
CHUNKED = "Transfer-Encoding: chunked"
HASH = sha256(b"x").digest()
DIGEST = f"sha-256=:{b64encode(HASH).decode()}:"
TYPES = "https://iana.org/assignments/http-problem-types#"
ALL = sorted(VERSIONS)


def head(method: str, *fields: str, version: int | None = 8, http: str = "1.1") -> Head:
    """A request in an interop version, as the gate gives it."""
    gate = HeadGate()
    stated = [] if version is None else [f"Upload-Draft-Interop-Version: {version}"]
    lines = [f"{method} /files/ HTTP/{http}", "Host: here:8000", *stated, *fields, "", ""]
    gate.feed("\r\n".join(lines).encode("latin-1"))
    made = gate.next()
    assert made is not None
    return made


def complete(version: int | None, whole: bool) -> str:
    """The field of completeness, as *version* has it."""
    return f"Upload-Incomplete: ?{not whole:d}" if version == 3 else f"Upload-Complete: ?{whole:d}"


def create(
    *fields: str, version: int | None = 8, method: str = "POST", http: str = "1.1"
) -> Create:
    """What a creation asks."""
    found = ietf.asked(head(method, *fields, version=version, http=http), None)
    assert isinstance(found, Create)
    return found


def append(*fields: str, version: int | None = 8) -> Append:
    """What an append in the right media type asks."""
    found = ietf.asked(head("PATCH", PARTIAL, *fields, version=version), ID)
    assert isinstance(found, Append)
    return found


def refuses(made: Head, upload_id: str | None) -> type[UploadError]:
    """What the head is refused with."""
    with pytest.raises(UploadError) as caught:
        ietf.asked(made, upload_id)
    return type(caught.value)


# --- versions -----------------------------------------------------------------------------------


def test_every_version_from_3_to_9_is_spoken() -> None:
    """And the newest is the one that is spoken with those who name none."""
    assert ALL == [3, 4, 5, 6, 7, 8, 9]
    assert NEWEST.number == 9


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("3", 3),
        ("9", 9),
        (" 8;a=b", 8),
        *[(bad, None) for bad in ("2", "10", "8.0", "x", "?1", "", "8, 8")],
    ],
)
def test_a_version_that_is_not_spoken_is_none(said: str, known: int | None) -> None:
    """It is an integer in a structured field."""
    found = interop.stated(head("POST", f"Upload-Draft-Interop-Version: {said}", version=None))
    assert (found and found.number) == known


@pytest.mark.parametrize("version", [*ALL, None])
@pytest.mark.parametrize("whole", [True, False])
def test_completeness_is_said_in_the_field_of_the_version(version: int | None, whole: bool) -> None:
    """Version 3 says the contrary; the other field stands in where the right one is missing."""
    assert interop.completes(head("POST", complete(version, whole), version=version)) is whole
    other = f"Upload-Complete: ?{whole:d}" if version == 3 else f"Upload-Incomplete: ?{not whole:d}"
    assert interop.completes(head("POST", other, version=version)) is whole
    assert create(complete(version, whole), version=version).completes is whole


@pytest.mark.parametrize("version", [*ALL, None])
def test_of_two_fields_of_completeness_that_of_the_version_counts(version: int | None) -> None:
    """Whatever the other says."""
    both = ("Upload-Complete: ?1", "Upload-Incomplete: ?1")
    assert interop.completes(head("POST", *both, version=version)) is (version != 3)


@pytest.mark.parametrize("value", ["1", "true", "?2", "", "?1, ?1", '"?1"', "?0 ?1"])
def test_a_completeness_that_is_malformed_is_none(value: str) -> None:
    """An append needs one; a creation without is an ordinary upload, which cannot be resumed."""
    field = f"Upload-Complete: {value}"
    made = head("PATCH", PARTIAL, "Upload-Offset: 0", field)
    assert refuses(made, ID) is errors.BadRequest
    assert (create(field).completes, create(field).resumable) == (True, False)
    assert create("Upload-Complete: ?0;why=not").completes is False


# --- creation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    ("fields", "length"),
    [
        (["Upload-Complete: ?1", "Content-Length: 7"], 7),
        (["Upload-Complete: ?1", "Content-Length: 7", "Upload-Length: 7"], 7),
        (["Upload-Complete: ?1"], 0),
        (["Upload-Complete: ?1", CHUNKED], None),
        (["Upload-Complete: ?1", CHUNKED, "Upload-Length: 7"], 7),
        (["Upload-Complete: ?0", "Content-Length: 7"], None),
        (["Upload-Complete: ?0", "Content-Length: 7", "Upload-Length: 9"], 9),
        (["Upload-Complete: ?0", "Upload-Length: 7.0"], None),
        (["Upload-Complete: ?0", "Upload-Length: -7"], None),
        (["Upload-Complete: ?0", "Upload-Length: 1000000000000000"], None),
    ],
)
def test_the_length_is_said_or_that_of_the_body(
    method: str, fields: list[str], length: int | None
) -> None:
    """By every method that has content; what is malformed is ignored (T10)."""
    found = create(*fields, method=method)
    assert (found.length, found.carries, found.resumable) == (length, True, True)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (["Upload-Complete: ?1", "Content-Length: 7", "Upload-Length: 8"], errors.LengthConflict),
        (["Upload-Complete: ?1", "Upload-Length: 8"], errors.LengthConflict),
        (["Upload-Complete: ?0", "Content-Length: 7", "Upload-Length: 6"], errors.LengthExceeded),
        (["Upload-Complete: ?1", "Upload-Metadata: a %%%"], errors.BadRequest),
        (["Upload-Complete: ?1", "Repr-Digest: sha-256=:aGk=:"], errors.BadRequest),
        (["Upload-Complete: ?1", "Content-Digest: sha-256=:aGk=:"], errors.BadRequest),
        (["Upload-Complete: ?1", "Content-Type: a/b", "Content-Type: a/b"], errors.BadRequest),
    ],
)
def test_a_creation_that_contradicts_itself_is_refused(
    fields: list[str], error: type[UploadError]
) -> None:
    """Before a byte of the body is read."""
    assert refuses(head("POST", *fields), None) is error


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_version_without_upload_length_does_not_read_it(version: int) -> None:
    """It came with draft 05."""
    assert create(complete(version, False), "Upload-Length: 9", version=version).length is None


def test_what_is_said_of_the_file_is_kept() -> None:
    """Type and name; also what tus-js-client says in words of tus."""
    found = create(
        "Upload-Complete: ?1",
        "Content-Type: Text/Plain; charset=x",
        "Content-Disposition: inline; filename=\"e.txt\"; filename*=UTF-8''%c3%a9.txt",
    )
    assert (found.name, found.media_type) == ("é.txt", "Text/Plain; charset=x")
    text = "filename YS50eHQ=,filetype eC95"
    for label in (PARTIAL, "Content-Type: application/offset+octet-stream", "X: y"):
        found = create("Upload-Complete: ?1", f"Upload-Metadata: {text}", label, version=6)
        assert (found.name, found.media_type) == ("a.txt", "x/y")
        assert found.echo == {"Upload-Metadata": text}
        assert found.metadata == {"filename": "a.txt", "filetype": "x/y"}
    assert create("Upload-Complete: ?1", f"Content-Type: a/{'b' * 300}").media_type is None


def test_digests_of_the_whole_and_of_the_body_are_read() -> None:
    """What is malformed or of another algorithm is ignored; a body's may come behind it."""
    found = create("Upload-Complete: ?1", f"Repr-Digest: {DIGEST}", f"Content-Digest: {DIGEST}")
    assert (found.digest, found.checksum) == (HASH, Checksum("sha256", HASH))
    assert not found.wants_digest
    found = create(
        "Upload-Complete: ?1",
        "Repr-Digest: md5=:aGk=:",
        "Content-Digest: x=",
        "Want-Repr-Digest: sha-256=3",
    )
    assert (found.digest, found.checksum, found.wants_digest) == (None, None, True)
    found = create("Upload-Complete: ?1", "Trailer: Content-Digest", CHUNKED)
    assert found.checksum == Announced()
    assert ietf.trailer([(b"Content-Digest", DIGEST.encode())]) == Checksum("sha256", HASH)
    assert ietf.trailer([]) is ietf.trailer([(b"content-digest", b"x=")]) is None


@pytest.mark.parametrize(
    ("said", "wanted"),
    [(None, False), (DIGEST, False), (f"sha-512=:aGk=:, {DIGEST}", False), ("md5=:aGk=:", True)],
)
def test_who_tells_only_digests_that_nobody_computes_is_told_which_one(
    said: str | None, wanted: bool
) -> None:
    """It would otherwise take the upload for compared."""
    made = head("POST", "Upload-Complete: ?1", *([f"Repr-Digest: {said}"] if said else []))
    told = dict(ietf.created(WHOLE, made)[1])
    assert told.get("Want-Repr-Digest") == ("sha-256=10" if wanted else None)


@pytest.mark.parametrize(
    ("version", "http", "resumable"),
    [
        *[(version, "1.1", True) for version in ALL],
        (8, "1.0", False),
        (2, "1.1", False),
        (None, "1.1", False),
    ],
)
def test_who_cannot_hear_an_interim_answer_cannot_come_back(
    version: int | None, http: str, resumable: bool
) -> None:
    """104 only to those who know it, in HTTP/1.1; what breaks off is then thrown away."""
    field = complete(version, True)
    assert create(field, version=version, http=http).resumable is resumable
    made = head("POST", field, version=version, http=http)
    assert (ietf.offered(Standing(id=ID, offset=0), made) is not None) is resumable


# --- append, retrieval, cancellation ------------------------------------------------------------


@pytest.mark.parametrize("version", [*ALL, None])
def test_an_append_is_labelled_from_version_6_on(version: int | None) -> None:
    """415 without the label; before, any type will do."""
    fields = ("Upload-Offset: 5", complete(version, False))
    expected = Append(offset=5, completes=False, strict=version not in (3, 4, 5, 6))
    assert append(*fields, version=version) == expected
    for label in ([], ["Content-Type: text/plain"]):
        made = head("PATCH", *label, *fields, version=version)
        if version in (3, 4, 5):
            assert ietf.asked(made, ID) == expected
        else:
            assert refuses(made, ID) is errors.UnsupportedMediaType


@pytest.mark.parametrize(
    ("fields", "length", "whole"),
    [
        (["Upload-Offset: 5", "Upload-Complete: ?1", "Content-Length: 2"], 7, True),
        (["Upload-Offset: 5", "Upload-Complete: ?1"], 5, True),
        (["Upload-Offset: 5", "Upload-Complete: ?1", CHUNKED], None, True),
        (["Upload-Offset: 5;a", "Upload-Complete: ?0", "Upload-Length: 9"], 9, False),
    ],
)
def test_the_last_append_tells_the_length(
    fields: list[str], length: int | None, whole: bool
) -> None:
    """Offset and body, when nothing follows; an empty body completes."""
    assert append(*fields) == Append(offset=5, length=length, completes=whole, strict=True)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (["Upload-Complete: ?1"], errors.BadRequest),
        (["Upload-Offset: 5"], errors.BadRequest),
        *[([f"Upload-Offset: {bad}", "Upload-Complete: ?1"], errors.BadRequest)
          for bad in ("-1", "+5", "5.0", "", "1e3", "0x10", "5, 5", "1000000000000000", "?1")],
        (["Upload-Offset: 5", "Upload-Complete: ?1", "Content-Length: 1", "Upload-Length: 7"],
         errors.LengthConflict),
        (["Upload-Offset: 5", "Upload-Complete: ?0", "Upload-Length: 4"], errors.LengthConflict),
    ],
)  # fmt: skip
def test_an_append_that_cannot_be_is_refused(fields: list[str], error: type[UploadError]) -> None:
    """A field that is malformed counts as missing, and these must be there."""
    assert refuses(head("PATCH", PARTIAL, *fields), ID) is error


@pytest.mark.parametrize("version", [*ALL, None])
@pytest.mark.parametrize("method", ["HEAD", "DELETE", "GET"])
def test_old_versions_forbid_state_in_a_retrieval_and_a_cancellation(
    method: str, version: int | None
) -> None:
    """400 up to version 6; a retrieval ends a running append."""
    expected: Asked = Cancel() if method == "DELETE" else Retrieve(ends=True)
    assert ietf.asked(head(method, version=version), ID) == expected
    for field in (
        "Upload-Offset: 1",
        "Upload-Complete: ?1",
        "Upload-Incomplete: ?0",
        "Upload-Length: 1",
    ):
        made = head(method, field, version=version)
        if version is not None and version <= 6:
            assert refuses(made, ID) is errors.BadRequest
        else:
            assert ietf.asked(made, ID) == expected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("upload_id", [None, ID])
def test_a_method_that_is_not_of_the_protocol_is_not_allowed(
    method: str, upload_id: str | None
) -> None:
    """Content creates anywhere; an upload takes only PATCH."""
    made = head(method, PARTIAL, "Upload-Offset: 0", "Upload-Complete: ?1")
    known = ("POST", "PUT", "PATCH") if upload_id is None else ("PATCH", "HEAD", "GET", "DELETE")
    if method in known:
        ietf.asked(made, upload_id)
    else:
        assert refuses(made, upload_id) is errors.MethodNotAllowed


# --- answers ------------------------------------------------------------------------------------

HALF = Standing(id=ID, offset=5, length=9, max_age=60, max_length=100)
WHOLE = Standing(id=ID, offset=9, length=9, complete=True, max_age=60, digest=HASH)


@pytest.mark.parametrize("version", [*ALL, None])
def test_every_answer_has_all_that_any_version_asks_for(version: int | None) -> None:
    """Offset, completeness, limits and version; 201 for a creation, 204 for the rest."""
    made = head("POST", version=version)
    number, age = version or 9, "expires" if version == 6 else "max-age"
    name, _, value = complete(version, False).partition(": ")
    state = {
        "Upload-Draft-Interop-Version": str(number),
        name: value,
        "Upload-Offset": "5",
        "Upload-Limit": f"max-size=100, {age}=60",
    }
    here = {"Location": f"/files/{ID}"}
    status, fields = ietf.created(HALF, made)
    assert (status, dict(fields)) == (201, state | here)
    status, fields = ietf.appended(HALF, made)
    assert (status, dict(fields)) == (204, state)
    status, fields = ietf.status(HALF, made)
    kept = {"Cache-Control": "no-store", "Upload-Length": "9"}
    assert (status, dict(fields)) == (204, state | kept)
    assert ietf.terminated(made) == (204, [("Upload-Draft-Interop-Version", str(number))])


@pytest.mark.parametrize("version", ALL)
def test_the_last_append_is_answered_as_the_creation_would_have_been(version: int) -> None:
    """Complete, with the digest if it is known, and nothing that ends."""
    made = head("PATCH", version=version)
    assert ietf.appended(WHOLE, made) == ietf.created(WHOLE, made)
    told = dict(ietf.created(WHOLE, made)[1])
    name, _, value = complete(version, True).partition(": ")
    assert told[name] == value
    assert told["Repr-Digest"] == DIGEST
    assert told["Upload-Limit"] == "min-size=0"
    assert dict(ietf.status(WHOLE, made)[1])[name] == value


def test_an_offset_that_is_the_length_is_not_complete() -> None:
    """Only who declares it makes it so."""
    told = dict(ietf.status(Standing(id=ID, offset=9, length=9), head("HEAD"))[1])
    assert told["Upload-Complete"] == "?0"


def test_a_length_that_is_not_known_or_cannot_be_said_is_not_said() -> None:
    """A structured integer ends at fifteen digits."""
    for length in (None, 10**15):
        told = dict(ietf.status(Standing(id=ID, offset=0, length=length), head("HEAD"))[1])
        assert "Upload-Length" not in told


@pytest.mark.parametrize("version", ALL)
def test_the_interim_answer_says_where_it_is(version: int) -> None:
    """As the last answer does."""
    made = head("POST", version=version)
    first = ietf.offered(HALF, made)
    assert first is not None
    assert dict(first)["Location"] == dict(ietf.created(HALF, made)[1])["Location"]
    assert dict(first).keys() == {"Upload-Draft-Interop-Version", "Location", "Upload-Limit"}


@pytest.mark.parametrize(
    ("max_length", "max_age", "text"),
    [
        (None, None, "min-size=0"),
        (0, None, "max-size=0"),
        (5, -3, "max-size=5, max-age=0"),
        (10**18, 1, "max-size=999999999999999, max-age=1"),
    ],
)
def test_limits_are_never_an_empty_field(
    max_length: int | None, max_age: int | None, text: str
) -> None:
    """And always a dictionary that can be read."""
    assert ietf.limits(max_length=max_length, max_age=max_age) == text
    assert sf.dictionary(text)


def test_options_tells_limits_and_the_media_type() -> None:
    """For all versions at once."""
    told = dict(ietf.options(5))
    assert told["Upload-Limit"] == "max-size=5"
    assert told["Accept-Patch"] == "application/partial-upload"


# --- errors -------------------------------------------------------------------------------------


def problem(error: UploadError, made: Head) -> tuple[int, dict[str, str], dict[str, object]]:
    """Status, fields and members of the refusal."""
    status, fields, body = ietf.refused(error, "r-1", made, max_length=100)
    members = json.loads(body)
    assert members["status"] == status
    assert (members["code"], members["request_id"]) == (error.code, "r-1")
    assert len(dict(fields)) == len(fields)
    return status, dict(fields), members


@pytest.mark.parametrize("version", [*ALL, None])
def test_a_wrong_offset_is_told_with_the_right_one(version: int | None) -> None:
    """409, not complete, both offsets in the problem."""
    made = head("PATCH", "Upload-Offset: 9", version=version)
    status, fields, members = problem(errors.OffsetMismatch("no", offset=5), made)
    name, _, value = complete(version, False).partition(": ")
    assert (status, fields["Upload-Offset"], fields[name]) == (409, "5", value)
    assert members["type"] == f"{TYPES}mismatching-upload-offset"
    assert members["title"] == "offset from request does not match offset of resource"
    assert (members["expected-offset"], members["provided-offset"]) == (5, 9)


@pytest.mark.parametrize(
    ("error", "version", "status", "kind"),
    [
        (errors.LengthConflict, 8, 400, f"{TYPES}inconsistent-upload-length"),
        (errors.LengthConflict, None, 400, f"{TYPES}inconsistent-upload-length"),
        (errors.LengthConflict, 6, 400, "/errors/length-conflict"),
        *[
            (errors.AlreadyComplete, version, 400, f"{TYPES}completed-upload")
            for version in (6, 7, 8)
        ],
        (errors.AlreadyComplete, 9, 400, f"{TYPES}inconsistent-upload-length"),
        (errors.AlreadyComplete, 5, 400, "/errors/already-complete"),
        (errors.ChecksumMismatch, 8, 400, "/errors/checksum-mismatch"),
        (errors.NotFound, 8, 404, "/errors/not-found"),
    ],
)
def test_problems_have_the_type_that_their_version_knows(
    error: type[UploadError], version: int | None, status: int, kind: str
) -> None:
    """460 is a status of tus only."""
    found = problem(error("no"), head("PATCH", version=version))
    assert (found[0], found[2]["type"]) == (status, kind)


@pytest.mark.parametrize(
    ("error", "value"),
    [
        *[
            (kind, "?0")
            for kind in (errors.LengthConflict, errors.ChecksumMismatch, errors.Incomplete)
        ],
        *[(kind, "?0") for kind in (errors.LengthExceeded, errors.HolderStuck)],
        *[(kind, "?1") for kind in (errors.DigestMismatch, errors.AlreadyComplete)],
        *[(kind, None) for kind in (errors.NotFound, errors.StoreError, errors.TooLarge)],
        *[(kind, None) for kind in (errors.Draining, errors.UnsupportedMediaType)],
    ],
)
def test_an_error_says_complete_only_when_resuming_is_in_vain(
    error: type[UploadError], value: str | None
) -> None:
    """A 5xx says nothing, so that the client comes back."""
    assert problem(error("no"), head("PATCH"))[1].get("Upload-Complete") == value


def test_what_is_too_large_is_told_the_limit() -> None:
    """413 with Upload-Limit, at creation and later."""
    for kind in (errors.TooLarge, errors.LengthExceeded):
        assert problem(kind("no"), head("POST"))[1]["Upload-Limit"] == "max-size=100"
    assert "Upload-Limit" not in problem(errors.NotFound("no"), head("POST"))[1]


NAMES = st.sampled_from(
    [
        *["Upload-Length", "Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Trailer"],
        *["Upload-Metadata", "Repr-Digest", "Content-Digest", "Want-Repr-Digest", "Content-Type"],
        *["Content-Disposition", "X-HTTP-Method-Override", "Upload-Draft-Interop-Version"],
    ]
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20) | (
    st.sampled_from(["1", "0", "?1", "?0", "3", "8", DIGEST, PARTIAL[14:], "inline; filename=a"])
)


@given(st.sampled_from(METHODS), st.lists(st.tuples(NAMES, VALUES), max_size=6), st.booleans())
def test_any_head_asks_something_or_is_refused(
    method: str, fields: list[tuple[str, str]], below: bool
) -> None:
    """With an error that can be told, and no other exception; what is asked can be answered."""
    made = head(method, *(f"{name}: {value}" for name, value in fields), version=None)
    ietf.offered(HALF, made)
    ietf.created(WHOLE, made)
    with suppress(UploadError):
        ietf.asked(made, ID if below else None)
    for error in (errors.OffsetMismatch("no", offset=5), errors.LengthConflict("no")):
        assert problem(error, made)[0] == answer(error).status
