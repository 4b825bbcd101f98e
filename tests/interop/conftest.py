"""Node and the real SDK: found, or the tests are skipped, or fail if WIXVISITOR_REQUIRE_INTEROP=1 asks for them."""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from tests.web.logins import FRAMEWORKS
from wixvisitor.testing import FakeWix

from . import compare, compare_logins
from .attacked import Attacked, is_of_routes
from .real_sdk import HERE, RealSdk, real_sdk
from .real_shops import open_shop

OLDEST_NODE = 18


@pytest.fixture(scope="session", autouse=True)
def node_and_sdk(request: pytest.FixtureRequest) -> None:
    """Nothing here runs without Node and the pinned packages. Only where they are required are they installed."""
    required = os.environ.get("WIXVISITOR_REQUIRE_INTEROP") == "1"
    if required and missing_node() is None and missing_packages() is not None and shutil.which("npm"):
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            npm_install()
    missing = missing_node() or missing_packages()
    if missing is not None and required:
        pytest.fail(missing, pytrace=False)
    if missing is not None:
        pytest.skip(missing)


def missing_node() -> str | None:
    """What is wrong with Node, or None."""
    node = shutil.which("node")
    if node is None:
        return f"no node on the PATH; the real @wix/sdk needs Node {OLDEST_NODE} or later"
    version = subprocess.run([node, "--version"], capture_output=True, encoding="utf-8", check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        return f"node is {version}; the real @wix/sdk needs Node {OLDEST_NODE} or later"
    return None


def missing_packages(place: Path = HERE) -> str | None:
    """What is wrong with the packages that are pinned there, or None."""
    pins = json.loads((place / "package.json").read_text("utf-8"))["dependencies"]
    shown = f"{place.parent.name}/{place.name}"
    for name, pinned in pins.items():
        manifest = place / "node_modules" / name / "package.json"
        if not manifest.exists():
            return f"{name} is not installed; run `npm install` in {shown}, or `nox -s interop`"
        installed = json.loads(manifest.read_text("utf-8"))["version"]
        if installed != pinned:
            return f"{name} is {installed}, not {pinned}; run `npm install` in {shown}"
    return None


def npm_install() -> None:
    """Installs what package.json pins, in sight: it takes about 15 seconds."""
    print("\nnpm install in tests/interop:")  # noqa: T201 - somebody is waiting
    if subprocess.run(["npm", "install"], cwd=HERE, timeout=300).returncode != 0:
        pytest.fail("`npm install` failed in tests/interop, see above", pytrace=False)


@pytest.fixture(scope="session")
def shopping_rows() -> list[compare.Row]:
    """What became of shoppers with both clients."""
    return anyio.run(compare.compare)


@pytest.fixture(scope="session")
def login_rows() -> list[compare_logins.Row]:
    """What became of logins with both clients."""
    return anyio.run(compare_logins.compare)


@pytest.fixture
def curl() -> None:
    """What needs curl is skipped without it, or fails where the interop tests are required."""
    if shutil.which("curl") is None:
        (pytest.fail if os.environ.get("WIXVISITOR_REQUIRE_INTEROP") == "1" else pytest.skip)("no curl on the PATH")


@pytest.fixture(params=FRAMEWORKS)
async def shop(
    request: pytest.FixtureRequest,
    curl: None,
    anyio_backend: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> AsyncGenerator[Attacked]:
    """A shop in each framework that a test attacks; afterwards all has to hold that ``Attacked.ends`` says."""
    async with open_shop(request.param, tmp_path) as opened:
        attacked = Attacked(opened)
        await attacked.begins()
        yield attacked
        await attacked.ends()
    assert [record for record in caplog.get_records("call") if is_of_routes(record)] == []


@pytest.fixture
def fake() -> FakeWix:
    return FakeWix(strict=True)


@pytest.fixture
async def base_url(fake: FakeWix, anyio_backend: str) -> AsyncGenerator[str]:
    async with fake.serve() as url:
        yield url


@pytest.fixture
async def sdk(base_url: str, client_id: str) -> AsyncGenerator[RealSdk]:
    """The real SDK without tokens, in front of the fake."""
    async with real_sdk(base_url) as sdk:
        await sdk.create(client_id)
        yield sdk
