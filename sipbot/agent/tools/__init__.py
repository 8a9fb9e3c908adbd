"""Functions that a language model may call during a conversation."""
