"""A threaded Flask app under gunicorn, loaded before the workers are forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from tests.constants import CART, CLIENT_ID
from wixvisitor.testing import FakeWix

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
]

APP = f"""
import os
from flask import Flask
from wixvisitor.blocking import BlockingVisitorPool
from wixvisitor.storage.sqlite import SQLiteStorage

pool = BlockingVisitorPool({CLIENT_ID!r}, base_url=os.environ["WIX"], storage=SQLiteStorage("visitors.db"))
pool.session("job").get({CART!r})  # its thread and its connection are the parent's
app = Flask(__name__)

@app.get("/")
def job():
    visitor = pool.session("job")
    return [os.getpid(), visitor.get({CART!r}).status_code, visitor.get_tokens().refresh_token.value]
"""


def test_workers_are_one_visitor(tmp_path: Path) -> None:
    """24 threads in 3 forked workers go on as the parent's visitor, and the server ends when it is told to."""
    (tmp_path / "app.py").write_text(APP, "utf-8")
    fake = FakeWix()
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake.serve()) as url:
        place = tmp_path / "socket"
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--preload", "-w3", "--threads=8", f"-bunix:{place}", "app:app"],
            cwd=tmp_path,
            env=os.environ | {"WIX": url},
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        _wait_until_it_serves(place, server)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(place)), base_url="http://shop", timeout=30) as client:
            with ThreadPoolExecutor(24) as threads:
                answers = list(threads.map(lambda _: client.get("/").json(), range(200)))
            assert {(status, token) for _, status, token in answers} == {(404, answers[0][2])}
            assert len({process for process, _, _ in answers}) > 1
        assert len(fake.visitors) == len(fake.token_calls()) == 1
        server.send_signal(signal.SIGTERM)
        log = server.communicate(timeout=30)[1]
        assert (server.returncode, "Traceback" in log) == (0, False), log


def _wait_until_it_serves(place: Path, server: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 30
    while not place.exists():
        assert server.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
