"""The metrics page: what Prometheus reads is what the status says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sipbot.http.metrics import page
from tests.http.kit import STATUS, Fixed


def samples(source: Fixed) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = page(source).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("sipbot_ready", {}, 1),
        ("sipbot_not_ready", {"rule": "cpu"}, 0),
        ("sipbot_active_calls", {"state": "answered"}, 3),
        ("sipbot_active_calls", {"state": "new"}, 0),
        ("sipbot_max_calls", {}, 50),
        ("sipbot_process_cpu_seconds_total", {"process": "edge"}, 12.5),
        ("sipbot_process_cpu_seconds_total", {"process": "worker-4"}, 9),
        ("sipbot_process_resident_bytes", {"process": "edge"}, 5_000_000),
        ("sipbot_edge_cpu_ratio", {}, 0.4),
        ("sipbot_workers", {"state": "busy"}, 1),
        ("sipbot_workers", {"state": "silent"}, 0),
        ("sipbot_worker_calls", {"worker": "4"}, 2),
        ("sipbot_rtp_packets_received_total", {}, 1_000),
        ("sipbot_rtp_packets_sent_total", {}, 990),
        ("sipbot_rtp_dropped_total", {"rule": "late"}, 7),
        ("sipbot_plane_missed_ticks_total", {}, 5),
        ("sipbot_rtp_ports_quarantined", {}, 6),
        ("sipbot_calls_total", {"trunk": ""}, 9),
        ("sipbot_refused_total", {"rule": "cpu"}, 3),
        ("sipbot_refused_total", {"rule": "no-route"}, 2),
        ("sipbot_workers_lost_total", {}, 1),
        ("sipbot_plane_tick_lateness_seconds_bucket", {"le": "0.001"}, 900),
        ("sipbot_plane_tick_lateness_seconds_bucket", {"le": "0.02"}, 990),
        ("sipbot_plane_tick_lateness_seconds_bucket", {"le": "+Inf"}, 1_000),
        ("sipbot_plane_tick_lateness_seconds_count", {}, 1_000),
        ("sipbot_plane_tick_lateness_seconds_sum", {}, 1.5),
        ("sipbot_call_setup_seconds_count", {}, 4),
        ("sipbot_call_duration_seconds_sum", {}, 150),
    ],
)
def test_every_figure_is_there(name: str, labels: dict[str, str], value: float) -> None:
    assert samples(Fixed())[name, tuple(sorted(labels.items()))] == pytest.approx(value)


def test_reasons_are_shown_those_that_are_new_too() -> None:
    found = samples(Fixed(forbidden=("cpu", "edge-silent")))
    assert found["sipbot_ready", ()] == 0
    assert found["sipbot_not_ready", (("rule", "cpu"),)] == 1
    assert found["sipbot_not_ready", (("rule", "edge-silent"),)] == 1
    assert found["sipbot_not_ready", (("rule", "max-calls"),)] == 0


def test_before_the_first_status_there_is_a_page() -> None:
    found = samples(Fixed(now=None, forbidden=("starting",)))
    assert found["sipbot_ready", ()] == 0
    assert ("sipbot_max_calls", ()) not in found


def test_odd_texts_in_labels_stay_one_sample() -> None:
    odd = 'a"b\\c\nd'
    found = samples(Fixed(now=replace(STATUS, counters=((("calls", (("trunk", odd),)), 1),))))
    assert found["sipbot_calls_total", (("trunk", odd),)] == 1
