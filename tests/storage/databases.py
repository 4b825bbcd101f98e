"""Real PostgreSQL and MariaDB servers, each on a loopback port and in a directory of its own, and pgbouncer before one.

The programs are Debian's (``apt-get install postgresql mariadb-server pgbouncer``) or any on the PATH. They do not run
as root, so root starts them as another user. Nothing is synced to the disk unless a test asks for that.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs

from tests.storage.servers import PATIENCE, free_port, lacking

DRIVERS = ("postgresql+psycopg", "postgresql+asyncpg", *(["mariadb+asyncmy"] if sys.platform != "win32" else []))

USER, DATABASE = "shop", "shop"
PASSWORD = "p@ss/word:%"
_PLACES = ("usr/lib/postgresql/*/bin", "usr/local/sbin", "usr/sbin")  # of Debian, not on a user's PATH
_UNSYNCED = ("-c", "fsync=off", "-c", "full_page_writes=off")


def found(name: str) -> str | None:
    """Returns the path of a program; None if it is not installed."""
    places = (path for place in _PLACES for path in sorted(Path("/").glob(f"{place}/{name}"), reverse=True))
    return next((str(path) for path in places if os.access(path, os.X_OK)), None) or shutil.which(name)


def program(name: str, package: str) -> str:
    """Returns the path of a program, or skips the test and says what to install."""
    return found(name) or lacking(f"no {name} (apt-get install {package})")


def other_user() -> dict[str, Any]:
    """Returns the options of ``subprocess`` that make a process no root's."""
    if sys.platform == "win32":
        return lacking("database servers are started on POSIX")
    if os.geteuid() != 0:
        return {}
    import pwd  # not on Windows

    for name in ("postgres", "mysql", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    return lacking("root cannot start a database server, and there is no user nobody")


@attrs.define
class Database:
    """A server process, which can be stopped and started again on the same port.

    Attributes:
        options: further options of its command line.
        place: its directory.
        port: of 127.0.0.1.
    """

    options: tuple[str, ...] = ()
    place: Path = attrs.field(factory=lambda: Path(tempfile.mkdtemp(prefix="wixvisitor-")))
    port: int = attrs.field(factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __attrs_post_init__(self) -> None:
        if user := other_user():
            os.chown(self.place, user["user"], user["group"])

    @property
    def data(self) -> Path:
        return self.place / "data"

    def url(self, scheme: str, port: int | None = None) -> str:
        """The URL for a driver, straight or through another port."""
        return f"{scheme}://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port or self.port}/{DATABASE}"

    def run(self, *command: str, text: str | None = None) -> str:
        """Runs a program in the server's directory and as its user."""
        done = subprocess.run(
            command, cwd=self.place, capture_output=True, encoding="utf-8", input=text, timeout=120, **other_user()
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def launch(self, *command: str) -> None:
        """Starts the server in a process group of its own, and waits until it answers."""
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.place, stdout=log, stderr=log, start_new_session=True, **other_user()
            )
        until = time.monotonic() + 3 * PATIENCE
        while not self.answers():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < until, f"the server does not answer\n{self.log}"
            time.sleep(0.02)

    @property
    def log(self) -> str:
        return (self.place / "log").read_text("utf-8", "replace")

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        """Kills it with all its children, as a power failure would."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
            self.process = None

    def remove(self) -> None:
        """Kills it and removes its directory."""
        self.kill()
        shutil.rmtree(self.place, ignore_errors=True)


class Postgres(Database):
    """PostgreSQL."""

    def bin(self, name: str) -> str:
        """The path of one of its programs."""
        return program(name, "postgresql")

    def create(self) -> None:
        """Makes the cluster of databases."""
        secret = self.place / "password"
        secret.write_text(PASSWORD, "utf-8")
        secret.chmod(0o644)
        initdb = (self.bin("initdb"), "-D", str(self.data), "-N", "-U", USER, "-A", "scram-sha-256")
        self.run(*initdb, "--pwfile", str(secret), "-E", "UTF8", "--locale", "C")

    def start(self) -> None:
        """Starts it, after making its database if there is none."""
        is_new = not self.data.exists()
        if is_new:
            self.create()
        settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={self.place}", "max_connections=200")
        fixed = [word for setting in settings for word in ("-c", setting)]
        more = self.options or _UNSYNCED
        self.launch(self.bin("postgres"), "-D", str(self.data), "-p", str(self.port), *fixed, *more)
        if is_new:
            self.query(f"CREATE DATABASE {DATABASE}", database="postgres")

    def answers(self) -> bool:
        ready = (self.bin("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port))
        return subprocess.run(ready).returncode == 0

    def query(self, *statements: str, database: str = DATABASE) -> list[Any]:
        """Runs statements as its owner; returns the last one's rows."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database, autocommit=True
        ) as one:
            for statement in statements:
                cursor = one.execute(statement)
            return cursor.fetchall() if cursor.description else []


class MariaDB(Database):
    """MariaDB."""

    def create(self) -> None:
        """Makes its system tables, and a user."""
        install = program("mariadb-install-db", "mariadb-server")
        where = (f"--datadir={self.data}", "--auth-root-authentication-method=normal", "--skip-test-db")
        self.run(install, "--no-defaults", *where, "--skip-name-resolve")
        escaped = PASSWORD.replace("'", "''")
        (self.place / "init.sql").write_text(
            f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
            f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{escaped}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n",
            "utf-8",
        )

    def start(self) -> None:
        """Starts it, after making its database if there is none."""
        server = program("mariadbd", "mariadb-server")
        if not self.data.exists():
            self.create()
        where = (f"--datadir={self.data}", f"--port={self.port}", "--bind-address=127.0.0.1")
        there = (f"--socket={self.place}/socket", f"--pid-file={self.place}/pid", f"--init-file={self.place}/init.sql")
        less = ("--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--skip-name-resolve")
        self.launch(server, "--no-defaults", *where, *there, *(self.options or less), "--innodb-log-file-size=16M")

    def answers(self) -> bool:
        import pymysql

        try:
            pymysql.connect(
                host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, database=DATABASE, connect_timeout=2
            ).close()
        except pymysql.Error:
            return False
        return True


class PgBouncer(Database):
    """pgbouncer in transaction mode, with few connections to the server, so that each call may get another."""

    server: Postgres

    def start(self) -> None:
        """Starts it."""
        (self.place / "users").write_text(f'"{USER}" "{PASSWORD}"\n', "utf-8")
        (self.place / "ini").write_text(
            "[databases]\n"
            f"{DATABASE} = host=127.0.0.1 port={self.server.port} user={USER} password={PASSWORD}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {self.place}/users\n"
            "pool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 100\nserver_round_robin = 1\n",
            "utf-8",
        )
        self.launch(program("pgbouncer", "pgbouncer"), str(self.place / "ini"))

    def answers(self) -> bool:
        ready = (self.server.bin("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port))
        return subprocess.run(ready).returncode == 0
