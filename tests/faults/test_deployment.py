"""The app, the servers' commands and nginx's configuration of docs/how-to/deploy.md, as the page shows them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import trustme
from anyio.from_thread import start_blocking_portal

from tests.constants import CLIENT_ID
from tests.docs.blocks import TOP, blocks_of, program
from tests.docs.pages import files_of
from wixvisitor.cookies import generate_key
from wixvisitor.testing import FakeWix

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn and nginx do not run on Windows"),
]

PAGE = "docs/how-to/deploy.md"
SHOP = "shop.example"
QUERY = "/stores/v3/products/query"


@pytest.mark.parametrize(
    ("server", "store"), [("uvicorn", "sqlite"), ("uvicorn", "redis"), ("gunicorn", "sqlite"), ("granian", "sqlite")]
)
def test_a_shop_behind_nginx(
    tmp_path: Path, server: str, store: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers behind nginx are one visitor to each browser, who is not limited; answers for all are cached."""
    if store == "redis":
        monkeypatch.setenv("REDIS_URL", request.getfixturevalue("redis_url"))
    fake = FakeWix()
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake.serve()) as wix:
        with _serving(tmp_path, server, wix) as app, _nginx(tmp_path, app) as shop, _browser(shop, tmp_path) as browser:
            answers = [browser.get("/cart") for _ in range(60)]
            assert {answer.status_code for answer in answers} == {200}
            assert "__Host-wixvisitor-" in answers[0].headers["set-cookie"]
            assert not any("set-cookie" in answer.headers for answer in answers[1:])
            assert len(fake.visitors) == 1
            for _ in range(5):
                assert "set-cookie" not in browser.get("/products").headers
            assert len([call for call in fake.calls if call.path == QUERY]) == 1
            _check_newcomers(browser)
            assert browser.get("/ready").status_code == 404
            assert httpx.get(f"http://127.0.0.1:{app}/ready").json() == {"store": "ok"}
    assert (tmp_path / "visitors.db").exists() == (store == "sqlite")


def _check_newcomers(browser: httpx.Client) -> None:
    """A crawler without cookies is told to come later, before the app sees it; one with a made-up cookie passes."""
    made_up = {"Cookie": "__Host-wixvisitor-=1"}
    assert {browser.get("/health-of-nothing", headers=made_up).status_code for _ in range(60)} == {404}
    statuses = []
    for _ in range(60):
        browser.cookies.clear()
        statuses.append(browser.get("/health-of-nothing").status_code)
    assert set(statuses) == {404, 429}


def _browser(port: int, place: Path) -> httpx.Client:
    """A browser that finds the shop's name at this port."""
    transport = httpx.HTTPTransport(verify=ssl.create_default_context(cafile=place / "ca.pem"))
    return httpx.Client(transport=_AtPort(transport, port), base_url=f"https://{SHOP}", timeout=30)


class _AtPort(httpx.BaseTransport):
    """Connects to a port of this machine, and asks for the name of the request."""

    def __init__(self, inner: httpx.BaseTransport, port: int) -> None:
        self._inner, self._port = inner, port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(host="127.0.0.1", port=self._port)
        extensions = {**request.extensions, "sni_hostname": SHOP}
        here = httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)
        return self._inner.handle_request(here)

    def close(self) -> None:
        self._inner.close()


@contextmanager
def _serving(place: Path, server: str, wix: str) -> Iterator[int]:
    """Serves the page's app by the page's command; afterwards it ends on SIGTERM, without an error."""
    for name, text in files_of(PAGE).items():
        (place / name).write_text(text, "utf-8")
    port = _free_port()
    config = place / "gunicorn.conf.py"
    config.write_text(config.read_text("utf-8").replace(":8000", f":{port}"), "utf-8")
    (command,) = (block.code for block in blocks_of(PAGE) if block.code.startswith(f"{server} "))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(place), str(TOP)]),
        "SHOP_KEYS": generate_key(),
        "WIX_CLIENT_ID": CLIENT_ID,
        "WIX_BASE_URL": wix,
        "PROCESSES": "2",
    }
    with (place / "server.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *shlex.split(command.replace("--port 8000", f"--port {port}"))],
            cwd=place,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(port, process)
        yield port
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        said = (place / "server.log").read_text("utf-8")
        assert (process.returncode, "Traceback" in said) == (0, False), said
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers, too
        process.wait()


@contextmanager
def _nginx(place: Path, app: int) -> Iterator[int]:
    """Runs nginx with the page's configuration; what differs are ports, directories and the certificate."""
    authority, port = trustme.CA(), _free_port()
    authority.cert_pem.write_to_path(place / "ca.pem")
    authority.issue_cert(SHOP).private_key_and_cert_chain_pem.write_to_path(place / "shop.pem")
    (code,) = (block.code for block in blocks_of(PAGE) if block.language == "nginx")
    code = code.replace("127.0.0.1:8000", f"127.0.0.1:{app}").replace("listen 443", f"listen 127.0.0.1:{port}")
    code = re.sub(r"/etc/ssl/shop\.(pem|key)", str(place / "shop.pem"), code).replace("/var/cache/nginx", str(place))
    folders = "".join(f"{name}_temp_path {place}/{name};\n" for name in _TEMPORARY)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (place / "nginx.conf").write_text(
        f"daemon off;\n{user}pid {place}/nginx.pid;\nerror_log {place}/error.log;\nevents {{ }}\n"
        f"http {{\naccess_log off;\n{folders}{code}\n}}\n",
        "utf-8",
    )
    process = subprocess.Popen([program("nginx", "/usr/sbin"), "-p", str(place), "-c", str(place / "nginx.conf")])
    try:
        _wait(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(10)


_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until the port takes connections."""
    until = time.monotonic() + 30
    while True:
        assert process.poll() is None
        assert time.monotonic() < until
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
