"""What ``/metrics`` says, in the text of Prometheus: made when somebody asks, of plain numbers."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, TypeVar

import trio
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from uploadd.tally import Histogram, Tally

K = TypeVar("K", bound=tuple[str, ...])
MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True, kw_only=True)
class Now:
    """How things are at this moment; bytes, seconds since the epoch."""

    active: Mapping[str, int] = field(default_factory=dict)
    """Uploads that somebody holds, by wire."""
    moving: Mapping[str, int] = field(default_factory=dict)
    """Bytes that came to those, by wire."""
    stored: int = 0
    connections: Mapping[str, int] = field(default_factory=dict)
    disk: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Bytes and inodes that are free, by path."""
    outbox: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Events that wait, and dead letters, by hook."""
    unfinished: int = 0
    memory: int = 0
    failures: int = 0
    ready: bool = True
    durable: bool = True
    reload_successful: bool = True
    reload_succeeded: float = 0.0
    quota: float | None = None
    """How much of what it may have the fullest owner has; None: there is no limit."""
    certificate_ends: float | None = None


class Metrics(Collector):
    """Everything that *tally* has counted, with the *version* that did."""

    def __init__(self, tally: Tally, version: str) -> None:
        self._tally, self._version = tally, version
        self._now = Now()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        for kind in (ProcessCollector, PlatformCollector, GCCollector):
            kind(registry=self._registry)

    def page(self, now: Now) -> bytes:
        """The text, of this moment."""
        self._now = now
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Every family, in the order of docs/operations.md."""
        yield from self._uploads()
        yield from self._wires()
        yield from self._hooks()
        yield from self._disk()
        yield from self._daemon()

    def _uploads(self) -> Iterator[Metric]:
        tally, now = self._tally, self._now
        yield _counters("uploads_created", "Uploads that began.", "protocol", tally.created)
        yield _pairs(
            "uploads_finished",
            "Uploads that ended: ok, aborted, expired, failed.",
            ("protocol", "result"),
            tally.finished,
        )
        yield _gauges("uploads_active", "Uploads that somebody sends.", "protocol", now.active)
        came = {wire: tally.received[wire] + now.moving.get(wire, 0) for wire in _all(now, tally)}
        yield _counters("received_bytes", "Bytes that came for uploads.", "protocol", came)
        yield _counters("stored_bytes", "Bytes that became durable.", "", {"": now.stored})
        yield _counters("sent_bytes", "Bytes of files that were sent.", "", {"": tally.sent})
        yield _counters("resumes", "Uploads that went on.", "protocol", tally.resumed)
        yield _counters("resent_bytes", "Bytes that came once more.", "", {"": tally.resent})
        yield _histogram(
            "upload_duration_seconds",
            "From the beginning of an upload to its publication.",
            {"": tally.upload_seconds},
        )
        yield _histogram(
            "upload_size_bytes", "Lengths of uploads that are complete.", {"": tally.upload_bytes}
        )
        yield _histogram(
            "ack_latency_seconds",
            "From when bytes had come until they were durable.",
            tally.ack_seconds,
            "protocol",
        )

    def _wires(self) -> Iterator[Metric]:
        tally, now = self._tally, self._now
        yield _gauges("connections", "Connections that are open.", "kind", now.connections)
        closed = {str(code): count for code, count in tally.closed.items()}
        yield _counters("ws_closes", "WebSockets that have ended, by our Close.", "code", closed)
        requests = {(method, str(code)): n for (method, code), n in tally.requests.items()}
        yield _pairs("http_requests", "Requests answered.", ("method", "code"), requests)
        yield _histogram(
            "http_request_duration_seconds",
            "From the head of a request to the end of its answer.",
            {"": tally.request_seconds},
        )
        yield _counters("rejected", "Requests and uploads refused.", "reason", tally.rejected)

    def _hooks(self) -> Iterator[Metric]:
        tally, now = self._tally, self._now
        yield _pairs(
            "hook_invocations",
            "Events that hooks were asked or told of: ok, refused, failed.",
            ("hook", "event", "result"),
            tally.hooks,
        )
        yield _histogram(
            "hook_duration_seconds", "How long an answer took.", tally.hook_seconds, "hook"
        )
        waiting = {hook: waits for hook, (waits, _) in now.outbox.items()}
        dead = {hook: letters for hook, (_, letters) in now.outbox.items()}
        yield _gauges("hook_queue", "Events that a hook is still to be told.", "hook", waiting)
        yield _gauges("hook_dead_letters", "Events that were tried too often.", "hook", dead)

    def _disk(self) -> Iterator[Metric]:
        now = self._now
        room = {path: free for path, (free, _) in now.disk.items()}
        inodes = {path: free for path, (_, free) in now.disk.items()}
        yield _gauges("disk_free_bytes", "Bytes that are free for us.", "path", room)
        yield _gauges("disk_free_inodes", "Files that can be made.", "path", inodes)
        yield _gauges(
            "unfinished_bytes", "Durable, of unfinished uploads.", "", {"": now.unfinished}
        )
        yield _counters("store_errors", "What the disk refused.", "code", self._tally.store_errors)
        yield _histogram(
            "store_write_seconds",
            "How long the disk took to write, flush and publish.",
            self._tally.store_seconds,
            "op",
        )
        yield _gauges("quota_used_ratio", "Of the fullest owner.", "", _known(now.quota))
        yield _counters("gc_removed", "What was kept for its time.", "kind", self._tally.removed)
        yield _gauges("gc_stuck", "Expired, and not to be removed.", "", {"": self._tally.stuck})

    def _daemon(self) -> Iterator[Metric]:
        now = self._now
        told = {"version": self._version, "python": platform.python_version()}
        build = GaugeMetricFamily(
            "uploadd_build_info", "What runs.", labels=["version", "python", "trio"]
        )
        build.add_metric([*told.values(), trio.__version__], 1)
        yield build
        yield _gauges("ready", "Whether new uploads are taken.", "", {"": now.ready})
        yield _gauges("durable", "Whether acknowledged means durable.", "", {"": now.durable})
        yield _gauges("memory_bytes", "Of uploads, waiting in memory.", "", {"": now.memory})
        yield _gauges(
            "loop_lag_seconds", "How late the loop was last.", "", {"": self._tally.loop_lag}
        )
        yield _counters("failures", "Conversations ended by a bug.", "", {"": now.failures})
        yield _gauges(
            "config_last_reload_successful",
            "Whether the newest reload went well.",
            "",
            {"": now.reload_successful},
        )
        yield _gauges(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration was last taken.",
            "",
            {"": now.reload_succeeded},
        )
        yield _gauges(
            "tls_certificate_expiry_timestamp_seconds",
            "When the certificate ends.",
            "",
            _known(now.certificate_ends),
        )


def _known(value: float | None) -> Mapping[str, float]:
    return {} if value is None else {"": value}


def _all(now: Now, tally: Tally) -> Iterable[str]:
    return now.moving.keys() | tally.received.keys()


def _counters(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"uploadd_{name}", about, labels=[label] if label else [])
    for key, value in sorted(values.items()):
        family.add_metric([key] if label else [], value)
    return family


def _gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"uploadd_{name}", about, labels=[label] if label else [])
    for key, value in sorted(values.items()):
        family.add_metric([key] if label else [], value)
    return family


def _pairs(name: str, about: str, labels: tuple[str, ...], values: Mapping[K, float]) -> Metric:
    family = CounterMetricFamily(f"uploadd_{name}", about, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _histogram(
    name: str, about: str, values: Mapping[str, Histogram], label: str = ""
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"uploadd_{name}", about, labels=[label] if label else [])
    for key, one in sorted(values.items()):
        bounds = [*map(floatToGoString, one.bounds), "+Inf"]
        sums = accumulate(one.counts)
        family.add_metric([key] if label else [], list(zip(bounds, sums, strict=True)), one.sum)
    return family
