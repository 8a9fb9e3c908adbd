"""Legs: the transports' halves of conversations, all behind the port in ``sipbot.call.leg``."""
