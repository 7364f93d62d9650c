"""Routes: every path has one conversation, and no other spelling reaches it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from uploadd.errors import MethodNotAllowed, NotFound
from uploadd.protocol import pages
from uploadd.protocol.heads import METHODS, Head, HeadGate
from uploadd.protocol.routes import Conversation, Route, allowed, route

ID = "AbCdEfGhIjKlMnOpQrSt_-"  # 22 characters, the shortest


def head(method: str, target: str) -> Head:
    """The head of a request, as the gate gives it."""
    gate = HeadGate()
    gate.feed(f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    made = gate.next()
    assert made is not None
    return made


TABLE = [
    ("/files/", {"POST", "PUT", "PATCH", "OPTIONS"}, Conversation.FILES),
    (
        f"/files/{ID}",
        {"GET", "HEAD", "PATCH", "DELETE", "POST", "OPTIONS"},
        Conversation.UPLOAD,
    ),
    (f"/f/{ID}", {"GET", "HEAD", "OPTIONS"}, Conversation.DOWNLOAD),
    (f"/f/{ID}/a.txt", {"GET", "HEAD", "OPTIONS"}, Conversation.DOWNLOAD),
    ("/-/ws", {"GET", "OPTIONS"}, Conversation.SESSION),
    ("/-/info", {"GET", "HEAD", "OPTIONS"}, Conversation.INFO),
    ("/-/openapi.json", {"GET", "HEAD", "OPTIONS"}, Conversation.OPENAPI),
    ("/api/upload", {"POST", "OPTIONS"}, Conversation.POSTED),
    (f"/api/upload/{ID}/status", {"GET", "HEAD", "OPTIONS"}, Conversation.STATUS),
    ("/api/upload/my-1.x~_/status", {"GET", "HEAD", "OPTIONS"}, Conversation.STATUS),
    (f"/api/upload/{ID}/cancel", {"POST", "OPTIONS"}, Conversation.CANCEL),
    ("/api/uploads", {"GET", "HEAD", "OPTIONS"}, Conversation.LISTING),
    ("/api/uploads/active", {"GET", "HEAD", "OPTIONS"}, Conversation.ACTIVE),
    ("/api/events", {"GET", "HEAD", "OPTIONS"}, Conversation.EVENTS),
    ("/api/notices", {"GET", "HEAD", "OPTIONS"}, Conversation.NOTICES),
    ("/api/notices/read", {"POST", "OPTIONS"}, Conversation.READ),
    ("/-/uploadd.js", {"GET", "HEAD", "OPTIONS"}, Conversation.ASSET),
    ("/-/uploadd.d.ts", {"GET", "HEAD", "OPTIONS"}, Conversation.ASSET),
]


@pytest.mark.parametrize(("path", "methods", "conversation"), TABLE)
@pytest.mark.parametrize("method", METHODS)
def test_each_path_has_its_methods(
    path: str, methods: set[str], conversation: Conversation, method: str
) -> None:
    """The right ones lead to its conversation; a wrong one is refused and Allow names the right."""
    assert set(allowed(path)) == set(allowed(path + "?a=/b")) == methods
    if method not in methods:
        with pytest.raises(MethodNotAllowed) as caught:
            route(head(method, path))
        assert all(name in caught.value.message for name in methods)
        return
    found = route(head(method, path))
    assert found.conversation is (Conversation.OPTIONS if method == "OPTIONS" else conversation)
    assert set(found.allowed) == methods


def test_an_upload_is_shown_and_ended_at_one_path() -> None:
    """Named by its id or by what its client chose, as it is written."""
    for name in (ID, "1", "a.b_c~d-e", "x" * 128):
        for method, what in (("GET", Conversation.STATUS), ("DELETE", Conversation.REMOVE)):
            found = route(head(method, f"/api/upload/{name}?wait=1"))
            assert (found.conversation, found.upload, found.query) == (what, name, "wait=1")
    for name in ("", "a%20b", "a/b", "x" * 129, "a:b"):
        with pytest.raises((NotFound, MethodNotAllowed)):
            route(head("GET", f"/api/upload/{name}"))


def test_options_for_the_whole_server_names_every_method() -> None:
    """``OPTIONS *`` is about no path at all."""
    assert route(head("OPTIONS", "*")) == Route(Conversation.OPTIONS, METHODS)


def test_a_download_knows_id_name_and_query() -> None:
    """The name is decoded once, the query is left as it came."""
    found = route(head("GET", f"/f/{ID}/caf%C3%A9%20100%25.txt?download=%2F&x=?"))
    assert found[2:5] == (ID, "café 100%.txt", "download=%2F&x=?")
    assert route(head("GET", f"/f/{ID}")).name is None


escapes = st.lists(st.sampled_from(["%", "2", "5", "0", "f", "E", "c", "a", ".", "/"])).map("".join)


@given(st.none() | st.text() | escapes)
@example("AC%2FDC.mp3")
@example("%2e%2e")
def test_the_url_that_is_told_of_a_file_leads_to_it(name: str | None) -> None:
    """Whatever its sender called it."""
    path = pages.file_path(ID, name)
    found = route(head("GET", path))
    assert (found.conversation, found.upload) == (Conversation.DOWNLOAD, ID)


def test_a_url_in_absolute_form_leads_to_the_same_place() -> None:
    """Proxies send it (RFC 9112, 3.2.2)."""
    assert route(head("GET", f"http://x/f/{ID}")) == route(head("GET", f"/f/{ID}"))
    assert route(head("GET", "http://x?q")) == route(head("GET", "/?q"))


@pytest.mark.parametrize(
    "upload",
    [
        *["", ".", "..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f", "..%5c"],
        *["%252e", "%00", "a", "a/b", ID[:-1], ID + "A" * 43, ID + "A" * 5000, ID[:-1] + "%41"],
        *[ID[:-1] + letter for letter in ".+~=!%\\:;@&'"],
    ],
)
def test_what_is_no_id_is_not_found(upload: str) -> None:
    """Whatever stands there never becomes a path; with a name behind it neither."""
    for path in (f"/f/{upload}", f"/f/{upload}/name"):
        with pytest.raises(NotFound):
            route(head("GET", path))
        assert allowed(path) == ()


@pytest.mark.parametrize("length", [22, 23, 63, 64])
def test_ids_of_22_to_64_characters_are_ids(length: int) -> None:
    """The bounds are legal; one less and one more are in the test above."""
    assert route(head("GET", f"/f/{'a' * length}")).upload == "a" * length


@pytest.mark.parametrize(
    "name",
    [
        *["", ".", "..", "%2e%2e", "%2E.", "a%2fb", "a%5cb", "a\\b", "%2e%2e%2f", "..%5c", "a/b"],
        *["%252e", "%252e%252e", "a%252fb", "a%255cb", "%00", "a%00b", "%2500", "a%0ab", "%7f"],
        *["%", "%4", "%zz", "%+1", "a%", "%ff", "%c3", "%ed%a0%80", "%c0%ae"],
    ],
)
def test_what_is_no_file_name_is_not_found(name: str) -> None:
    """Nor what would become a path if somebody decoded it once more."""
    with pytest.raises(NotFound):
        route(head("GET", f"/f/{ID}/{name}"))


@pytest.mark.parametrize(
    "path",
    [
        *["/f", "/f/", "/-", "/-/", "/-/ws/", "/-/WS", "/%2d/ws", "/-/w%73", "//", "//-/ws"],
        *["/-/../-/ws", "/./-/ws", "/f/../-/info", f"//f/{ID}", f"/f//{ID}", f"/F/{ID}", "/..;/"],
        *[f"/f/{ID}/", f"/f/{ID}/a/", f"/%66/{ID}", f"/f%2f{ID}", f"/f/{ID};x", "/favicon.ico"],
    ],
)
def test_another_spelling_is_another_path(path: str) -> None:
    """A path is not tidied: a proxy that judges by path sees the one that we see."""
    for method in ("GET", "DELETE"):
        with pytest.raises(NotFound):
            route(head(method, path))


# --- raw PUT --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "folder", "name"),
    [
        ("/", "", None),
        ("/a.txt", "", "a.txt"),
        ("/caf%C3%A9%20x", "", "café x"),
        ("/a/b%20c/d.txt?x=/y", "a/b c", "d.txt"),
        ("/F/x", "F", "x"),
        ("/a/", "a", None),
    ],
)
def test_any_other_path_can_be_put(path: str, folder: str, name: str | None) -> None:
    """Its last step is the name, the others are folders; ``curl -T - URL/`` has no name."""
    found = route(head("PUT", path))
    assert (found.conversation, found.folder, found.name) == (Conversation.PUT, folder, name)
    asked = route(head("OPTIONS", path))
    assert "PUT" in asked.allowed
    assert asked.conversation is Conversation.OPTIONS


@pytest.mark.parametrize(
    "path",
    [
        "/-/x",
        "/f/x",
        "/files",
        "/files/x",
        "/api/x",
        "/socket.io/",
        "//a",
        "/a//b",
        "/..",
        "/a/../b",
        "/%2e",
    ],
)
def test_what_is_ours_or_no_name_cannot_be_put(path: str) -> None:
    """A mistake should not become a file."""
    with pytest.raises((NotFound, MethodNotAllowed)):
        route(head("PUT", path))


def test_the_front_page_takes_forms_and_files() -> None:
    """And is read by everybody else."""
    for method, what in [
        *(("GET", Conversation.FRONT), ("HEAD", Conversation.FRONT)),
        *(("POST", Conversation.FORM), ("PUT", Conversation.PUT)),
    ]:
        found = route(head(method, "/"))
        assert found.conversation is what
        assert set(found.allowed) == set(allowed("/")) == {"GET", "HEAD", "POST", "PUT", "OPTIONS"}
    with pytest.raises(MethodNotAllowed):
        route(head("PATCH", "/"))


@given(st.sampled_from(METHODS), st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)))
def test_any_path_has_a_conversation_or_an_error(method: str, rest: str) -> None:
    """Nothing that the gate lets through upsets the table, and what is found is well-formed."""
    for start in ("/", "/f/", f"/f/{ID}/", "/-/"):
        try:
            found = route(head(method, start + rest.replace("#", "")))
        except (NotFound, MethodNotAllowed):
            continue
        assert method in found.allowed
        if found.name is not None:
            assert "/" not in found.name
            assert found.name not in {"", ".", ".."}
