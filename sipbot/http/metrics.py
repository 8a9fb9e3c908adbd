"""A status as a page for Prometheus (text format 0.0.4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from sipbot import __version__
from sipbot.http.source import Source
from sipbot.ops.histogram import HistogramValue
from sipbot.ops.overload import CPU, TICK_LATENESS
from sipbot.ops.status import CounterValue, PlaneStatus, ProcessStatus, Status, WorkerStatus

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

CALL_STATES: Final = ("new", "ringing", "answered")
WORKER_STATES: Final = ("starting", "healthy", "busy", "silent", "closing")
RULES: Final = (CPU, TICK_LATENESS, "max-calls", "no-worker", "shutting-down")
_MEANINGS: Final = {
    "calls": "Calls taken, by trunk.",
    "calls_ended": "Calls ended, by reason.",
    "refused": "Calls and requests refused with a SIP answer, by rule.",
    "dropped": "Messages and connections dropped without an answer, by rule.",
    "overloads": "Times that new calls were refused for a while, by rule.",
    "faults": "Faults of sipbot or of an agent, by place.",
    "workers_lost": "Workers that died with calls.",
    "workers_silent": "Times that a worker gave no sign of life for a second.",
    "workers_busy": "Times that a worker went over its limit of CPU.",
}


def page(source: Source) -> bytes:
    """The metrics of this moment."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(source))
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        reasons, status = self._source.reasons(), self._source.status()
        yield InfoMetricFamily("sipbot_build", "Version of sipbot.", {"version": __version__})
        yield _gauge("ready", "Whether new calls are taken.", float(not reasons))
        states = {rule: float(rule in reasons) for rule in (*RULES, *reasons)}
        yield _gauges("not_ready", "Rules that forbid new calls now.", "rule", states)
        yield from _processes(self._source.processes())
        if status is not None:
            yield from _calls(status)
            yield from _load(status)
            yield from _workers(status.workers)
            yield from _plane(status.plane)
            yield from _counters(status.counters)


# --- parts of a status ----------------------------------------------------------------------------


def _calls(status: Status) -> Iterator[Metric]:
    states = {state: float(status.calls.get(state, 0)) for state in CALL_STATES}
    yield _gauges("active_calls", "Calls in progress, by state.", "state", states)
    yield _gauge("max_calls", "Limit of calls in progress.", status.max_calls)
    yield _histogram("call_setup_seconds", "From INVITE to 200, of calls answered.", status.setup)
    yield _histogram("call_duration_seconds", "From 200 to the end.", status.duration)


def _load(status: Status) -> Iterator[Metric]:
    spent = {"edge": status.load.cpu_s}
    spent |= {f"worker-{one.number}": one.cpu_s for one in status.workers}
    yield _counter("process_cpu_seconds", "CPU time, by process.", "process", spent)
    yield _gauge(
        "edge_cpu_ratio",
        "Share of a core that the edge used lately.",
        status.load.cpu_percent / 100,
    )
    yield _gauge(
        "plane_tick_lateness_p99_seconds",
        "How late 99 of 100 ticks were at most, lately.",
        status.load.tick_lateness_s,
    )


def _workers(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    states = dict.fromkeys(WORKER_STATES, 0.0)
    for one in workers:
        states[one.state] += 1
    yield _gauges("workers", "Worker processes, by state.", "state", states)
    calls = {str(one.number): float(one.calls) for one in workers}
    yield _gauges("worker_calls", "Calls in progress, by worker.", "worker", calls)


def _plane(plane: PlaneStatus) -> Iterator[Metric]:
    totals = {
        "rtp_packets_received": ("RTP packets taken in.", plane.packets_in),
        "rtp_packets_sent": ("RTP packets sent.", plane.packets_out),
        "rtp_send_errors": ("Packets that the kernel did not take.", plane.send_errors),
        "rtp_icmp_errors": ("Answers that a peer's port is closed.", plane.icmp_errors),
        "plane_listener_errors": ("Faults while telling of a key.", plane.listener_errors),
        "plane_missed_ticks": ("Ticks of the media clock left out.", plane.missed_ticks),
    }
    for name, (meaning, value) in totals.items():
        yield CounterMetricFamily(f"sipbot_{name}", meaning, value)
    drops = {rule: float(count) for rule, count in plane.drops.items()}
    yield _counter("rtp_dropped", "Audio packets refused, by rule.", "rule", drops)
    yield _histogram(
        "plane_tick_lateness_seconds",
        "How late each tick of the media clock began.",
        plane.lateness,
    )
    yield _gauge("rtp_ports", "Port pairs in media.ports.", plane.ports)
    yield _gauge("rtp_ports_in_use", "Port pairs of calls.", plane.ports_in_use)
    yield _gauge("rtp_ports_quarantined", "Port pairs that rest.", plane.ports_quarantined)


def _processes(processes: Iterable[ProcessStatus]) -> Iterator[Metric]:
    memory = {one.name: float(one.resident) for one in processes}
    yield _gauges("process_resident_bytes", "Memory, by process.", "process", memory)


def _counters(counters: Iterable[CounterValue]) -> Iterator[Metric]:
    by_name: dict[str, list[tuple[dict[str, str], int]]] = defaultdict(list)
    for (name, labels), value in counters:
        by_name[name].append((dict(labels), value))
    for name, series in by_name.items():
        meaning = _MEANINGS.get(name, "Counted by sipbot.")
        family = CounterMetricFamily(f"sipbot_{name}", meaning, labels=())
        for named, value in series:
            family.add_sample(f"sipbot_{name}_total", named, value)
        yield family


# --- families -------------------------------------------------------------------------------------


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sipbot_{name}", meaning, value)


def _gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"sipbot_{name}", meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counter(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"sipbot_{name}", meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(name: str, meaning: str, value: HistogramValue) -> Metric:
    """Prometheus counts each bucket with all below it."""
    buckets, sum_so_far = [], 0
    for bound, count in zip((*map(repr, value.bounds), "+Inf"), value.counts, strict=True):
        sum_so_far += count
        buckets.append((bound, float(sum_so_far)))
    return HistogramMetricFamily(f"sipbot_{name}", meaning, buckets=buckets, sum_value=value.total)
