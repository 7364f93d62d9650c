"""The Autobahn suite, which knows RFC 6455 and nothing of us, at our door.

Its fuzzing client speaks Python 2.7.  It is installed once, from the package index, into a folder
that git ignores; where that cannot be done, this is skipped and says why.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import trio

from tests.e2e.echo_door import PATH, EchoDoor
from uploadd.protocol.frames import PROTOCOL_ERROR
from uploadd.protocol.upgrade import SUBPROTOCOL

pytestmark = pytest.mark.long

VERSION: Final = "25.10.1"
PEERS: Final = Path(__file__).parents[1] / ".peers"
AGENT: Final = "uploadd"
INSTALL_SECONDS, SUITE_SECONDS, END_SECONDS = 600, 300, 10

# Framing, pings, reserved bits, opcodes, fragments, UTF-8, closing, and what they call misc.
# Left out are 9 (size and speed; our benchmarks measure that, and messages in thousands of tiny
# fragments are refused on purpose), 12 and 13 (compression, which is never agreed on).
CASES: Final = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
COUNT: Final = 247

# The suite hangs up after a second, and we would have after two.
OUTWAITED: Final = {"7.3.6": "a Close of 126 bytes is refused, and a legal one waited for"}

# Where the RFC leaves open what happens.
INFORMATIONAL: Final = {
    "7.1.6": "a Close behind 256 KiB: nothing says how much of the echo must still come",
    "7.13.1": "a close code that nobody has defined, 5000",
    "7.13.2": "a close code that nobody has defined, 65535",
}


class Verdict(NamedTuple):
    """What the suite says of one case."""

    behavior: str
    close: str
    code: int | None
    """With which we closed; None when we said no Close."""
    wanted: list[int]
    """With which the suite wants it."""
    why: str


class Run(NamedTuple):
    """The suite has run."""

    verdicts: dict[str, Verdict]
    door: EchoDoor
    said: str


# --- the suite ------------------------------------------------------------------------------------


def find_python() -> str | None:
    """A Python 2.7: on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    on_path = shutil.which("python2.7")
    found = [on_path] if on_path else []
    found += [str(path) for path in sorted(pyenv.glob("versions/2.7.*/bin/python"))]
    check = "import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))"
    for python in found:
        if subprocess.run([python, "-c", check], capture_output=True).returncode == 0:
            return python
    return None


def environment(**more: str) -> dict[str, str]:
    """Ours, without what is meant for the Python that runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | more


def install(python: str) -> Path:
    """The suite in an environment of its own; its Python.  Raises CalledProcessError."""
    folder = PEERS / f"autobahn-{VERSION}"
    inside, ready = folder / "bin" / "python", folder / ".ready"
    if ready.exists():
        return inside

    def call(*words: str, **more: str) -> None:
        subprocess.run(
            words,
            check=True,
            env=environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
        )

    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as tools:  # 20.22 no longer makes one for 2.7
        call(python, "-m", "pip", "install", "--target", tools, "virtualenv<20.22")
        call(python, "-m", "virtualenv", str(folder), PYTHONPATH=tools)
    call(str(inside), "-m", "pip", "install", f"autobahntestsuite=={VERSION}")
    ready.touch()
    return inside


@pytest.fixture(scope="module")
def suite() -> Path:
    """The Python in which the suite is installed."""
    python = find_python()
    if python is None:
        pytest.skip("no Python 2.7 with pip, which the Autobahn suite needs (pyenv install 2.7.18)")
    try:
        return install(python)
    except subprocess.CalledProcessError as error:
        last = (error.stdout.strip().splitlines() or ["it said nothing"])[-1]
        pytest.skip(f"autobahntestsuite {VERSION} cannot be installed: {last}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"autobahntestsuite {VERSION} was not installed in {INSTALL_SECONDS} s")


def specification(port: int, reports: Path) -> dict[str, Any]:
    """What the fuzzing client is told to do."""
    url = f"ws://127.0.0.1:{port}{PATH}"
    server = {"agent": AGENT, "url": url, "protocols": [SUBPROTOCOL]}
    return {
        "outdir": str(reports),
        "servers": [server],
        "cases": CASES,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }


async def fuzz(suite: Path, folder: Path) -> tuple[EchoDoor, str]:
    """Run the suite at a door, and wait until every conversation has ended; what it said."""
    door, spec = EchoDoor(), folder / "spec.json"
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    spec.write_text(json.dumps(specification(port, folder / "reports")))
    wstest = [str(suite), "-m", "autobahntestsuite.wstest", "-m", "fuzzingclient", "-s", str(spec)]
    async with trio.open_nursery() as conversations:
        async with trio.open_nursery() as listening:
            serve = functools.partial(trio.serve_listeners, handler_nursery=conversations)
            await listening.start(serve, door.serve, [listener])
            with trio.fail_after(SUITE_SECONDS):
                ended = await trio.run_process(
                    wstest,
                    capture_stdout=True,
                    stderr=subprocess.STDOUT,
                    env=environment(),
                    cwd=folder,
                )
            listening.cancel_scope.cancel()
        conversations.cancel_scope.deadline = trio.current_time() + END_SECONDS
    assert not conversations.cancel_scope.cancelled_caught, "a conversation did not end"
    return door, ended.stdout.decode(errors="replace")


def read_verdicts(reports: Path) -> dict[str, Verdict]:
    """What the suite has written, by the names of the cases, in their order."""
    index = json.loads((reports / "index.json").read_text())[AGENT]
    verdicts = {}
    for name in sorted(index, key=lambda name: [int(part) for part in name.split(".")]):
        short = index[name]
        case = json.loads((reports / short["reportfile"]).read_text())
        verdicts[name] = Verdict(
            behavior=short["behavior"],
            close=short["behaviorClose"],
            code=short["remoteCloseCode"],
            wanted=case["expectedClose"]["closeCode"],
            why=f"{case['description']} {case['result']} {case['resultClose']}",
        )
    return verdicts


@pytest.fixture(scope="module")
def run(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of the whole suite."""
    folder = tmp_path_factory.mktemp("autobahn")
    door, said = trio.run(fuzz, suite, folder)
    return Run(read_verdicts(folder / "reports"), door, said)


# --- what it finds --------------------------------------------------------------------------------


def test_every_case_ran_at_our_door(run: Run) -> None:
    """Each over a connection of its own; otherwise nothing below means anything."""
    assert len(run.verdicts) == COUNT, run.said
    assert run.door.connections == COUNT


def test_nothing_that_it_does_is_an_error_of_ours(run: Run) -> None:
    """Every conversation has ended as it should, and no byte is charged for any longer."""
    assert run.door.failures == []
    assert run.door.budget.used == 0


def test_no_case_fails(run: Run) -> None:
    """All is strictly right but what the RFC leaves open."""
    expected = dict.fromkeys(INFORMATIONAL, "INFORMATIONAL")
    for name, said in run.verdicts.items():
        assert said.behavior in ("OK", expected.get(name)), (name, said)


def test_every_connection_is_closed_as_the_suite_wants_it(run: Run) -> None:
    """By the right side, with the right code, and after the other's Close."""
    expected = dict.fromkeys(OUTWAITED, "FAILED BY CLIENT")
    expected |= dict.fromkeys(INFORMATIONAL, "INFORMATIONAL")
    for name, said in run.verdicts.items():
        assert said.close in ("OK", expected.get(name)), (name, said)


def test_what_is_refused_is_told_why(run: Run) -> None:
    """Also where the suite would be content with a connection that just ends."""
    for name in OUTWAITED:
        assert run.verdicts[name].code == PROTOCOL_ERROR, (name, run.verdicts[name])
