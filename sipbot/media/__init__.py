"""The media plane: every RTP socket, one clock, arrays over all calls."""
