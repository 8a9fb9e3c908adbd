"""A stand-in for Exotel's REST interfaces, for tests without an account.

::

    exotel = FakeExotel()
    transport = httpx.ASGITransport(exotel)                  # within the process
    python -m sipbot.testing.exotel_api --port 8090          # or on loopback, for any program

It keeps its state in memory and speaks the wire formats that are documented or were measured, with
their traps: refusals inside an HTTP 200, batches answered with 207, a plain 401, modes stored as
null, XML where JSON was not asked for. It is written apart from the client, so that a
misunderstanding of one does not hide in the other.
"""

from sipbot.testing.exotel_api.app import FakeExotel, Fault
from sipbot.testing.exotel_api.web import Seen

__all__ = ["FakeExotel", "Fault", "Seen"]
