"""Plays Exotel towards a bot, for tests of whole conversations: what needs no network.

A scenario (YAML) describes a flow of applets, a caller's behaviour and what is expected. Here are
its model, the walk through the flow, what Exotel puts into its requests and messages, the scripted
caller, the assertions and the report. ``sipbot.runtime.sim`` has the lines: SIP, WebSocket, HTTP.
"""
