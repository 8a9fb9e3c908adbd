"""How the audio of a call fared, as flat values for records and logs."""

from __future__ import annotations

from sipbot.call.record import Stat
from sipbot.media.stream import StreamStats


def stream_facts(stats: StreamStats) -> dict[str, Stat]:
    """Statistics of an RTP stream."""
    return {
        "rtp_received": stats.packets_received,
        "rtp_sent": stats.packets_sent,
        "rtp_lost": stats.lost,
        "rtp_concealed": stats.concealed,
        "rtp_duplicates": stats.duplicates,
        "rtp_reordered": stats.reordered,
        "rtp_late": stats.late,
        "rtp_dropped": ",".join(f"{rule}:{count}" for rule, count in stats.dropped),
        "jitter_ms": round(stats.jitter_ms, 2),
        "round_trip_ms": None if stats.round_trip_ms is None else round(stats.round_trip_ms, 2),
        "remote_lost": stats.remote_lost,
        "latched": stats.latched,
        "late_departures": stats.late_departures,
    }
