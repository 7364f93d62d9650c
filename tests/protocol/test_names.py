"""Whatever a client calls its file, the name on disk is one safe component."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from uploadd.protocol import names
from uploadd.settings.kinds import read_template

FALLBACK = "the-id"
any_name = st.text(max_size=300) | st.text(
    st.sampled_from("a. _/\\\0\n\u202e\u00e9e\u0301🦊"), max_size=300
)
suffixed = st.tuples(st.text(max_size=300), st.sampled_from([".tar.gz", ".txt", ". .", ".", " "]))
any_name |= suffixed.map("".join)
IDS = st.text(st.sampled_from("abcXYZ019-_"), min_size=22, max_size=24)


@given(any_name)
@example(". .hidden")
@example("x" * 199 + " " + "y" * 30)
@example("x" * 199 + "." + "y" * 30)
@example("con")
@example("\ud800")
def test_any_name_gives_one_safe_component(name: str) -> None:
    """Nothing hidden, nothing that turns the line round, at most 200 bytes; again, the same."""
    safe = names.sanitise(name, FALLBACK)
    assert safe
    assert len(safe.encode()) <= names.MAX_BYTES
    assert not set(safe) & set("/\\\0")
    assert safe[0] != "."
    assert safe == safe.strip(" .")
    assert not {unicodedata.category(c)[0] for c in safe} & {"C"}
    assert unicodedata.is_normalized("NFC", safe)
    assert names.sanitise(safe, FALLBACK) == safe


@pytest.mark.parametrize("name", [None, "", ".", "..", " . ", "/", "///", "\0", "___", "\u202e"])
def test_where_nothing_is_left_the_fallback_stands(name: str | None) -> None:
    """A name of separators is no name."""
    assert names.sanitise(name, FALLBACK) == FALLBACK


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("holiday.mp4", "holiday.mp4"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\Users\\me\\x.doc", "C:_Users_me_x.doc"),
        (".bashrc", "bashrc"),
        ("photo\u202egpj.exe", "photo_gpj.exe"),
        ("e\u0301te\u0301.txt", "\u00e9t\u00e9.txt"),
        ("NUL.txt", "_NUL.txt"),
        ("lpt1", "_lpt1"),
        ("console.log", "console.log"),
        (" a  b ", "a  b"),
        ("50% off%20now.txt", "50% off%20now.txt"),
        ("AC%2fDC%0A.mp3", "AC_2fDC_0A.mp3"),
    ],
)
def test_names_that_mean_well_stay_as_they_are(name: str, safe: str) -> None:
    """And those that do not are still recognised by those who gave them."""
    assert names.sanitise(name, FALLBACK) == safe


@given(st.text(min_size=1), st.integers(200, 300))
def test_a_long_name_keeps_its_suffix(stem: str, count: int) -> None:
    """Programs go by it."""
    long = (stem * count)[:count]
    assert names.sanitise(f"{long}x.tar.gz", FALLBACK).endswith(".tar.gz")


@given(any_name)
def test_stem_and_suffix_are_the_name(name: str) -> None:
    """Cut nowhere else, and a stem is never empty."""
    stem, suffix = names.split(name)
    assert stem + suffix == name
    assert stem or not name


@given(any_name, IDS, st.sampled_from(["", "2026/", "a.b/c/"]))
def test_the_names_to_try_are_all_different(name: str, id: str, folder: str) -> None:
    """In the same folder, each fit for a file system; then with the id, and then in the root."""
    path = folder + names.sanitise(name, id)
    tried = list(names.candidates(path, id))
    assert tried[0] == path
    assert len(tried) == len(set(tried)) == names.CLASHES + 1 + bool(folder)
    inside = tried[: names.CLASHES + 1]
    assert {one.rpartition("/")[0] for one in inside} == {folder.rstrip("/")}
    assert id in inside[-1]
    assert tried[-1] == inside[-1].rpartition("/")[2]
    assert all(len(one.rpartition("/")[2].encode()) <= 255 for one in tried)


def test_a_clash_counts_before_the_suffix() -> None:
    """So that the file can still be opened."""
    tried = names.candidates("d/a.tar.gz", "ID")
    assert [next(tried), next(tried), next(tried)] == ["d/a.tar.gz", "d/a-2.tar.gz", "d/a-3.tar.gz"]
    assert list(tried)[-2:] == ["d/a-ID.tar.gz", "a-ID.tar.gz"]


# --- folders --------------------------------------------------------------------------------


@given(st.none() | st.text("./\\ ab\0é") | any_name)
def test_folders_of_a_client_stay_below_the_root(path: str | None) -> None:
    """Whatever it calls them: every step is one safe component, and there are not too many."""
    steps = names.folders(path).split("/")
    assert len(steps) <= names.DEEPEST
    if steps != [""]:
        assert all(names.sanitise(step, "") == step != "" for step in steps)


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("photos/2024/a.jpg", "photos/2024"),
        ("photos\\2024\\a.jpg", "photos/2024"),
        ("a.jpg", ""),
        (None, ""),
        ("../../etc/passwd", "etc"),
        ("/abs/./x//y", "abs/x"),
        (".uploadd/growing/x", "uploadd/growing"),
        ("é b/c", "é b"),
        ("a/" * 20 + "x", "/".join(["a"] * 16)),
    ],
)
def test_the_folders_that_were_chosen_are_kept(path: str | None, folder: str) -> None:
    """A tree arrives as a tree, and nothing leads out of it."""
    assert names.folders(path) == folder


# --- templates ------------------------------------------------------------------------------

pieces = st.sampled_from(
    [
        *(
            "{name}",
            "{id}",
            "{date}",
            "{subject}",
            "{folder}",
            "{who}",
            "{name!r}",
            "{0}",
            "{}",
            "{name:>9}",
        ),
        *("{{", "}}", "/", ".", "..", "-", "x", " ", ".uploadd", "\0", "\n", "\u202e"),
    ]
)
templates = st.lists(pieces, max_size=6).map("".join)
steps = st.lists(
    st.sampled_from(["{name}", "{date}", "{subject}", "{id}", "x", " ", "-", "..x", "{{", "}}"]),
    min_size=1,
    max_size=4,
).map("".join)
good_templates = st.tuples(st.lists(steps, max_size=3), steps).map(
    lambda told: "/".join([*told[0], told[1] + "{name}"])
)


def accepts(check: object, template: str) -> bool:
    """Whether *check* lets *template* pass."""
    assert callable(check)
    try:
        check(template)
    except ValueError:
        return False
    return True


def filled(template: str, **fields: str) -> str:
    """*template* with *fields*, and all others, filled in."""
    others = {"name": "a.txt", "date": "2026-11-20", "id": FALLBACK, "subject": "ann", "folder": ""}
    return names.expand(template, **(others | fields))


@given(templates, any_name)
def test_what_the_configuration_accepts_can_be_carried_out(template: str, name: str) -> None:
    """So that no upload meets a template that cannot be, whatever its name and folder."""
    if accepts(read_template, template):
        for folder in ("", "a", "a/b"):
            path = filled(template, name=names.sanitise(name, FALLBACK), folder=folder)
            assert not {"", ".", ".."} & set(path.split("/"))


@given(good_templates, any_name, any_name)
def test_a_path_stays_below_the_root(template: str, name: str, owner: str) -> None:
    """Whatever template, name and owner are; and each step fits a file system."""
    names.check_template(template)
    path = filled(
        template,
        name=names.sanitise(name, FALLBACK),
        subject=names.sanitise(owner, "anonymous"),
    )
    steps = path.split("/")
    assert len(steps) == template.count("/") + 1
    assert not {"", ".", ".."} & set(steps)
    assert all(len(step.encode()) <= names.MAX_BYTES for step in steps)


def test_the_fields_are_filled_in() -> None:
    """As the documentation has them."""
    assert filled("{subject}/{date}/{id}-{name}", id="ID") == "ann/2026-11-20/ID-a.txt"
    assert filled("{folder}/{name}", folder="x/y") == "x/y/a.txt"
    assert filled("{folder}/{name}") == "a.txt", "a step that is empty is none"


@pytest.mark.parametrize(
    "template",
    [
        *("", "/{name}", "{name}/", "a//{name}", "../{name}", "{name}/x", "{date}"),
        *("{who}/{name}", "{name!s}", "{name:>99999999999}", "{name", "name}", "{name.x}"),
        *(".uploadd/growing/{id}", "x{folder}/{name}", "{folder}{name}"),
    ],
)
def test_a_template_that_cannot_be_is_refused(template: str) -> None:
    """Before the first upload meets it."""
    assert not accepts(names.check_template, template)
