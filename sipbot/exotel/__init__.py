"""Exotel: the messages of its AgentStream WebSocket (``wire``), without any I/O."""
