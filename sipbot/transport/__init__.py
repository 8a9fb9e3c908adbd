"""Asyncio drivers for SIP: UDP, TCP and TLS sockets, TLS contexts and RFC 3263 name resolution.

They move bytes and know flows, next hops and framing, but no SIP semantics.
"""
