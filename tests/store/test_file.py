"""FileStore: it passes what every store must pass; what only a folder on a disk can do wrong."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.store.kit import publish
from uploadd.errors import StoreError
from uploadd.protocol.extents import NOTHING
from uploadd.store.contract import Publication, Store
from uploadd.store.file import FileStore
from uploadd.testing import check_store

# --- what every store must pass -------------------------------------------------------------


@pytest.mark.parametrize("how", ["files", "filesystem", "written"])
async def test_it_keeps_the_promises_of_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Any
) -> None:
    """The whole of check_store, with clogged and failing ones and crashes."""
    roots = (tmp_path / str(number) for number in count())
    faults: dict[str, int] = {}
    gates: list[threading.Event] = []
    options = {"durable": False} if how == "written" else {"flush": how}

    def failing(verb: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if code := faults.pop(verb, 0):
                raise OSError(code, os.strerror(code))
            if verb == "flush":
                for gate in gates:
                    gate.wait(10)
            return real(*args, **kwargs)

        return call

    for verb, name in (("write", "pwritev"), ("flush", "fdatasync"), ("publish", "link")):
        monkeypatch.setattr(os, name, failing(verb, getattr(os, name)))

    async def make() -> Store:
        return FileStore(str(next(roots)), **options)

    async def make_clogged() -> tuple[Store, Callable[[], object]]:
        gates.append(gate := threading.Event())
        return await make(), gate.set

    async def make_failing() -> tuple[Store, Callable[[str, int], object]]:
        return await make(), faults.__setitem__

    async def reopen(store: Store) -> Store:
        assert isinstance(store, FileStore)
        root = os.readlink(f"/proc/self/fd/{store._root}")
        await store.aclose()  # flushes nothing
        return FileStore(root, **options)

    if how == "files":
        await check_store(make, make_clogged, make_failing, reopen=reopen)
    else:  # the injected faults are those of fdatasync
        await check_store(make, reopen=reopen)


# --- opening the folder ---------------------------------------------------------------------

_OPEN = """
import sys, trio
from tests.store.kit import publish, told
from uploadd.errors import NotWritable
from uploadd.store.file import FileStore
async def main():
    try:
        FileStore(sys.argv[1])
    except NotWritable as error:
        print(error, "|", error.hint)
trio.run(main)
"""


@pytest.mark.parametrize("mount", ["mount -t tmpfs none {0}", "mount --bind {1} {0}"])
@pytest.mark.parametrize("at", [".uploadd", ".uploadd/growing"])
def test_another_mount_for_unfinished_uploads_is_refused(root: Path, mount: str, at: str) -> None:
    """Also when it is the same file system, bound there: a link cannot cross it."""
    (root / ".uploadd/growing").mkdir(parents=True)
    (root / "elsewhere/growing").mkdir(parents=True)
    command = mount.format(root / at, root / "elsewhere")
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    if subprocess.run([*alone, command], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    script = f'{command}; exec "$@"'
    arguments = [*alone, script, "sh", sys.executable, "-c", _OPEN, str(root)]
    here = Path(__file__).parents[2]
    told = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=here).stdout
    assert told.startswith("the folder for unfinished uploads lies on another mount | unmount")


async def test_its_own_folder_is_private_and_new_ones_are_durable(
    tmp_path: Path, syncs: list[str]
) -> None:
    """Others on the machine do not read unfinished uploads, nor the ledger beside them."""
    store = FileStore(str(tmp_path / "a/b"))
    await store.aclose()
    for name in (".uploadd", ".uploadd/growing"):
        assert stat.S_IMODE((tmp_path / "a/b" / name).stat().st_mode) == 0o700
    made = (".", "a", "a/b", "a/b/.uploadd", "a/b/.uploadd/growing")
    assert {str((tmp_path / name).resolve()) for name in made} <= set(syncs)


async def test_nothing_stays_open(root: Path) -> None:
    """Every descriptor is given back in the end."""
    before = set(os.listdir("/proc/self/fd"))
    store = FileStore(str(root))
    await publish(store, "a", "a")
    await store.write("b", 0, [b"open"])
    await store.write("c", 0, [b"open"], whole=True)
    await store.aclose()
    assert set(os.listdir("/proc/self/fd")) == before


# --- links and other traps ------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
async def test_a_link_planted_in_growing_is_not_followed(root: Path, whole: bool) -> None:
    """Neither to write nor to cut back nor to publish what it points to."""
    store = FileStore(str(root))
    target = root.parent / "target"
    target.write_bytes(b"precious")
    (root / ".uploadd/growing/a").symlink_to(target)
    if whole:  # it is written when it is flushed
        await store.write("a", 0, [b"evil"], whole=True)
        assert isinstance((await store.flush(["a"]))["a"], StoreError)
    else:
        with pytest.raises(StoreError):
            await store.write("a", 0, [b"evil"])
        assert not await store.flush(["a"])
    with pytest.raises(StoreError):
        await store.read("a", 0, 4)
    with pytest.raises(StoreError):
        await store.rewind("a", NOTHING)
    with pytest.raises(StoreError):
        await store.recover({"a": NOTHING})
    assert isinstance((await store.publish([Publication("a", "a")]))["a"], StoreError)
    assert target.read_bytes() == b"precious"
    assert not (root / "a").exists()
    await store.remove(["a"])
    assert target.read_bytes() == b"precious"
    await store.aclose()


# --- what is written ------------------------------------------------------------------------


@pytest.fixture
def umask() -> Iterator[None]:
    """The strictest, which is not the daemon's business."""
    before = os.umask(0o777)
    yield
    os.umask(before)


@pytest.mark.parametrize("whole", [False, True])
async def test_published_files_have_the_mode_that_was_configured(
    root: Path, umask: None, whole: bool
) -> None:
    """Whatever the umask is."""
    root.mkdir()
    root.chmod(0o755)
    for name in (".uploadd", ".uploadd/growing"):
        (root / name).mkdir()
        (root / name).chmod(0o700)
    store = FileStore(str(root), mode=0o640)
    await store.write("a", 0, [b"data"], whole=whole)
    await store.flush(["a"], {"a"})
    await store.publish([Publication("a", "a")])
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o640
    await store.aclose()


# --- what is synced -------------------------------------------------------------------------


async def test_the_name_of_an_unfinished_upload_is_durable_before_its_bytes_are_told(
    root: Path, syncs: list[str]
) -> None:
    """Once; and again for what was nameless and gets a name."""
    store = FileStore(str(root))
    growing = str(root / ".uploadd/growing")
    for id, whole in (("a", False), ("b", True)):
        syncs.clear()
        await store.write(id, 0, [b"data"], whole=whole)
        await store.flush([id])
        assert syncs[-1] == growing
        syncs.clear()
        await store.write(id, 4, [b"more"])
        await store.flush([id])
        assert len(syncs) == 1
        assert growing not in syncs
    await store.aclose()


async def test_written_means_that_nothing_is_synced(root: Path, syncs: list[str]) -> None:
    """With durable=False, from the first byte to the removal."""
    store = FileStore(str(root), durable=False)
    syncs.clear()
    published = await publish(store, "a", "d/a")
    await store.remove(["a"])
    await store.unpublish(published, 4)
    assert syncs == []
    await store.aclose()


async def test_room_is_what_is_free_above_the_reserve(root: Path) -> None:
    """Never less than nothing."""
    free = os.statvfs(root.parent)
    store = FileStore(str(root), min_free=free.f_bavail * free.f_frsize * 2)
    assert await store.room() == 0
    await store.aclose()
