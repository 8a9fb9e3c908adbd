"""``sipbot test``: scripted callers talk to the agents of a configuration, on loopback."""
