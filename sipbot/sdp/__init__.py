"""Session descriptions (RFC 8866), offer and answer (RFC 3264) and SDES keys (RFC 4568).

Sans-I/O: bytes in, values out; keys come from a source that the caller passes in.
"""
