"""Spoken menus written in YAML: say, play, menu, gather, goto, set, branch, hangup, transfer."""

from sipbot.agent.flow.load import Flow, load_flow
from sipbot.agent.flow.player import FlowAgent, load_flow_agent

__all__ = ["Flow", "FlowAgent", "load_flow", "load_flow_agent"]
