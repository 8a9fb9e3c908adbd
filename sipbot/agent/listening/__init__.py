"""Hearing when somebody speaks, and when they are done."""
