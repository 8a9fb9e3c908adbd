"""Operations: configuration, admission, logs and counters.

Nothing here knows SIP, RTP or agents. The runtime reads the configuration and hands its values to
the parts; the parts log through ``logs`` and count refusals through ``counters``.
"""
