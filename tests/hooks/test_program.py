"""A hook that is a program: real ones, that behave and that do not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from uploadd.errors import HookFailed
from uploadd.hooks.program import run
from uploadd.protocol.hooks import MAX_ANSWER


def python(code: str) -> list[str]:
    """A program."""
    return [sys.executable, "-c", code]


async def test_it_gets_the_document_and_answers() -> None:
    """Of any size: both directions at once."""
    body = b"x" * 1_000_000
    program = python(
        "import sys; d = sys.stdin.buffer.read(); sys.stdout.write(str(len(d)) * 1000)"
    )
    assert await run(program, body, {}) == b"1000000" * 1000


async def test_its_environment_tells_of_the_upload_and_of_nothing_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Secrets and sockets of systemd's stay here."""
    monkeypatch.setenv("UPLOADD_HOOK__A__SECRET", "whsec_")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    program = python("import os, json; print(json.dumps(dict(os.environ)))")
    said = (await run(program, b"", {"TUS_ID": "a", "TUS_SIZE": "5"})).decode()
    assert '"TUS_ID": "a"' in said
    assert "whsec_" not in said
    assert "NOTIFY_SOCKET" not in said


async def test_arguments_are_no_words_of_a_shell(tmp_path: Path) -> None:
    """Whatever stands in them."""
    program = [*python("import sys; print(sys.argv[1])"), f"$(touch {tmp_path}/x); a"]
    assert (await run(program, b"", {})).decode().strip() == program[-1]
    assert not os.listdir(tmp_path)


async def test_whoever_does_not_read_the_document_may_answer() -> None:
    """It is no mistake."""
    assert await run(["/bin/echo", "{}"], b"x" * 1_000_000, {}) == b"{}\n"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys; sys.stderr.write('no such album'); sys.exit(3)", "with 3: no such album"),
        ("import os; os.kill(os.getpid(), 9)", "with -9"),
        (f"print('x' * {MAX_ANSWER + 1})", "said more than"),
    ],
)
async def test_a_program_that_fails_is_told_with_what_it_complained_of(
    code: str, told: str
) -> None:
    """So is one that says too much."""
    with pytest.raises(HookFailed, match=told):
        await run(python(code), b"", {})


async def test_a_program_that_is_not_there() -> None:
    """Or may not be run."""
    with pytest.raises(HookFailed, match="/no/such cannot be run: No such file"):
        await run(["/no/such"], b"", {})


async def test_what_it_leaves_behind_goes_with_it() -> None:
    """Nor is it waited for: its output is held open by nobody then."""
    code = (
        "import os, time\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    time.sleep(3600)\n"
        "print(child, flush=True)\n"
    )
    with trio.fail_after(20):
        child = int(await run(python(code), b"", {}))
    await gone(child)


async def test_cancelled_it_is_killed_with_all_that_it_has_started(tmp_path: Path) -> None:
    """The whole process group."""
    place = tmp_path / "pids"
    os.mkfifo(place)
    code = (
        "import os, time\n"
        "child = os.fork()\n"
        f"if child: open({str(place)!r}, 'w').write(f'{{os.getpid()}} {{child}}')\n"
        "time.sleep(3600)\n"
    )
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, python(code), b"", {})
            pids = await trio.to_thread.run_sync(place.read_text)
            nursery.cancel_scope.cancel()
        for pid in pids.split():
            await gone(int(pid))


async def gone(pid: int) -> None:
    """Wait until there is no such process, or only what is left of one."""
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        await trio.sleep(0.01)
