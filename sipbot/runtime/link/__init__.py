"""The link between supervisor, edge and workers: messages over sockets, audio in shared memory.

Linux only: it stands on sequenced-packet Unix sockets, memfd and eventfd. Elsewhere sipbot runs as
one process.
"""
