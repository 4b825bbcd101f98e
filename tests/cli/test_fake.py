"""`python -m wixvisitor fake`, in a process of its own."""

from __future__ import annotations

import json
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.test_cli import run_without
from tests.commands import SECRET, Served, fake_command
from tests.constants import CART, CLIENT_ID, IN_CI
from tests.diagonal import ONLY_IN_CI
from wixvisitor import VisitorSession

pytestmark = [
    pytest.mark.machine,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end the command with signals"),
]

ANONYMOUS = {"clientId": CLIENT_ID, "grantType": "anonymous"}
STORES = "215238eb-22a5-4c36-9e7b-e7c08025e04e"


def eventually(condition: Callable[[], Any]) -> Any:
    """The first true result; the process has ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def state_of(served: Served) -> Any:
    return httpx.get(f"{served.url}/_fake/state").raise_for_status().json()


def saved(path: Path) -> list[Any]:
    visitors: list[Any] = json.loads(path.read_text("utf-8"))["visitors"]
    return visitors


def put_into_cart(url: str, product: str, tokens: dict[str, Any] | None = None) -> dict[str, Any]:
    """Puts a product into the cart of a new visitor, and returns the visitor's tokens."""
    tokens = tokens or httpx.post(f"{url}/oauth2/token", json=ANONYMOUS).raise_for_status().json()
    item = {"quantity": 1, "catalogReference": {"appId": STORES, "catalogItemId": product}}
    headers = {"authorization": tokens["access_token"]}
    httpx.post(f"{url}{CART}/add-line-items", json={"catalogItems": [item]}, headers=headers).raise_for_status()
    return tokens


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "products.json"
    path.write_text('[{"id": "mug", "name": "Mug", "price": "12.50"}]', "utf-8")
    return path


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on the PATH")
def test_it_says_how_to_call_it() -> None:
    """The line for curl gets tokens, and curl adds a fault; what is printed holds no secret."""
    with fake_command() as served:
        words = [*shlex.split(served.how("curl")), "--silent", "--show-error"]
        tokens = json.loads(subprocess.run(words, capture_output=True, check=True, timeout=30).stdout)
        assert tokens["expires_in"] == 14_400
        fault = ["curl", "-sS", f"{served.url}/_fake/faults", "-d", '{"verb": "fail", "status": 500}']
        assert json.loads(subprocess.run(fault, capture_output=True, check=True, timeout=30).stdout)["number"] == 1
        assert httpx.post(f"{served.url}/oauth2/token", json=ANONYMOUS).status_code == 500
    assert SECRET.search("".join(served.lines)) is None


@pytest.mark.anyio
async def test_an_app_in_python() -> None:
    """The line for Python is a session that shops there; four hours later by the fake it is the same visitor."""
    with fake_command() as served:
        names = {"VisitorSession": VisitorSession, "client_id": CLIENT_ID}
        async with eval(served.how("Python"), names) as session:
            assert (await session.get(CART)).status_code == 404
            async with httpx.AsyncClient() as client:
                await client.post(f"{served.url}/_fake/clock", json={"advance": 4 * 3600})
            assert (await session.get(CART)).status_code == 404
        totals = state_of(served)["totals"]
    assert (totals["visitors"], totals["mints"], totals["renewals"]) == (1, 1, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM] if IN_CI else [signal.SIGTERM])
def test_it_ends_at_once(tmp_path: Path, number: int) -> None:
    """Ctrl-C and SIGTERM end it within a second, also with an open page and a call that hangs, and save the state."""
    path = tmp_path / "fake.json"
    with fake_command("--reload-state", path) as served, httpx.Client() as client:
        client.post(f"{served.url}/oauth2/token", json=ANONYMOUS)
        client.post(f"{served.url}/_fake/faults", json={"verb": "hang"})
        hanging = threading.Thread(target=_hang, args=(served.url,))
        with client.stream("GET", f"{served.url}/_fake/events") as events:
            next(events.iter_lines())
            hanging.start()
            eventually(lambda: state_of(served)["calls"][0]["running"])
            code, seconds, rest = served.stop(number)
        hanging.join(5)
    assert (code, rest) == (0, f"1 visitor is kept in {path}\n")
    assert seconds < 1.5  # half a second of these for a machine that is busy
    assert len(saved(path)) == 1


def _hang(url: str) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{url}/oauth2/token", json=ANONYMOUS, timeout=30)


def test_a_cart_outlives_a_kill(tmp_path: Path, shop: Path) -> None:
    """After kill -9 and a start with the same file, the old token shows the old cart, and a clock that went on."""
    path = tmp_path / "fake.json"
    with fake_command("--reload-state", path, "--products", shop) as served:
        tokens = put_into_cart(served.url, "mug")
        httpx.post(f"{served.url}/_fake/clock", json={"advance": 3600})
        eventually(lambda: [visitor for visitor in saved(path) if visitor["cart"]])
        eventually(lambda: json.loads(path.read_text("utf-8"))["clock"]["fake"] > time.time() + 3000)
        served.stop(signal.SIGKILL)
    with fake_command("--reload-state", path) as served:
        headers = {"authorization": tokens["access_token"]}
        cart = httpx.get(f"{served.url}{CART}", headers=headers).raise_for_status().json()["cart"]
        state = state_of(served)
    assert [line["name"]["original"] for line in cart["lineItems"]] == ["Mug"]
    assert state["clock"]["now"] > time.time() + 3000
    assert len(state["visitors"]) == 1


@ONLY_IN_CI
def test_a_member_outlives_a_kill(tmp_path: Path) -> None:
    """A member who has registered with the code of the page's mail can log in after kill -9 and a restart."""
    path = tmp_path / "fake.json"
    credentials = {"loginId": {"email": "anna@example.com"}, "password": "correct horse"}
    with fake_command("--reload-state", path, "--verify-emails") as served:
        tokens = httpx.post(f"{served.url}/oauth2/token", json=ANONYMOUS).json()
        headers = {"authorization": tokens["access_token"]}
        api = f"{served.url}/_api/iam"
        outcome = httpx.post(f"{api}/authentication/v2/register", json=credentials, headers=headers).json()
        (mail,) = state_of(served)["mail"]
        body = {"code": mail["code"], "stateToken": outcome["stateToken"]}
        outcome = httpx.post(f"{api}/verification/v1/auth/verify", json=body, headers=headers).json()
        assert outcome["state"] == "SUCCESS"
        eventually(lambda: [one for one in json.loads(path.read_text("utf-8"))["members"] if one["isVerified"]])
        served.stop(signal.SIGKILL)
    assert "correct horse" not in path.read_text("utf-8")
    listed = "https://shop.example/callback"
    with fake_command(
        "--reload-state", path, "--redirect-uri", listed, "--hosted-url", "http://fake.test/x/"
    ) as served:
        api = f"{served.url}/_api/iam/authentication/v2/login"
        assert httpx.post(api, json=credentials, headers=headers).json()["state"] == "SUCCESS"
        body = {"logout": {"clientId": CLIENT_ID}, "callbacks": {"postFlowUrl": "https://evil.example/"}}
        answer = httpx.post(f"{served.url}/headless/v1/redirect-session", json=body, headers=headers).json()
        url = answer["redirectSession"]["fullUrl"]
        assert url.startswith("http://fake.test/x/_hosted/logout?session=")
        assert httpx.get(url.replace("http://fake.test/x", served.url)).status_code == 403


@ONLY_IN_CI
def test_kills_amid_saves(tmp_path: Path, shop: Path) -> None:
    """Killed at any moment of a busy time, the file is one whole state, and what was there stays."""
    path, kept = tmp_path / "fake.json", 0
    dice = random.Random(19)
    for _ in range(3):
        with fake_command("--reload-state", path, "--products", shop) as served:
            assert state_of(served)["totals"]["visitors"] >= kept
            end = time.monotonic() + dice.uniform(0.2, 0.6)
            while time.monotonic() < end:
                put_into_cart(served.url, "mug")
            served.stop(signal.SIGKILL)
        visitors = saved(path)
        assert len(visitors) >= kept
        kept = len(visitors)
    assert kept > 1


def test_an_hour_in_a_second() -> None:
    """With --speed an access token ends early by the server's clock, while its lifetime is told as ever."""
    with fake_command("--speed", "86400", "--access-token-lifetime", "7200") as served:
        tokens = httpx.post(f"{served.url}/oauth2/token", json=ANONYMOUS).json()
        headers = {"authorization": tokens["access_token"]}
        eventually(lambda: httpx.get(f"{served.url}{CART}", headers=headers).status_code == 401)
        assert (tokens["expires_in"], state_of(served)["clock"]["speed"]) == (7200, 86_400)


def test_the_port_is_in_use() -> None:
    """A port that another program has is named, and is wrong usage."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run_without([], ["fake", "--port", str(port)])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"wixvisitor: cannot listen on port {port} of 127.0.0.1: ")
    assert done.stderr.endswith("; choose another with --port\n")


def test_without_its_extra() -> None:
    """Without the extra it names the extra, and `--help` works."""
    done = run_without(["starlette"], ["fake"])
    assert done.returncode == 2
    assert done.stderr == "wixvisitor: python -m wixvisitor fake needs starlette: pip install 'wixvisitor[testing]'\n"
    assert run_without(["starlette", "uvicorn"], ["fake", "--help"]).returncode == 0


@pytest.mark.parametrize("content", ["", '{"orders": []}', '{"wixvisitor-fake": 1, "clock": {}}'])
def test_a_file_that_is_no_state(tmp_path: Path, run: Callable[..., Any], content: str) -> None:
    """A damaged or foreign file is an error that names it, and is left as it is."""
    path = tmp_path / "orders.json"
    path.write_text(content, "utf-8")
    done = run("fake", "--port", "0", "--reload-state", path)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"wixvisitor: {path}: it is ")
    assert path.read_text("utf-8") == content


def test_files_that_cannot_be_used(tmp_path: Path, run: Callable[..., Any]) -> None:
    """A directory that is not there, a file that another stand-in uses, and wrong products are told as such."""
    done = run("fake", "--port", "0", "--reload-state", tmp_path / "nowhere" / "fake.json")
    assert (done.code, "No such file" in done.err) == (1, True)
    path = tmp_path / "fake.json"
    with fake_command("--reload-state", path):
        done = run("fake", "--port", "0", "--reload-state", path)
    assert (done.code, done.err) == (1, f"wixvisitor: {path}: another stand-in uses it. It is left as it is.\n")
    path.write_text('[{"name": "Mug"}]', "utf-8")
    done = run("fake", "--port", "0", "--products", path)
    assert (done.code, done.err) == (2, f"wixvisitor: {path}: price of product 1 is no price, like 12.50\n")


@pytest.mark.parametrize(
    "argv",
    [
        ["--port", "65536"],
        ["--port", "-1"],
        ["--speed", "-1"],
        ["--speed", "nan"],
        ["--access-token-lifetime", "0"],
        ["--max-visitors", "0"],
        ["--reload-state", ""],
        ["--host", "no.such.host.invalid"],
        ["--allow-host", "fakewix:8900"],
        ["--allow-origin", "https://shop.example/"],
        ["--client-id", "mine"],
        ["--redirect-uri", "/callback"],
        ["--redirect-uri", "https://shop.example/#here"],
        ["--hosted-url", "localhost:8900"],
        ["--hosted-url", "http://localhost:8900/?x"],
    ],
)
def test_wrong_usage(argv: list[str], run: Callable[..., Any]) -> None:
    """Options that make no sense exit with 2 and are named."""
    done = run("fake", *argv)
    assert (done.code, done.out) == (2, "")
    assert argv[0].removeprefix("--").split("-")[0] in done.err
