"""Two browsers: one uploads, the other watches the same bar move.  How far behind the truth is it?

    python -m bench.two_browsers [--megabytes 500] [--rate 0] [--folder /dev/shm] [--rounds 3]

The truth is the line in the daemon that moves the offset, noted as it runs.  What is measured is
when the watcher's page draws as much (`requestAnimationFrame`), and when the uploader's own page
was told.  All three are of this machine, by its one clock of the day; they share its processors.
`--rate`: megabytes in a second that pass from the uploader to the daemon, 0 for what goes.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bench.browser import Chromium
from uploadd import cli
from uploadd.protocol.upload import State, Upload
from uploadd.watch import Watch

MB = 1_000_000
BLOCK = 1 << 16
_WATCH = """(async () => {
  const { watch } = await import("/-/uploadd.js");
  window.notes = [];
  document.body.innerHTML = "<progress>";
  const bar = document.querySelector("progress");
  window.ended = new Promise((resolve) => {
    const watching = watch("all", { onProgress({ stored, fraction }) {
      bar.value = fraction;
      requestAnimationFrame(() => {
        notes.push([Date.now() / 1000, stored, fraction]);
        if (fraction === 1) { watching.close(); resolve(notes); }
      });
    } });
    window.opened = new Promise((open) => watching.on("connection", ({ detail }) => {
      if (detail.state === "open") open();
    }));
  });
  await opened;
})()"""
_UPLOAD = """(async () => {
  const { Uploader } = await import("/-/uploadd.js");
  const uploader = new Uploader(), notes = [];
  const upload = uploader.upload(document.querySelector("#file").files[0]);
  upload.on("progress", ({ detail: { stored, total, phase } }) =>
    notes.push([Date.now() / 1000, stored, phase === "done" ? 1 : 0.99]));
  await upload;
  uploader.close();
  return notes;
})()"""


class Note(NamedTuple):
    """At a moment so many bytes were durable, or shown to be; whole is published."""

    at: float
    stored: int
    whole: bool


def serve(notes: Path, words: Sequence[str]) -> int:
    """The daemon, which notes each move of an offset in *notes*."""
    with notes.open("w", buffering=1) as file:
        moved = Watch.moved

        def noted(watch: Watch, upload: Upload) -> None:
            whole = upload.state is State.PUBLISHED
            file.write(f"{time.time()} {upload.held.total} {whole:d}\n")
            moved(watch, upload)

        setattr(Watch, "moved", noted)  # noqa: B010
        return cli.main(list(words))


@contextmanager
def daemon(folder: Path) -> Iterator[tuple[int, Path]]:
    """Its port, and the file where it notes the truth."""
    notes = folder / "notes"
    words = ["serve", str(folder / "store"), "--port", "0", "--set", "log.level=warning"]
    command = [sys.executable, "-m", "bench.two_browsers", "--serve", str(notes), *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if match := re.search(r"at http://127\.0\.0\.1:(\d+)", line):
                yield int(match[1]), notes
                break
        else:
            raise RuntimeError("uploadd did not start")
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


@contextmanager
def road(port: int, rate: float) -> Iterator[int]:
    """A port that leads to *port* and lets *rate* bytes in a second pass to it; 0: that port."""
    if not rate:
        yield port
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, port, rate), daemon=True).start()
        yield int(listener.getsockname()[1])
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, port: int, rate: float) -> None:
    with suppress(OSError):
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", port))
            for ends in ((near, far, rate), (far, near, 0)):
                threading.Thread(target=_pass, args=ends, daemon=True).start()


def _pass(source: socket.socket, sink: socket.socket, rate: float) -> None:
    free = time.monotonic()
    with suppress(OSError):
        while data := source.recv(BLOCK):
            sink.sendall(data)
            if rate:
                free = max(free, time.monotonic() - 0.05) + len(data) / rate
                time.sleep(max(0.0, free - time.monotonic()))
        sink.shutdown(socket.SHUT_WR)


# --- what came of it ------------------------------------------------------------------------------


def lags(truth: Sequence[Note], shown: Sequence[Note]) -> list[float]:
    """For each move of the offset, the seconds until that much, or more, was shown."""
    moves = [note for note, before in _pairs(truth) if note.stored > before]
    offsets = [note.stored for note in shown]
    return [shown[bisect_left(offsets, move.stored)].at - move.at for move in moves]


def gaps(notes: Sequence[Note]) -> list[float]:
    """The seconds between two moves."""
    moves = [note.at for note, before in _pairs(notes) if note.stored > before]
    return [after - at for at, after in pairwise(moves)]


def _pairs(notes: Sequence[Note]) -> Iterator[tuple[Note, int]]:
    before = 0
    for note in notes:
        yield note, before
        before = max(before, note.stored)


def told(name: str, seconds: Sequence[float]) -> str:
    """One line about them."""
    many = sorted(seconds)
    at = [statistics.median(many), many[int(0.99 * (len(many) - 1))], many[-1]]
    return (
        f"{name:44} {1000 * at[0]:6.0f} {1000 * at[1]:6.0f} {1000 * at[2]:6.0f} ms  ({len(many)})"
    )


def measured(options: argparse.Namespace) -> None:
    """One upload, told in figures."""
    folder = Path(tempfile.mkdtemp(prefix="uploadd-browsers-", dir=options.folder))
    try:
        source = folder / "source.bin"
        with source.open("wb") as file:
            for _ in range(options.megabytes):
                file.write(bytes(range(250)) * (MB // 250))
        with (
            daemon(folder) as (port, notes),
            road(port, options.rate * MB) as narrow,
            Chromium(folder / "sends") as sends,
            Chromium(folder / "looks") as looks,
        ):
            sends.open(f"http://127.0.0.1:{narrow}", source)
            looks.open(f"http://127.0.0.1:{port}", source)
            looks.evaluate(_WATCH)
            acked = [Note(at, stored, part == 1) for at, stored, part in sends.evaluate(_UPLOAD)]
            shown = [Note(at, stored, part == 1) for at, stored, part in looks.evaluate("ended")]
            truth = [
                Note(float(at), int(stored), whole == "1")
                for at, stored, whole in map(str.split, notes.read_text().splitlines())
            ]
    finally:
        shutil.rmtree(folder)
    seconds = next(note.at for note in truth if note.whole) - truth[0].at
    print(f"{options.megabytes} MB in {seconds:.1f} s      median    p99    max")
    print(told("the watcher's bar behind the offset", lags(truth, shown)))
    print(told("the uploader's page behind the offset", lags(truth, acked)))
    print(told("between two moves of the watcher's bar", gaps(shown)))
    print(told("between two moves of the offset", gaps(truth)))
    published = [next(note.at for note in one if note.whole) for one in (truth, shown)]
    print(told("published to the full bar", [published[1] - published[0]]))
    early = [note for note in shown if note.whole and note.at < published[0]]
    print(f"full before it was published: {len(early)}\n", flush=True)


def main() -> int:
    """See the module."""
    if sys.argv[1:2] == ["--serve"]:
        return serve(Path(sys.argv[2]), sys.argv[3:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for _ in range(options.rounds):
        measured(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
