"""The tutorial, word by word: here in the ordinary tests, and in a fresh environment in ``nox -s docs``."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest
import uvicorn

from tests.commands import NEEDED_PLUGINS
from tests.diagonal import ONLY_IN_CI
from tests.docs.blocks import TOP
from tests.docs.reader import Reader
from tests.docs.web_browsers import Browser, ChromiumWindow, HttpBrowser
from wixvisitor.cli._arguments import parse

PAGE = "docs/tutorial.md"
FINISHED = TOP / "examples/tutorial/shop.py"
BELOW_EPHEMERAL = range(20_000, 30_000)  # where no system takes a port by itself while the shop is not running
NOT_A_READERS = ("COV_", "COVERAGE_", "PYTEST_", "PYTHON", "VIRTUAL_ENV", "WIX")


def other_ports() -> Callable[[str], str]:
    """Replaces the page's ports by free ones, also where the page relies on a default.

    The page starts the shop many times, and other tests may run meanwhile.
    """
    shop, wix = islice(filter(is_free, random.sample(BELOW_EPHEMERAL, len(BELOW_EPHEMERAL))), 2)

    def adapted(text: str) -> str:
        text = text.replace(":8000", f":{shop}").replace(":8900", f":{wix}")
        text = text.replace("uvicorn --factory", f"uvicorn --port {shop} --factory")
        return text.replace("wixvisitor fake\n", f"wixvisitor fake --port {wix}\n")

    return adapted


def in_this_environment(text: str) -> str:
    """Replaces the commands that make an environment and install into it."""
    activate = f"mkdir -p .venv/bin && echo 'export PATH={Path(sys.executable).parent}:$PATH' > .venv/bin/activate"
    lines = [activate if line.startswith("python3 -m venv") else line for line in text.splitlines(keepends=False)]
    kept = "\n".join(line for line in lines if not line.startswith("pip install"))
    return kept + "\n" * text.endswith("\n")


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_A_READERS)} | more


def is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def follow(reader: Reader) -> None:
    """Follows the tutorial to its end, and compares the shop with the one that the page links to."""
    try:
        reader.follow(PAGE)
        assert (reader.place / "shop/shop.py").read_text("utf-8") == reader.adapted(FINISHED.read_text("utf-8"))
    finally:
        reader.close()


def test_the_ports_are_the_defaults() -> None:
    """The page names the ports of ``python -m wixvisitor fake`` and of uvicorn, which its commands do not name."""
    named = re.findall(r"127\.0\.0\.1:(\d+)", (TOP / PAGE).read_text("utf-8"))
    shop = next(option.default for option in uvicorn.main.params if option.name == "port")
    assert sorted({*map(int, named)}) == [shop, parse(["fake"]).port]


@ONLY_IN_CI
@pytest.mark.machine
def test_the_tutorial_is_true(tmp_path: Path) -> None:
    """Each command, click and file of the tutorial works and shows what the page says, in this environment."""
    ports = other_ports()
    follow(
        Reader(
            place=tmp_path,
            folder="shop",
            environment=environment(PYTHONPATH=str(TOP), **NEEDED_PLUGINS),
            adapted=lambda text: in_this_environment(ports(text)),
            new_browser=HttpBrowser,
        )
    )


@contextmanager
def windows(pictures: Path) -> Iterator[Callable[[], Browser]]:
    """Opens windows of a real Chromium; where there is none, of a browser without a screen."""
    from tests.browser.conftest import FLAGS, PROGRAMS, lacking

    chromium = os.environ.get("WIXVISITOR_CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if chromium is None or find_spec("playwright") is None:
        if os.environ.get("WIXVISITOR_REQUIRE_BROWSER"):
            lacking("no Chromium, or no Playwright")
        yield HttpBrowser
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=FLAGS) as browser:
        yield lambda: ChromiumWindow(browser.new_context(viewport={"width": 800, "height": 500}), pictures)


def built_wheel(place: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(place)]
    subprocess.run(command, cwd=TOP, check=True, capture_output=True, timeout=120)
    [wheel] = place.glob("*.whl")
    return wheel


@pytest.mark.site
def test_the_tutorial_on_a_new_machine(tmp_path: Path) -> None:
    """The same in a new environment, with pip, and in Chromium if there is one.

    Only the project itself does not come from the index: pip gets the wheel that is built here.
    """
    wheel = built_wheel(tmp_path / "built")
    ports = other_ports()

    def read() -> None:
        with windows(Path(os.environ.get("WIXVISITOR_SCREENSHOTS", tmp_path))) as new_browser:
            follow(
                Reader(
                    place=tmp_path,
                    folder="shop",
                    environment=environment(PIP_DISABLE_PIP_VERSION_CHECK="1"),
                    adapted=lambda text: ports(text).replace("'wixvisitor[", f"'{wheel}["),
                    new_browser=new_browser,
                )
            )

    with ThreadPoolExecutor(1) as thread:  # Playwright's other door, for event loops, may be open in this one
        thread.submit(read).result()
