"""RTP without I/O: packets, RTCP, receiver statistics, reordering, concealment, keys, G.711, SRTP.

Nothing in this package reads a clock, a socket or a source of randomness: ``now`` (seconds on any
monotonic clock), arrival times and random numbers are handed in. What runs for every packet of
every call works on numpy arrays over calls; what runs for the odd packet is a small class.
"""
