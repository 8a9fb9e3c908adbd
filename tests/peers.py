"""Programs that interop tests talk to: found, or a skip that says what to install.

With ``SIPBOT_REQUIRE_PEERS=1`` (as in continuous integration) a missing one fails the test.
"""

from __future__ import annotations

import os
import shutil
from typing import Final, NoReturn

import pytest

PACKAGES: Final = {
    "baresip": "baresip",
    "cc": "gcc",
    "initdb": "postgresql",
    "sipp": "sip-tester",
    "sngrep": "sngrep",
    "tshark": "tshark",
}  # program -> Debian package


def require(program: str) -> str:
    """The path of ``program``; skips or fails the running test when it is not installed."""
    path = shutil.which(program)
    if path is None:
        skip_or_fail(f"{program} is not installed (Debian: apt-get install {PACKAGES[program]})")
    return path


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the running test, or fail it where everything must be there."""
    if os.environ.get("SIPBOT_REQUIRE_PEERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
