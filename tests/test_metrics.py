"""What ``/metrics`` says can be read by Prometheus, and is what was counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from uploadd.metrics import Metrics, Now
from uploadd.tally import Tally, Way

ROOT = Path(__file__).parents[1]
SUFFIXES = "_bucket _count _sum"


def families(metrics: Metrics, now: Now) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name, each by the values of its labels, in the order of their names."""
    told: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics.page(now).decode()):
        for sample in family.samples:
            key = tuple(value for _, value in sorted(sample.labels.items()))
            told.setdefault(sample.name, {})[key] = sample.value
    return told


def names() -> set[str]:
    """Of all samples that can ever be there, also of those that nothing has happened for."""
    found = set()
    text = Metrics(Tally(), "1").page(Now()).decode()
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE):
        found.add(name)
        found |= {name + suffix for suffix in SUFFIXES.split()} if kind == "histogram" else set()
    return found


def test_it_tells_what_was_counted() -> None:
    """What moves now is part of what came."""
    tally = Tally()
    tally.created["ws"] = 2
    tally.received["ws"] = 100
    tally.answered("PUT", 201, 0.02)
    tally.waited("ws", 0.3)
    tally.waited("ws", 99.0)
    now = Now(moving={"ws": 11, "tus": 5}, active={"ws": 1}, disk={"/srv": (1 << 40, 7)})
    told = families(Metrics(tally, "1.2.3"), now)
    assert told["uploadd_uploads_created_total"] == {("ws",): 2}
    assert told["uploadd_received_bytes_total"] == {("tus",): 5, ("ws",): 111}
    assert told["uploadd_http_requests_total"] == {("201", "PUT"): 1}
    assert told["uploadd_disk_free_bytes"] == {("/srv",): 1 << 40}
    buckets = told["uploadd_ack_latency_seconds_bucket"]
    assert buckets["0.25", "ws"] == 0
    assert buckets["0.5", "ws"] == buckets["30.0", "ws"] == 1
    assert buckets["+Inf", "ws"] == told["uploadd_ack_latency_seconds_count"]["ws",] == 2
    assert [key[-1] for key in told["uploadd_build_info"]] == ["1.2.3"]


def test_what_there_is_no_limit_of_is_not_told() -> None:
    """No quota, no certificate: no sample, which a rule takes for none; else what they are."""
    told = families(Metrics(Tally(), "1"), Now())
    quota, certificate = (
        "uploadd_quota_used_ratio",
        ("uploadd_tls_certificate_expiry_timestamp_seconds"),
    )
    assert not {quota, certificate} & told.keys()
    told = families(Metrics(Tally(), "1"), Now(quota=0.5, certificate_ends=2e9))
    assert (told[quota][()], told[certificate][()]) == (0.5, 2e9)


def test_no_label_grows_with_uploads() -> None:
    """Ids and names of peers are in no label: that would be a leak in two senses."""
    tally, before = Tally(), 0
    for number in range(3):
        for n in range(100):
            way = Way("ws", f"{number}-{n}")
            tally.waited(way.wire, 0.1)
            tally.answered("GET", 200, 0.1)
        lines = len(Metrics(tally, "1").page(Now()).splitlines())
        assert lines == before or not number
        before = lines


@pytest.mark.parametrize("name", ["grafana.json", "prometheus-alerts.yml"])
def test_every_metric_that_the_samples_name_exists(name: str) -> None:
    """A graph of a metric that is not there is empty, and an alert on it never comes."""
    text = (ROOT / "conf" / name).read_text()
    if name.endswith(".json"):
        panels = json.loads(text)["panels"]
        text = "\n".join(target["expr"] for panel in panels for target in panel["targets"])
    named = set(re.findall(r"\b(?:uploadd|process)_[a-z_]+", text))
    assert len(named) > 8
    assert named - names() == set()


def test_every_metric_is_explained() -> None:
    """By its name in docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text()
    ours = {name for name in names() if name.startswith("uploadd_")}
    ours = {name for name in ours if not name.endswith(tuple(SUFFIXES.split()))}
    assert ours - set(re.findall(r"`(uploadd_\w+)", text)) == set()
