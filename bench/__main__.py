"""``make bench`` and ``make bench-full``: run, write down, compare with the accepted run.

Run it when nothing else runs.  Absolute figures drift between runs; what counts are the ratios
between contenders of one run, which are computed round by round.
"""

from __future__ import annotations

import argparse
import datetime
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bench import compare, page, plots, rows
from bench.contenders import foreign
from bench.harness import Bench
from bench.machine import machine, versions
from bench.places import GIB, Unusable, clear, clearing, prepared
from bench.scenarios import ROOM, SCENARIOS
from bench.table import markdown

HERE = page.HERE
OUT = HERE.parent / "build" / "bench"
ACCEPTED = page.ACCEPTED
QUIET = 0.5
"""Load before a run from which on it is no quiet machine."""
FORMS = ("short", "full")
IMAGES = (3, 8)
"""GiB of the ext4 in a file in each form: what one scenario writes fits in."""
FILES = 1 << 17
"""Descriptors that we ask for, where we may: sessions by the ten thousand need them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, also when something got slower: figures are for people to judge."""
    args = parser().parse_args(argv)
    if args.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:18} {(scenario.__doc__ or '').splitlines()[0]}")
        return os.EX_OK
    folder = OUT / args.form
    if args.accept:
        code = accept(folder, ACCEPTED / args.form)
        page.refresh()
        return code
    if args.clear and args.scenario:
        print("--clear takes no scenario", file=sys.stderr)
        return os.EX_USAGE
    try:
        return _cleared(args.disk) if args.clear else _measured(args, folder)
    except Unusable as error:
        print(error, file=sys.stderr)
        return os.EX_TEMPFAIL
    except KeyboardInterrupt:
        print("\nbroken off: no result is written", file=sys.stderr)
        return 128 + signal.SIGINT


def _cleared(disk: Path) -> int:
    clear(disk)
    print(f"what runs left in {disk} is removed; wait some minutes before the next one")
    return os.EX_OK


def _measured(args: argparse.Namespace, folder: Path) -> int:
    if unknown := set(args.scenario) - set(SCENARIOS):
        print(f"no such scenario: {', '.join(sorted(unknown))}; --list shows all", file=sys.stderr)
        return os.EX_USAGE
    chosen = args.scenario or list(SCENARIOS)
    result = run(args.form, chosen, args.peer, args.disk)
    if args.keep and (folder / "result.json").exists():
        result = rows.merged(rows.load(folder / "result.json"), result)
    write(result, folder)
    print(markdown(result))
    for line in comparison(result, ACCEPTED / args.form / "result.json", chosen):
        print(f"- {line}")
    print(f"\nwritten to {folder}; to keep it as the accepted run: --accept", file=sys.stderr)
    print(f"what was written to {args.disk} stays there, for a disk that was just deleted from is "
          f"slow; {clearing(args.disk)} removes it", file=sys.stderr)  # fmt: skip
    return os.EX_OK


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    made.add_argument("scenario", nargs="*", help="only these (all)")
    made.add_argument("--form", choices=FORMS, default="short")
    made.add_argument("--list", action="store_true", help="name the scenarios and end")
    made.add_argument(
        "--peer",
        action="append",
        default=[],
        type=_peer,
        metavar="tus=URL",
        help="also measure this tus server, which runs on this machine already",
    )
    made.add_argument(
        "--disk",
        type=lambda text: Path(os.path.realpath(text)),
        default=HERE / ".scratch",
        metavar="DIR",
        help="a folder on the disk to measure (bench/.scratch)",
    )
    made.add_argument(
        "--clear", action="store_true", help="remove what runs left in that folder, and end"
    )
    made.add_argument(
        "--keep",
        action="store_true",
        help="keep what the last run found in scenarios that are not named now",
    )
    made.add_argument(
        "--accept", action="store_true", help="keep the last run as accepted, and show it in docs"
    )
    return made


def _peer(text: str) -> foreign.Peer:
    try:
        return foreign.parse(text)
    except foreign.BadPeer as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(form: str, chosen: Sequence[str], peers: Sequence[foreign.Peer], disk: Path) -> rows.Result:
    """Measure; what was started is gone afterwards, what was written to the disk stays."""
    _raise_limit()
    for ends in (signal.SIGTERM, signal.SIGHUP):  # unmount, and end what was started
        signal.signal(ends, lambda number, _: sys.exit(128 + number))
    began, about = time.perf_counter(), machine()
    if os.getloadavg()[0] > QUIET:
        print(f"something else runs (load {about['load before']}): wait for it", file=sys.stderr)
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with prepared(disk, IMAGES[FORMS.index(form)] * GIB, room(form, chosen)) as places:
        bench = Bench(form, places, tuple(peers))
        for name in chosen:
            with bench.running(name):
                try:
                    SCENARIOS[name].run(bench)
                except Exception as error:  # noqa: BLE001 - the others are measured all the same
                    bench.skip("the rest of it", f"broken off: {error!r}")
        about |= {name: place.about or place.why for name, place in places.items()}
    seconds = time.perf_counter() - began
    told = versions() | bench.versions
    return rows.Result(
        form=form, began=when, seconds=seconds, machine=about, versions=told,
        rows=tuple(bench.rows),
    )  # fmt: skip


def room(form: str, chosen: Sequence[str]) -> int:
    """Bytes that *chosen* write to the disk at most."""
    number = FORMS.index(form)
    return round(sum(ROOM[name][number] for name in chosen if name in ROOM) * GIB)


def _raise_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with suppress(ValueError, PermissionError):
        most = max(hard, FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def write(result: rows.Result, folder: Path) -> None:
    """JSON, Markdown and plots, in place of what was there once all of them are written."""
    new = folder.with_name(f"{folder.name}.{os.getpid()}")
    rows.save(result, new / "result.json")
    (new / "result.md").write_text(markdown(result) + "\n", encoding="utf-8")
    plots.draw(result, new)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def comparison(result: rows.Result, accepted: Path, chosen: Sequence[str]) -> list[str]:
    """What got slower since the accepted run, if there is one that can be read."""
    try:
        then = rows.load(accepted)
    except FileNotFoundError:
        return ["there is no accepted run of this form to compare with"]
    except rows.Unreadable as error:
        return [f"cannot compare: {error}"]
    return compare.told(result, then, chosen)


def accept(folder: Path, accepted: Path) -> int:
    """Keep the files of the last run."""
    if not (folder / "result.json").exists():
        print(f"no run in {folder}", file=sys.stderr)
        return os.EX_NOINPUT
    shutil.rmtree(accepted, ignore_errors=True)
    shutil.copytree(folder, accepted)
    print(f"kept in {accepted}", file=sys.stderr)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
