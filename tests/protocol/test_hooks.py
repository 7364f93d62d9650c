"""What hooks are told, in the words of tusd, and what they may answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.errors import HookFailed
from uploadd.protocol import hooks
from uploadd.protocol.answers import answer as said_as
from uploadd.protocol.fields import problem_document
from uploadd.protocol.heads import Head
from uploadd.protocol.hooks import Draft, Request, answered, told
from uploadd.protocol.upload import State, Upload


def request(method: str = "POST", target: str = "/files/?access_token=t") -> Request:
    """One that brings a token, and a name twice."""
    fields = (
        (b"host", b"localhost:8080"),
        (b"upload-length", b"11"),
        (b"authorization", b"Bearer t"),
        (b"cookie", b"session=s"),
        (b"x-client-id", b"c"),
        (b"sec-websocket-protocol", b"uploadd.v1, uploadd.token.dA"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x-forwarded-for", b"10.0.0.2"),
    )
    return Request(Head(b"", method, target, "1.1", "localhost:8080", fields, 0, False), "[::1]:5")


def uploaded() -> Upload:
    """As it comes by tus."""
    return Upload(
        "14b1c4c77771671a8479bc0444bbc5ce",
        name="photo.jpg",
        length=1024,
        media_type="image/jpeg",
        metadata={"filename": "photo.jpg", "filetype": "image/jpeg", "album": "x"},
    )


def test_the_document_is_that_of_tusd() -> None:
    """Member by member, so that what was written for tusd reads it."""
    document = json.loads(told("pre-finish", uploaded(), request(), "/srv/.uploadd/growing/14"))
    assert document == {
        "Type": "pre-finish",
        "Event": {
            "Upload": {
                "ID": "14b1c4c77771671a8479bc0444bbc5ce",
                "Size": 1024,
                "SizeIsDeferred": False,
                "Offset": 0,
                "MetaData": {"filename": "photo.jpg", "filetype": "image/jpeg", "album": "x"},
                "IsPartial": False,
                "IsFinal": False,
                "PartialUploads": None,
                "Storage": {
                    "Type": "filestore",
                    "State": "receiving",
                    "Path": "/srv/.uploadd/growing/14",
                },
            },
            "HTTPRequest": {
                "Method": "POST",
                "URI": "/files/?access_token=t",
                "RemoteAddr": "[::1]:5",
                "Header": {
                    "Host": ["localhost:8080"],
                    "Upload-Length": ["11"],
                    "Authorization": ["Bearer t"],
                    "Cookie": ["session=s"],
                    "X-Client-Id": ["c"],
                    "Sec-Websocket-Protocol": ["uploadd.v1, uploadd.token.dA"],
                    "X-Forwarded-For": ["10.0.0.1", "10.0.0.2"],
                },
            },
        },
    }


@pytest.mark.parametrize("kind", [kind for kind in hooks.KINDS if kind.startswith("post-")])
def test_what_is_kept_until_it_is_told_holds_no_secrets(kind: str) -> None:
    """Neither tokens nor cookies lie in the outbox, nor queries that may hold one."""
    document = json.loads(told(kind, uploaded(), request(), None))["Event"]["HTTPRequest"]
    assert document["URI"] == "/files/"
    secret = {"Authorization", "Cookie", "X-Client-Id", "Sec-Websocket-Protocol"}
    assert not secret & document["Header"].keys()
    assert document["Header"]["Upload-Length"] == ["11"]


def test_an_upload_that_did_not_come_by_tus_has_the_metadata_of_one_that_did() -> None:
    """Receivers look for filename and filetype."""
    upload = Upload("a", name="x.bin", media_type="text/plain", metadata={"album": "y"})
    said = json.loads(told("post-finish", upload, None, None))["Event"]
    assert said["Upload"]["MetaData"] == {
        "album": "y",
        "filename": "x.bin",
        "filetype": "text/plain",
    }
    assert said["Upload"]["SizeIsDeferred"] is True
    assert said["HTTPRequest"] == {"Method": "", "URI": "", "RemoteAddr": "", "Header": {}}


def test_before_it_is_created_it_has_no_id_and_no_place() -> None:
    """As in tusd."""
    draft = Draft(name="x", length=5, media_type=None)
    said = json.loads(told("pre-create", draft, request(), None))["Event"]["Upload"]
    assert (said["ID"], said["Size"], said["Storage"]) == ("", 5, None)


def test_concatenated_uploads_say_of_what_they_are_made() -> None:
    """And parts that they are parts: those are not to be processed."""
    whole = Upload("a", echo={"Upload-Concat": "final;/files/b", "parts": "b c"})
    part = Upload("b", echo={"Upload-Concat": "partial"})
    said = [json.loads(told("x", one, None, None))["Event"]["Upload"] for one in (whole, part)]
    assert [(one["IsFinal"], one["IsPartial"]) for one in said] == [(True, False), (False, True)]
    assert said[0]["PartialUploads"] == ["b", "c"]


@given(
    name=st.none() | st.text(st.characters(exclude_categories=())),
    metadata=st.dictionaries(st.text(st.characters(exclude_categories=())), st.text()),
)
def test_whatever_a_client_calls_it_the_document_is_json(
    name: str | None, metadata: dict[str, str]
) -> None:
    """Also with lone surrogates, which no encoding can say."""
    upload = Upload("a", name=name, metadata=metadata, state=State.PUBLISHED)
    assert json.loads(told("post-finish", upload, None, None))["Type"] == "post-finish"


# --- answers ------------------------------------------------------------------------------------


def saying(**members: Any) -> bytes:
    """What a receiver would answer."""
    return json.dumps(members).encode()


@pytest.mark.parametrize(
    ("kind", "member"),
    [
        ("pre-create", "RejectUpload"),
        ("pre-finish", "RejectUpload"),
        ("pre-terminate", "RejectTermination"),
        ("post-receive", "StopUpload"),
    ],
)
def test_a_refusal_is_told_as_the_hook_says_it(kind: str, member: str) -> None:
    """Status, body and fields; and only by the member that is meant for this event."""
    response = {
        "StatusCode": 418,
        "Body": '{"why":\n"no"}',
        "Header": {"Content-Type": "application/json", "X-Why": "no", "Content-Length": "999"},
    }
    refused = answered(kind, saying(HTTPResponse=response, **{member: True})).refused
    assert refused is not None
    assert refused.message == '{"why": "no"}'
    assert said_as(refused).status == 418
    status, fields, body = problem_document(refused, "id")
    assert (status, body) == (418, b'{"why":\n"no"}')
    assert dict(fields)["Content-Type"] == "application/json"
    assert dict(fields)["X-Why"] == "no"
    assert "Content-Length" not in dict(fields)
    others = {"RejectUpload", "RejectTermination", "StopUpload"} - {member}
    assert answered(kind, saying(**dict.fromkeys(others, True))).refused is None


def test_a_refusal_without_words_is_a_document_of_ours() -> None:
    """400, as in tusd; and a status that is none is not taken."""
    for response in ({}, {"StatusCode": 200}, {"StatusCode": 99999}):
        refused = answered("pre-create", saying(RejectUpload=True, HTTPResponse=response)).refused
        assert refused is not None
        status, fields, body = problem_document(refused, "id")
        assert status == 400
        assert dict(fields)["Content-Type"] == "application/problem+json"
        assert json.loads(body)["code"] == "refused"


@pytest.mark.parametrize(
    ("name", "value"), [("X\r\nSet-Cookie", "a"), ("X-A", "a\r\nB: c"), ("", "a"), ("X-Ü", "a")]
)
def test_no_field_of_a_hook_can_be_two(name: str, value: str) -> None:
    """What cannot stand in a head is left out."""
    said = saying(RejectUpload=True, HTTPResponse={"Header": {name: value}})
    refused = answered("pre-create", said).refused
    assert refused is not None
    assert refused.fields == ()


@pytest.mark.parametrize("body", [b"", b"\n", b"{}", b'{"Other": 1}'])
def test_who_says_nothing_agrees(body: bytes) -> None:
    """Also with members that nobody knows."""
    assert answered("pre-create", body) == hooks.Answer()


@pytest.mark.parametrize(
    "body", [b"ok", b"[]", b'{"RejectUpload": 1}', b"\xff", b'{"ChangeFileInfo": {"ID": "mine"}}']
)
def test_what_is_no_answer_is_a_failure(body: bytes) -> None:
    """And no agreement."""
    with pytest.raises(HookFailed):
        answered("pre-create", body)


@pytest.mark.parametrize("kind", hooks.TOLD)
def test_whoever_is_told_afterwards_may_say_anything(kind: str) -> None:
    """That it was taken is all there is to say; it would be told for ever otherwise."""
    for body in (b"ok", b"\xff", saying(RejectUpload=True)):
        assert answered(kind, body) == hooks.Answer()


def test_a_hook_may_rename_and_place() -> None:
    """Then what the client called it is kept, since it may ask again under that name."""
    said = saying(
        ChangeFileInfo={
            "MetaData": {"filename": "b.txt", "filetype": "text/plain"},
            "Storage": {"Path": "2026/../ann/b.txt"},
        }
    )
    draft = Draft(name="a.txt", length=1, media_type=None, metadata={"x": "y"})
    made = draft.changed(answered("pre-create", said))
    assert (made.name, made.media_type) == ("b.txt", "text/plain")
    assert made.metadata == {"filename": "b.txt", "filetype": "text/plain"}
    upload = Upload("a", name=made.name, echo=dict(made.echo))
    assert hooks.called(upload) == "a.txt"
    assert upload.echo[hooks.PLACE] == "2026/ann/b.txt"


@given(st.text())
def test_a_place_is_always_below_the_root(path: str) -> None:
    """Or there is none."""
    try:
        place = hooks.safe_place(path)
    except HookFailed:
        return
    steps = place.split("/")
    assert all(step and not step.startswith(".") and "\0" not in step for step in steps)


def test_only_before_it_is_done_can_anything_be_changed() -> None:
    """Afterwards it is too late."""
    said = saying(ChangeFileInfo={"MetaData": {"filename": "b"}})
    assert answered("post-receive", said) == hooks.Answer()
    assert answered("pre-terminate", said) == hooks.Answer()
