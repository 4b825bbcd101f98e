"""The Django project that a page shows, in a process of its own: Django is configured once in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import TOP
from tests.docs.pages import files_of
from wixvisitor.cookies import generate_key

_SETTINGS = 'SECRET_KEY = "x"\nALLOWED_HOSTS = ["shop.example"]\nROOT_URLCONF = "shop.urls"\n'
_START = """
import respx
from starlette.testclient import TestClient
from wixvisitor.testing import FakeWix
from shop.asgi import application

fake, router = FakeWix(), respx.mock(assert_all_called=False)
router.route(host="www.wixapis.com").mock(side_effect=respx.ASGIHandler(fake.app))
router.start()
"""


def printed_by(program: str, page: str, place: Path) -> str:
    """Makes the project of the page's files below ``shop/``, and returns what the program prints, or its errors.

    Args:
        program: has ``application``, which is the project, ``TestClient``, and ``fake``, which answers in place of Wix.
        page: with the project's files but its settings.
        place: an empty folder.
    """
    (place / "shop").mkdir()
    files = {name: code for name, code in files_of(page).items() if name.startswith("shop/")}
    for name, code in {**files, "shop/settings.py": _SETTINGS}.items():
        (place / name).write_text(code, "utf-8")
    path = os.pathsep.join([str(place), str(TOP)])
    environment = os.environ | {"PYTHONPATH": path, "SHOP_KEYS": generate_key()}
    command = [sys.executable, "-c", _START + program]
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr
