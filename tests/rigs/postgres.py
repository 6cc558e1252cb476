"""A PostgreSQL server of one's own: made in a temporary folder, reached over a Unix socket, killed at will.

with Postgres() as server:
    url = server.database()              # a new, empty one
    server.kill(); server.start()        # as a power cut would, then again
    server.end_connections()
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

START = 20.0
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


@cache
def binary(name: str) -> str:
    """Debian keeps the server's programs out of the PATH, one folder per version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parts[-2]), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))
    if found is None:
        raise FileNotFoundError(f"{name}: not installed (apt-get install postgresql pgbouncer)")
    return found


def _servant() -> dict[str, Any]:
    """PostgreSQL will not run as root: then as a user of the system that owns nothing."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Postgres:
    """`fsync` False: a crash of the server (not of the machine) loses nothing all the same, and tests are quick."""

    def __init__(self, *, fsync: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._servant = _servant()
        if self._servant:
            os.chown(self.folder, self._servant["user"], self._servant["group"])
        self._fsync = fsync
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def __enter__(self) -> Self:
        self._run(
            "initdb",
            "--auth=trust",
            "--username=tilltap",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "--pgdata",
            str(self.folder / "data"),
        )
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [binary(program), *arguments],
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
            **self._servant,
        )
        assert done.returncode == 0, done.stderr

    # its life

    def start(self, **settings: str) -> None:
        """Until it answers. `settings` as in postgresql.conf."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "on" if self._fsync else "off",
            "max_connections": "60",
            "shared_buffers": "32MB",
            "autovacuum_naptime": "10s",
            **settings,
        }
        arguments = [f"-c{name}={value}" for name, value in options.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary("postgres"), "-D", str(self.folder / "data"), *arguments],
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **self._servant,
            )
        self._until_up(self._process)

    def _until_up(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START
        while True:
            try:
                self.admin("SELECT 1")
            except psycopg.OperationalError:
                assert process.poll() is None, (self.folder / "log").read_text()[-2000:]
                assert time.monotonic() < until, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """In order, but without waiting for anybody who is connected."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Every process of it at once, as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            for child in _children(self._process.pid):
                _signal(child, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(START)
        self._process = None

    def freeze(self) -> None:
        """It is there and says nothing: not even that a connection was refused."""
        self._all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._all(signal.SIGCONT)

    def pids(self) -> list[int]:
        """The server's processes of now."""
        assert self._process is not None
        return [self._process.pid, *_children(self._process.pid)]

    def _all(self, number: int) -> None:
        for pid in self.pids():
            _signal(pid, number)

    # what is in it

    def database(self) -> str:
        """The URL of a new one."""
        self._databases += 1
        name = f"shop{self._databases}"
        self.admin(f"CREATE DATABASE {name}")
        return self.url(name)

    def empty(self, url: str) -> None:
        """Takes everything out of a ledger, the append-only entries too."""
        database = url.split("/")[3].partition("?")[0]
        tables = ", ".join(row[0] for row in self.admin(_TABLES, database))
        if tables:
            self.admin(
                f"SET session_replication_role = replica; TRUNCATE {tables} RESTART IDENTITY", database
            )

    def url(self, database: str) -> str:
        return f"postgresql://tilltap@/{database}?host={self.folder}"

    def admin(self, statement: str, database: str = "postgres") -> list[Any]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def end_connections(self) -> int:
        """Every client's connection is cut, wherever it is in its transaction."""
        ended = self.admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return len(ended)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


class Pooler:
    """pgbouncer in transaction mode before a server: each transaction may get another connection."""

    def __init__(self, server: Postgres, *, connections: int = 3) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pool-"))
        self._servant = _servant()
        self._server, self._connections = server, connections
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        config, users = self.folder / "pgbouncer.ini", self.folder / "users"
        users.write_text('"tilltap" ""\n')
        config.write_text(
            "[databases]\n"
            f"* = host={self._server.folder}\n"
            "[pgbouncer]\n"
            "pool_mode = transaction\n"
            f"default_pool_size = {self._connections}\n"
            "max_client_conn = 50\n"
            f"unix_socket_dir = {self.folder}\nlisten_port = 6432\nlisten_addr =\n"
            f"auth_type = trust\nauth_file = {users}\nlogfile = {self.folder}/log\n"
        )
        if self._servant:
            for path in (self.folder, config, users):
                os.chown(path, self._servant["user"], self._servant["group"])
        self._process = subprocess.Popen(
            [binary("pgbouncer"), "-q", str(config)],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._servant,
        )
        until = time.monotonic() + START
        while not self._listens():
            assert self._process.poll() is None, "pgbouncer has ended"
            assert time.monotonic() < until, "pgbouncer does not listen"
            time.sleep(0.02)
        return self

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.folder / ".s.PGSQL.6432")) == 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database_url: str) -> str:
        """The same database, by way of the pooler."""
        return database_url.replace(f"host={self._server.folder}", f"host={self.folder}") + "&port=6432"
