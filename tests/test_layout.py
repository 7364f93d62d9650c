"""The layout: imports point inward, ring 0 is pure, and no wire leaks into another room.

Every check is a function over ``{module name: source}`` that returns what it found, so that it
can be shown a planted violation; the last tests do that.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = 300  # of the longest module
LONGER = {"uploadd.web.put": 350}  # has to be one file, which needs nothing else

# A room is the first name below uploadd: uploadd/serve/ws.py stands in the room "serve".
# From a room one may import the same ring and every one above it in this list.
RINGS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("protocol",),
    (
        *("store", "ledger", "latest", "unread", "watch", "hooks", "auth", "systemd", "metrics"),
        *("allocator", "budget", "rows", "database", "archive", "tally", "lines", "outbox", "ages"),
        *("quota", "pacing", "measures", "threads"),
    ),
    (
        "commit",
        "work",
        "claim",
        "claims",
        "digests",
        "endings",
        "uploads",
        "refusals",
        "recovery",
        "naming",
    ),
    ("intake", "assembling"),
    ("serve",),
    ("listening", "ports", "standing", "control", "verifying", "expiring"),
    ("reloading", "folder", "tls"),
    ("permissions",),
    ("parts", "chores", "seeing"),
    ("opened",),
    ("daemon",),
    ("doctor",),
    ("commands",),
    ("cli", "__main__"),
)
# Rooms beside the rings, and what those may import.
ASIDE: dict[str, tuple[str, ...]] = {
    "settings": ("errors", "protocol"),
    "config": ("errors", "protocol", "settings"),
    "gathering": ("config", "settings"),
    "client": ("errors", "protocol", "allocator", "latest"),
    "web": (),  # put.py is sent to hosts that have nothing of ours
    "testing": tuple(room for ring in RINGS[:5] for room in ring),
}
# Who may import a room that stands aside; everybody else may not.
OPEN: dict[str, tuple[str, ...]] = {
    "reloading": ("config", "settings"),
    "permissions": ("config", "settings"),
    "parts": ("config", "settings"),
    "opened": ("config", "settings"),
    "daemon": ("config", "settings"),
    "doctor": ("config", "settings"),
    "commands": ("config", "settings", "gathering"),
    "cli": ("config", "settings", "client"),
}
PURE = ("errors", "protocol", "settings", "config")

_IMPURE_MODULES = (
    "trio socket ssl time os pathlib logging random secrets threading sqlite3"
    " asyncio anyio concurrent fcntl mmap multiprocessing queue select selectors shutil signal"
    " subprocess tempfile trio_websocket uuid"
)
_IMPURE_CALLS = "open print input exec eval __import__ breakpoint"
# "server", "date", "link" and the like are left out: they are words before they are headers.
_HEADERS = (
    "accept accept-encoding accept-patch accept-ranges access-control-allow-headers"
    " access-control-allow-methods access-control-allow-origin access-control-expose-headers"
    " access-control-max-age access-control-request-headers access-control-request-method"
    " authorization cache-control connection content-digest content-disposition content-encoding"
    " content-length content-range content-security-policy content-type cookie"
    " cross-origin-resource-policy etag expect host if-match if-modified-since if-none-match"
    " if-range if-unmodified-since keep-alive last-modified location origin range"
    " referrer-policy repr-digest retry-after sec-fetch-site sec-websocket-accept"
    " sec-websocket-extensions sec-websocket-key sec-websocket-protocol sec-websocket-version"
    " set-cookie tus-checksum-algorithm tus-extension tus-max-size tus-resumable tus-version"
    " transfer-encoding upgrade upload-checksum upload-complete upload-concat"
    " upload-defer-length upload-draft-interop-version upload-expires upload-length upload-limit"
    " upload-metadata upload-offset user-agent vary want-repr-digest www-authenticate"
    " x-content-type-options x-forwarded-for x-forwarded-proto x-request-id"
)
IMPURE_MODULES = frozenset(_IMPURE_MODULES.split())
IMPURE_CALLS = frozenset(_IMPURE_CALLS.split())
HEADERS = frozenset(_HEADERS.split())

Sources = Mapping[str, str]


def room(module: str) -> str:
    """The room of *module*; empty for the package itself, which everybody may import."""
    return module.split(".")[1] if "." in module else ""


def allowed() -> dict[str, frozenset[str]]:
    """For each room the rooms that it may import from."""
    may: dict[str, frozenset[str]] = {}
    inward: frozenset[str] = frozenset()
    for ring in RINGS:
        inward |= frozenset(ring)
        for name in ring:
            may[name] = inward | frozenset(OPEN.get(name, ()))
    for name, rooms in ASIDE.items():
        may[name] = frozenset((name, *rooms))
    return may


# --- the checks ---------------------------------------------------------------------------------


def imported(module: str, source: str, known: Sources) -> Iterator[str]:
    """The modules that *module* imports, at any depth of it; its own in their full names."""
    package = module.split(".") if is_package(module, known) else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                below = f"{base}.{alias.name}"
                yield below if below in known else base


def is_package(module: str, known: Sources) -> bool:
    """Whether other modules lie below *module*."""
    return any(other.startswith(f"{module}.") for other in known) or module == "uploadd"


def graph(known: Sources) -> dict[str, set[str]]:
    """Each module with those of ours that it imports."""
    return {
        module: {name for name in imported(module, source, known) if name in known}
        for module, source in known.items()
    }


def homeless(known: Sources) -> list[str]:
    """Modules that nobody has given a ring."""
    rooms = allowed()
    return [
        f"{module} has no ring: give its room {room(module)!r} one in RINGS or ASIDE of "
        "tests/test_layout.py"
        for module in known
        if room(module) and room(module) not in rooms
    ]


def outward(known: Sources) -> list[str]:
    """Imports that do not point inward."""
    rooms = allowed()
    return [
        f"{module} ({room(module)}) imports {target}"
        for module, targets in graph(known).items()
        for target in sorted(targets)
        if {room(module), room(target)} <= rooms.keys()  # of homeless ones nothing can be said
        and room(target) not in rooms[room(module)]
    ]


def cycle(known: Sources) -> list[str]:
    """The modules of one cycle of imports, or nothing."""
    try:
        TopologicalSorter(graph(known)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def impure(known: Sources) -> list[str]:
    """What ring 0 may not have: the outside world, and waiting for it."""
    found = []
    for module, source in known.items():
        if room(module) not in PURE:
            continue
        for name in imported(module, source, known):
            if name.split(".")[0] in IMPURE_MODULES:
                found.append(f"{module} imports {name}")
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                    found.append(f"{module}:{node.lineno} calls {name}")
                case ast.comprehension(is_async=1) | ast.Await() | ast.AsyncFunctionDef():
                    found.append(f"{module} waits: {type(node).__name__}")
                case ast.AsyncFor() | ast.AsyncWith():
                    found.append(f"{module} waits: {type(node).__name__}")
    return found


def long(known: Sources) -> list[str]:
    """Modules that outgrew their limit: ask which noun is missing."""
    lengths = ((module, len(source.splitlines())) for module, source in known.items())
    return [
        f"{module} has {count} lines"
        for module, count in lengths
        if count > LONGER.get(module, LINES)
    ]


def headers(known: Sources) -> list[str]:
    """String and bytes literals of ``serve`` that are names of header fields."""
    found = []
    for module, source in known.items():
        if room(module) != "serve":
            continue
        for node in ast.walk(ast.parse(source)):
            value = node.value if isinstance(node, ast.Constant) else None
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if isinstance(text, str) and text.lower() in HEADERS:
                found.append(f"{module}:{getattr(node, 'lineno', 0)} says {text!r}")
    return found


# --- the tree as it is --------------------------------------------------------------------------


def sources() -> dict[str, str]:
    """Every module of uploadd, by its dotted name."""
    found = {}
    for path in sorted((ROOT / "uploadd").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text()
    return found


@pytest.fixture(scope="module")
def tree() -> dict[str, str]:
    """The sources, which must be there for the rest to mean anything."""
    found = sources()
    assert {"uploadd", "uploadd.errors", "uploadd.config"} <= set(found)
    return found


def test_every_module_has_a_ring(tree: dict[str, str]) -> None:
    """A new room is given its place before it is furnished."""
    assert homeless(tree) == []


def test_imports_point_inward(tree: dict[str, str]) -> None:
    """No module knows who uses it."""
    assert outward(tree) == []


def test_there_is_no_cycle_of_imports(tree: dict[str, str]) -> None:
    """Also not inside one ring, nor under TYPE_CHECKING."""
    assert cycle(tree) == []


def test_ring_0_is_pure(tree: dict[str, str]) -> None:
    """What bytes mean needs no clock, no file, no socket, no chance, and waits for nothing."""
    assert impure(tree) == []


def test_no_module_is_longer_than_300_lines(tree: dict[str, str]) -> None:
    """A longer one lacks a noun."""
    assert long(tree) == []


def test_serve_names_no_header(tree: dict[str, str]) -> None:
    """How a thing is said on the wire is for ``protocol`` to know."""
    assert headers(tree) == []


def test_no_room_stands_twice() -> None:
    """Each room has one ring, and what is written about rooms names rooms that there are."""
    rooms = [name for ring in RINGS for name in ring] + list(ASIDE)
    assert len(rooms) == len(set(rooms))
    named = {name for names in (*ASIDE.values(), *OPEN.values(), OPEN, PURE) for name in names}
    assert named <= set(rooms)


# --- and the checks, shown what they are for ----------------------------------------------------

GOOD = {
    "uploadd": "__version__ = '1'",
    "uploadd.errors": "import enum",
    "uploadd.protocol": "",
    "uploadd.protocol.ws": '"""Never await."""\nfrom uploadd import errors as e\nimport zlib',
    "uploadd.latest": "import trio",
    "uploadd.store": "from uploadd.store.file import FileStore",
    "uploadd.store.contract": "import os\nfrom ..errors import UploadError",
    "uploadd.store.file": "from . import contract",
    "uploadd.serve.ws": "from uploadd import __version__, store\nimport uploadd.protocol.ws",
    "uploadd.settings": "import re",
    "uploadd.config": "from uploadd.settings import Config",
    "uploadd.client.put": "from uploadd.latest import Latest\nfrom uploadd.protocol import ws",
    "uploadd.daemon": "from uploadd.serve import ws\nfrom uploadd.config import Config",
    "uploadd.cli": "def main():\n    from uploadd import client, config, daemon",
    "uploadd.testing": "from uploadd.store import contract",
}


def test_a_good_tree_is_found_good() -> None:
    """No check sees a violation where there is none."""
    for check in (homeless, outward, cycle, impure, long, headers):
        assert check(GOOD) == [], check.__name__


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        ("uploadd.errors", "from uploadd.protocol import ws", "uploadd.protocol.ws"),
        ("uploadd.protocol.ws", "import uploadd.latest", "uploadd.latest"),
        ("uploadd.protocol.ws", "from .. import latest", "uploadd.latest"),
        ("uploadd.protocol", "from ..latest import Latest", "uploadd.latest"),
        ("uploadd.store.file", "def f():\n from uploadd.serve import ws", "uploadd.serve.ws"),
        ("uploadd.latest", "if 1:\n import uploadd.serve.ws as x", "uploadd.serve.ws"),
        ("uploadd.serve.ws", "from uploadd.daemon import run", "uploadd.daemon"),
        ("uploadd.serve.ws", "from uploadd.config import Config", "uploadd.config"),
        ("uploadd.serve.ws", "from uploadd.settings import Limits", "uploadd.settings"),
        ("uploadd.serve.ws", "from uploadd.client import put", "uploadd.client.put"),
        ("uploadd.config", "import uploadd.daemon", "uploadd.daemon"),
        ("uploadd.client.put", "from uploadd import store", "uploadd.store"),
        ("uploadd.client.put", "from uploadd.testing import x", "uploadd.testing"),
        ("uploadd.daemon", "from uploadd.client.put import put", "uploadd.client.put"),
        ("uploadd.daemon", "import uploadd.cli", "uploadd.cli"),
        ("uploadd.testing", "from uploadd.serve.ws import x", "uploadd.serve.ws"),
        ("uploadd.cli", "from uploadd import testing", "uploadd.testing"),
    ],
)
def test_an_import_that_points_outward_is_found(module: str, source: str, target: str) -> None:
    """In every way to write it, and nothing but it."""
    assert outward(GOOD | {module: source}) == [f"{module} ({room(module)}) imports {target}"]


@pytest.mark.parametrize("module", ["uploadd.cellar", "uploadd.cellar.wine"])
def test_a_module_without_a_ring_is_told_to_get_one(module: str) -> None:
    """The message says where, and its imports are nobody's business until then."""
    known = GOOD | {module: "import uploadd.cli", "uploadd.errors": f"import {module}"}
    assert outward(known) == []
    [message] = homeless(known)
    assert message.startswith(f"{module} has no ring: give its room 'cellar' one in RINGS")


@pytest.mark.parametrize(
    "planted",
    [
        {"uploadd.ledger": "import uploadd.latest", "uploadd.latest": "import uploadd.ledger"},
        {"uploadd.store.contract": "from uploadd.store import FileStore"},
        {"uploadd.protocol.ws": "from . import a", "uploadd.protocol.a": "from .ws import b"},
    ],
)
def test_a_cycle_is_found(planted: dict[str, str]) -> None:
    """Inside one ring, where the direction of imports says nothing."""
    found = cycle(GOOD | planted)
    assert found[0] == found[-1]
    assert set(planted) <= set(found)


@pytest.mark.parametrize("module", ["uploadd.errors", "uploadd.protocol.ws", "uploadd.config"])
@pytest.mark.parametrize(
    "source",
    [
        *["import trio", "import os.path", "from time import monotonic", "from socket import *"],
        *["def f():\n import logging as log", "import zlib, sqlite3", "x = open('f')"],
        *["async def f(): pass", "x = lambda: print(1)", "__import__('os')"],
    ],
)
def test_what_is_not_pure_is_found(module: str, source: str) -> None:
    """Modules of the outside world, calls of it, and coroutines."""
    [found] = impure(GOOD | {module: source})
    assert found.startswith(module)
    assert impure(GOOD | {"uploadd.latest": source}) == []


def test_awaiting_in_every_form_is_found() -> None:
    """Await, async for, async with and asynchronous comprehensions; the function counts too."""
    for body in ("await x", "async for y in x: z", "async with x: z", "[y async for y in x]"):
        source = f"async def f():\n    {body}"
        assert len(impure({"uploadd.protocol.ws": source})) == 2, body


def test_a_long_module_is_found() -> None:
    """300 lines are allowed, 301 are not."""
    assert long({"uploadd.cli": "x\n" * 300}) == []
    assert long({"uploadd.cli": "x\n" * 301}) == ["uploadd.cli has 301 lines"]


@pytest.mark.parametrize("literal", ["'Content-Length'", "b'upload-offset'", "'ETAG'", "f'{x}'"])
def test_a_header_name_in_serve_is_found(literal: str) -> None:
    """As text and bytes, in any case of letters; and only in ``serve``, and only whole."""
    source = f'"""Content-Length."""\nx = {literal}\ny = "length"'
    expected = [] if "{" in literal else [f"uploadd.serve.tus:2 says {literal.strip('b')}"]
    assert headers(GOOD | {"uploadd.serve.tus": source}) == expected
    assert headers(GOOD | {"uploadd.protocol.tus": source}) == []
