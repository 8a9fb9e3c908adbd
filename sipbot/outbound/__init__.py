"""Outbound calls without I/O: what an attempt came to, when the next one is due, lists of numbers.

Time is handed in as seconds since 1970 UTC. ``sipbot.store.jobs`` keeps what is decided here,
``sipbot.runtime.outbound`` carries it out.
"""
