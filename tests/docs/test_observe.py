"""docs/how-to/observe.md: the module for structlog, in a process of its own, because logging is the process's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient

from tests.docs.blocks import TOP, blocks_of
from tests.docs.pages import files_of, ran

PAGE = "docs/how-to/observe.md"

PROGRAM = """
import asyncio, logging
import logs, structlog
from wixvisitor import VisitorPool
from wixvisitor.testing import FakeWix

async def main():
    structlog.contextvars.bind_contextvars(request_id="7f3a")
    async with FakeWix().client() as wix, VisitorPool("5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e", client=wix) as pool:
        await (await pool.session("anna")).generate_visitor_tokens()

logging.getLogger("wixvisitor").setLevel(logging.INFO)
asyncio.run(main())
"""


def test_the_line_of_structlog(tmp_path: Path) -> None:
    """The page's module formats a line of wixvisitor as the page shows it."""
    blocks = list(blocks_of("docs/how-to/observe.md"))
    (module,) = (block.code for block in blocks if block.title == "logs.py")
    (shown,) = (json.loads(block.code) for block in blocks if block.language == "json")
    (tmp_path / "logs.py").write_text(module, "utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(TOP)},
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert [json.loads(line) for line in ran.stderr.splitlines()] == [shown]


def test_the_metrics() -> None:
    """The page lists each metric that the module makes, and no other; and each attribute of a span."""
    page = (TOP / "docs/how-to/observe.md").read_text("utf-8")
    source = (TOP / "wixvisitor/opentelemetry.py").read_text("utf-8")
    listed = set(re.findall(r"^\| `(wixvisitor\.[\w.]+)` \|", page, re.MULTILINE))
    made = set(re.findall(r'"(wixvisitor(?:\.\w+){1,2})"', source))
    attributes = {"wixvisitor.client_id", "wixvisitor.grant", "wixvisitor.outcome"}
    assert listed == made - attributes
    assert [name for name in attributes if f"`{name}`" not in page] == []


@pytest.mark.usefixtures("wix")
def test_the_names_in_prometheus() -> None:
    """The page's app shows every series that the page names, and the alerts ask for these series and labels."""
    with TestClient(ran(PAGE)["app"], base_url="https://shop.example") as browser:
        assert browser.get("/cart").json() == {"cart": None}
        shown = browser.get("/metrics").text
    (listed,) = (block.code for block in blocks_of(PAGE) if block.language == "text")
    names = set(listed.replace("_{bucket,sum,count}", "_count").split())
    series = re.findall(r"^(wixvisitor_\w+)\{", shown, re.MULTILINE)
    assert names == {name for name in series if not name.endswith(("_bucket", "_sum"))}
    sources = [TOP / "wixvisitor/opentelemetry.py", *(TOP / "wixvisitor/_renewal").glob("*.py")]
    values = "".join(path.read_text("utf-8") for path in sources)
    (group,) = yaml.safe_load(files_of(PAGE)["wixvisitor-rules.yml"])["groups"]
    for rule in group["rules"]:
        ((name, label, value),) = re.findall(r'(wixvisitor_\w+)\{(\w+)="(\w+)"\}', rule["expr"])
        assert re.search(rf'^{name}\{{.*\b{label}="', shown, re.MULTILINE), rule
        assert f'"{value}"' in values, rule
