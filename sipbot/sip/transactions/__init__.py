"""The four transactions of RFC 3261 section 17, as amended by RFC 6026, and their layer.

Each machine is a table ``(state, input) -> (what to do, next state)``; timers have the RFC's
letters. Machines know neither messages nor addresses: the layer holds those.
"""
