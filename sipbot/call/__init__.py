"""The call as an agent sees it, and the port that every kind of leg implements."""
