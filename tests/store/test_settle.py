"""Names on disk: what they may not replace or follow, and when they are durable."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.store.kit import publish
from uploadd.errors import NotFound, NotWritable
from uploadd.protocol.upload import Published
from uploadd.store import disk, identity
from uploadd.store.contract import MediumFailed, Publication
from uploadd.store.file import FileStore


@pytest.mark.parametrize("what", ["link", "file"])
async def test_what_is_no_folder_is_not_taken_for_one(root: Path, what: str) -> None:
    """A link would lead out of the root; the file lies in the root then, with its id."""
    store = FileStore(str(root))
    outside = root.parent / "outside"
    outside.mkdir()
    (root / "d").symlink_to(outside) if what == "link" else (root / "d").write_bytes(b"was here")
    assert (await publish(store, "ID", "d/e/x.txt")).path == "x-ID.txt"
    assert (root / "x-ID.txt").read_bytes() == b"data"
    assert not list(outside.iterdir())
    assert what == "link" or (root / "d").read_bytes() == b"was here"
    await store.aclose()


async def test_what_lies_under_the_final_name_stays(root: Path) -> None:
    """A file, a folder, a link to nowhere: the next free name is taken."""
    store = FileStore(str(root))
    (root / "x.txt").write_bytes(b"was here")
    (root / "x-2.txt").mkdir()
    (root / "x-3.txt").symlink_to(root.parent / "nowhere")
    published = await publish(store, "a", "x.txt")
    assert published.path == "x-4.txt"
    assert (root / "x.txt").read_bytes() == b"was here"
    assert not (root.parent / "nowhere").exists()
    await store.aclose()


async def test_after_100_clashes_the_id_is_in_the_name(root: Path) -> None:
    """There is always a free name."""
    store = FileStore(str(root))
    for name in ("x.txt", *(f"x-{number}.txt" for number in range(2, 101))):
        (root / name).touch()
    assert (await publish(store, "the-id", "x.txt")).path == "x-the-id.txt"
    await store.aclose()


@pytest.mark.parametrize("instead", ["other", "longer", "fifo", "folder", "link", "nothing"])
async def test_a_published_file_that_was_changed_is_not_served(root: Path, instead: str) -> None:
    """Nor removed: it is not the one that was published."""
    store = FileStore(str(root))
    published = await publish(store, "a", "a")
    file = root / "a"
    aside = file.rename(root / "aside")
    match instead:
        case "other":
            file.write_bytes(b"data")
        case "longer":
            aside.rename(file).write_bytes(b"longer")
        case "fifo":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case "link":
            file.symlink_to(aside)
    with pytest.raises(NotFound):
        await store.open_published(published, 4)
    await store.unpublish(published, 4)
    assert os.path.lexists(file) == (instead != "nothing")
    await store.aclose()


@pytest.mark.parametrize("by", ["the daemon", "somebody"])
async def test_a_later_file_with_its_inode_is_not_taken_for_it(root: Path, by: str) -> None:
    """Many file systems use a number again at once: neither served nor removed is the other one."""
    store = FileStore(str(root))
    for number in range(20):
        first, second = await publish(store, f"a{number}", "x", b"1111"), None
        await store.remove([f"a{number}"])
        (root / "x").unlink()
        if by == "the daemon":
            second = await publish(store, f"b{number}", "x", b"2222")
        else:
            (root / "x").write_bytes(b"2222")
        with pytest.raises(NotFound):
            await store.open_published(first, 4)
        await store.unpublish(first, 4)
        assert (root / "x").read_bytes() == b"2222"
        if second is not None:
            os.close(await store.open_published(second, 4))
        await store.remove([f"b{number}"])
        (root / "x").unlink()
    await store.aclose()


async def test_a_later_file_with_the_inode_of_what_vanished_was_not_published(root: Path) -> None:
    """A nameless file is gone after a crash, and its number is free for anybody's."""
    for _ in range(20):
        store = FileStore(str(root))
        await store.write("a", 0, [b"data"], whole=True)
        await store.flush(["a"], {"a"})
        intended = await store.identities(["a"])
        await store.aclose()
        (root / "x").write_bytes(b"mine")
        store = FileStore(str(root))
        assert await store.settle([Publication("a", "x")], intended) == {"a": None}
        await store.aclose()
        (root / "x").unlink()


@pytest.mark.parametrize("known", ["handle", "birth", "inode"])
async def test_what_an_operator_may_do_to_a_file_leaves_it_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    """Mode, times, more links, another name for a while; whatever the file system can tell."""
    if known != "handle":
        monkeypatch.setattr(identity, "_handle", lambda *_: None)
    if known == "inode":
        monkeypatch.setattr(identity, "_birth", lambda *_: None)
    store = FileStore(str(root))
    published = await publish(store, "a", "x")
    await store.remove(["a"])
    (root / "x").chmod(0o640)
    os.utime(root / "x", (1, 1))
    os.link(root / "x", root / "second")
    (root / "x").rename(root / "aside").rename(root / "x")
    await store.aclose()
    if known == "birth":
        monkeypatch.undo()  # another kernel, which could tell more
    store = FileStore(str(root))
    os.close(await store.open_published(published, 4))
    await store.unpublish(published, 4)
    assert not (root / "x").exists()
    await store.aclose()


async def test_new_folders_of_a_template_are_made_durable(root: Path, syncs: list[str]) -> None:
    """Each with its name in the folder above, up to the root; then no more than needed."""
    store = FileStore(str(root))
    await store.write("a", 0, [b"data"])
    await store.write("b", 0, [b"data"])
    await store.flush(["a", "b"])
    syncs.clear()
    await store.publish([Publication("a", "2026/11/x"), Publication("b", "2026/11/x")])
    assert sorted(syncs) == [str(root), str(root / "2026"), str(root / "2026/11")]
    syncs.clear()
    await store.publish([Publication("a", "2026/11/x")])
    assert syncs == [str(root / "2026/11")]
    await store.aclose()


async def test_a_folder_that_was_removed_is_made_durable_again(
    root: Path, syncs: list[str]
) -> None:
    """Somebody cleans up empty folders: the new one has a new name to be synced."""
    store = FileStore(str(root))
    await publish(store, "a", "2026/11/x")
    shutil.rmtree(root / "2026")
    syncs.clear()
    await publish(store, "b", "2026/11/y")
    assert {str(root), str(root / "2026"), str(root / "2026/11")} <= set(syncs)
    await store.aclose()


async def test_a_folder_that_goes_just_before_the_name_concerns_that_upload_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cleans up empty folders may come in between: nobody else notices."""
    store = FileStore(str(root))
    for id in ("a", "b"):
        await store.write(id, 0, [b"data"])
    await store.flush(["a", "b"])
    link = disk.link_open_file

    def late(fd: int, path: str, folder: int) -> None:
        if path.startswith("2026"):
            shutil.rmtree(root / "2026")
        link(fd, path, folder)

    monkeypatch.setattr(disk, "link_open_file", late)
    answer = await store.publish([Publication("a", "2026/x"), Publication("b", "x")])
    assert isinstance(answer["a"], NotWritable)
    assert isinstance(answer["b"], Published)
    monkeypatch.undo()
    assert (await publish(store, "a", "2026/x")).path == "2026/x"
    await store.aclose()


async def test_a_file_that_two_remove_is_removed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one has nothing left to do."""
    store = FileStore(str(root))
    published = await publish(store, "a", "a")
    is_at = identity.is_at

    def and_then(*asked: Any) -> bool:
        found = is_at(*asked)
        (root / "a").unlink()
        return found

    monkeypatch.setattr(identity, "is_at", and_then)
    await store.unpublish(published, 4)
    assert not (root / "a").exists()
    await store.aclose()


async def test_a_folder_that_cannot_be_synced_is_the_end(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that may not be durable concerns all: MediumFailed.  It tells why, and no name."""
    store = FileStore(str(root))
    await publish(store, "a", "a")
    await store.write("b", 0, [b"data"])

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MediumFailed):
        await store.flush(["b"])
    with pytest.raises(MediumFailed):
        await store.publish([Publication("a", "a")])
    with pytest.raises(MediumFailed, match=r"the names of files durable: no$"):
        await store.publish([Publication("b", "Mr X/diagnosis.pdf")])
    with pytest.raises(MediumFailed):
        await store.unpublish(Published("a", (root / "a").stat().st_ino), 4)
    await store.aclose()
