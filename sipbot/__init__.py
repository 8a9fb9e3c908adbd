"""sipbot: a SIP voicebot server."""

__version__ = "0.1.0"
