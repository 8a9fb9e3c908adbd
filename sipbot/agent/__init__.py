"""Agents: what talks to callers. They see ``sipbot.call`` and nothing below it."""
