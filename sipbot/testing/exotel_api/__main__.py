"""``python -m sipbot.testing.exotel_api``: the stand-in on loopback, until Ctrl-C."""

from __future__ import annotations

import argparse

import uvicorn

from sipbot.testing.exotel_api import FakeExotel


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sipbot.testing.exotel_api", description=__doc__
    )
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--account-sid", default="acme1")
    parser.add_argument("--key", default="key1")
    parser.add_argument("--token", default="token1")
    parser.add_argument("--exophone", action="append", default=[], metavar="NUMBER")
    given = parser.parse_args()
    exotel = FakeExotel(given.account_sid, given.key, given.token)
    exotel.calls.exophones = given.exophone
    uvicorn.run(exotel, host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
