"""The voice agent: listens, thinks with a language model, speaks, and can be interrupted."""
