"""The HTTP interface: whether sipbot lives, whether it takes calls, and what it counts.

It knows nothing of SIP or audio: a ``Source`` tells it everything, and is asked for values that
lie ready.
"""
