"""What the questions share: answers, sides in processes of their own, and a server that is not the bottleneck."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from rich.progress import Progress

HERE: Final = Path(__file__).parent
CART: Final = "/ecom/v2/carts/current"
BODY: Final = json.dumps({"cart": {"id": "c", "lineItems": [{"id": str(n), "name": "Mug"} for n in range(5)]}})
TOKEN_BODY: Final = json.dumps(
    {"access_token": "OauthNG.JWS." + "a" * 600, "refresh_token": "JWS." + "r" * 600, "expires_in": 14_400}
)
# Python writes the compiled modules of this project too, as it does for installed ones.
ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@attrs.frozen(kw_only=True)
class Verdict:
    """A figure beside its target.

    Attributes:
        what: what was measured.
        beside: its peer in the same run.
        figure: the ratio, count or size.
        target: the bound.
        at_most: whether the figure has to stay below it, and not above.
        must_hold: whether missing it is an error, because it is a count and no speed.
    """

    what: str
    beside: str
    figure: float
    target: float
    at_most: bool = False
    must_hold: bool = False
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the target is met."""
        return self.figure <= self.target if self.at_most else self.figure >= self.target


@attrs.define
class Answer:
    """What was found out about one question.

    Attributes:
        rows: the figures, as a table.
        verdicts: those with a target.
        data: what the charts need beyond the rows.
    """

    rows: list[dict[str, Any]] = attrs.field(factory=list)
    verdicts: list[Verdict] = attrs.field(factory=list)
    data: dict[str, Any] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)


class Side:
    """A process that does one thing when asked: one JSON request a line on stdin, one JSON answer a line on stdout."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", bufsize=1, env=ENVIRONMENT
        )

    def ask(self, **request: Any) -> Any:
        """Returns what the process answers.

        Raises:
            SystemExit: it answers nothing.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args!r} ended with {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def python_side(*arguments: str) -> list[str]:
    """Returns the command of a side in Python; ``side.py`` knows the names."""
    return [sys.executable, "-m", "benchmarks.side", *arguments]


def node_side(*arguments: str) -> list[str] | None:
    """Returns the command of the side that is the real @wix/sdk, None without Node or without the SDK."""
    if shutil.which("node") is None or not (HERE / "node_modules/@wix/sdk").exists():
        if os.environ.get("CI"):
            raise SystemExit("Node or @wix/sdk is not installed, and in CI it has to be")
        return None
    return ["node", str(HERE / "side.mjs"), *arguments]


@contextlib.contextmanager
def sides(commands: Mapping[str, Sequence[str] | None]) -> Iterator[dict[str, Side]]:
    """Starts the processes; those without a command are left out."""
    with contextlib.ExitStack() as stack:
        started = {name: Side(command) for name, command in commands.items() if command is not None}
        for side in started.values():
            stack.callback(side.close)
        yield started


def interleaved(
    cases: Sequence[Any], measure: Callable[[Any], float], *, rounds: int, progress: Progress, what: str
) -> dict[Any, list[float]]:
    """Measures every case once in each round, in turn and in reverse, after a round that does not count.

    A machine that slows down so slows all of them; compare figures of the same round.
    """
    found: dict[Any, list[float]] = {case: [] for case in cases}
    task = progress.add_task(what, total=(rounds + 1) * len(cases))
    for number in range(rounds + 1):
        for case in cases if number % 2 else list(reversed(cases)):
            figure = measure(case)
            if number:
                found[case].append(figure)
            progress.advance(task)
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Returns the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def free_port() -> int:
    """Returns a port of this machine that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def await_server(port: int, seconds: float = 30.0) -> None:
    """Returns when somebody listens on this port.

    Raises:
        OSError: nobody did in time.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


NGINX: Final = """
daemon off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
  uwsgi_temp_path {place}; scgi_temp_path {place}; keepalive_requests 100000000; default_type application/json;
  log_format line "$request_method $status";
  upstream wix {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=16384;
    location = /oauth2/token {{ {token} }}
    location / {{ return 200 '{body}'; }}
  }}
}}
"""


@attrs.frozen
class Server:
    """nginx: a small JSON body for every path, and a token endpoint.

    Attributes:
        url: where it listens.
    """

    url: str
    _log: Path

    def token_calls(self) -> int:
        """Returns how many calls the token endpoint has had."""
        return len(self._log.read_text("utf-8").splitlines())


@contextlib.contextmanager
def nginx(*, upstream: int | None = None) -> Iterator[Server]:
    """Runs nginx as long as the block.

    Args:
        upstream: the port where the token endpoint is; None: nginx answers itself, and counts.

    Raises:
        SystemExit: it is not installed.
    """
    if shutil.which("nginx") is None:
        raise SystemExit("nginx not found: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as directory:
        place, port = Path(directory), free_port()
        log = place / "token.log"
        log.touch()
        if upstream is None:
            token = f"access_log {log} line; return 200 '{TOKEN_BODY}';"
        else:
            token = 'proxy_pass http://wix; proxy_http_version 1.1; proxy_set_header Connection "";'
        config = NGINX.format(place=place, port=port, upstream=upstream or 1, token=token, body=BODY)
        (place / "nginx.conf").write_text(config, "utf-8")
        server = subprocess.Popen(["nginx", "-c", f"{place}/nginx.conf", "-p", directory], stderr=subprocess.DEVNULL)
        try:
            await_server(port)
            yield Server(f"http://127.0.0.1:{port}", log)
        finally:
            server.terminate()
            server.wait(5)


def server_alone(url: str, connections: int, seconds: float = 1.0) -> float | None:
    """Returns the requests a second that the server itself can do, by wrk; None without wrk."""
    if shutil.which("wrk") is None:
        return None
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s", url + CART]
    said = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    return float(said.partition("Requests/sec:")[2].split()[0])
