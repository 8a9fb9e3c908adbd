"""Databases for tests: an SQLite file, and a PostgreSQL cluster that lives as long as the tests.

Use the fixture ``store`` or ``store_url`` to run a test on both, ``sqlite_url`` or ``postgres`` for
one alone, and ``database_url`` where even the schema is to be missing. Every test gets a database
of its own.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from sipbot.store.engine import Store
from tests.peers import require

STARTED_S: Final = 30.0  # seconds for a new cluster to answer
_USER: Final = "postgres"  # PostgreSQL refuses to run as root
_SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
}


class Postgres:
    """A running cluster that only this machine reaches, over a Unix socket."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder, self._programs = folder, programs
        self._numbers = count(1)
        self._model: str | None = None  # name of a database with the schema
        self._server: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam(_USER)
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def create(self) -> None:
        """Make the files of the cluster."""
        options = ["--username=sipbot", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8"]
        self._run("initdb", ["-D", str(self._folder / "data"), *options])

    def start(self) -> None:
        """Serve; returns once it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        command += ["-k", str(self._folder)]
        for name, value in _SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, **self._as
            )
        deadline = time.monotonic() + STARTED_S
        while not self._answers():
            assert self._server.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, with whatever connections there are."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(STARTED_S)
            self._server = None

    def database(self, template: str = "template0") -> str:
        """URL of a new database, empty or like another one."""
        name = f"test{next(self._numbers)}"
        self._run("createdb", ["-h", str(self._folder), "-U", "sipbot", "-T", template, name])
        return f"postgresql://sipbot@/{name}?host={self._folder}"

    def ready(self) -> str:
        """URL of a new database whose schema is there already."""
        if self._model is None:
            url = self.database()
            _make_schema(url)
            self._model = url.partition("@/")[2].partition("?")[0]
        return self.database(self._model)

    def _answers(self) -> bool:
        arguments = ["-q", "-h", str(self._folder), "-U", "sipbot", "-d", "postgres"]
        return self._run("pg_isready", arguments, check=False) == 0

    def _run(self, program: str, arguments: Sequence[str], *, check: bool = True) -> int:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(
            command,
            cwd=self._folder,
            capture_output=True,
            timeout=STARTED_S,
            check=False,
            **self._as,
        )
        assert done.returncode == 0 or not check, done.stderr.decode()
        return done.returncode


def _programs() -> Path:
    """Where Debian keeps what runs a cluster; skips or fails when it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return (found[-1] if found else Path(require("initdb")).resolve()).parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="sipbot-postgresql-"))
    cluster = Postgres(folder, programs)
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.database()


def _make_schema(url: str) -> None:
    async def make() -> None:
        await (await Store.open(url)).close()

    asyncio.run(make())


@pytest.fixture(scope="session")
def sqlite_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the schema."""
    file = tmp_path_factory.mktemp("sqlite") / "model.db"
    _make_schema(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(sqlite_model: Path, tmp_path: Path) -> str:
    """An SQLite store of this test's own."""
    shutil.copy(sqlite_model, tmp_path / "store.db")
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A store of each kind, with its schema and nothing else."""
    if request.param == "sqlite":
        url: str = request.getfixturevalue("sqlite_url")
        return url
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.ready()


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An open store of each kind."""
    opened = await Store.open(store_url)
    yield opened
    await opened.close()
