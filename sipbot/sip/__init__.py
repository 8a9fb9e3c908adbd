"""SIP without I/O: values, grammar, transactions, dialogs and the user agent.

Nothing in this package reads a clock, a socket or a source of randomness: ``now`` (seconds on any
monotonic clock) and an id source are handed in, and every input returns effects for the driver.
"""
