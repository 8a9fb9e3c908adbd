"""Servers on loopback that speak the wire protocols of the providers, and their faults."""
