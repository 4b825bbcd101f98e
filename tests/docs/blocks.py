"""The fenced blocks of the pages, and what each language's own tool says of them."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trustme
import yaml

TOP = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(TOP).as_posix()
    for path in (*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), TOP / "examples/README.md")
)
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)(?P<options>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_TITLE = re.compile(r'title="([^"]+)"')
_UNCHECKED = re.compile(r"<!-- not checked: (?P<reason>[^>]{10,}) -->\n\n?$")


@attrs.frozen
class Block:
    """One fenced block.

    Args:
        title: the file that it shows, if it has a title.
        reason: why it is not checked, if the comment before it says so.
    """

    page: str
    line: int
    language: str
    title: str | None
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> Iterator[Block]:
    text = (TOP / page).read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        title = _TITLE.search(match["options"])
        unchecked = _UNCHECKED.search(text[: match.start()])
        yield Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            language=match["language"],
            title=title[1] if title else None,
            code=re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE),
            reason=unchecked["reason"] if unchecked else None,
        )


def run(command: list[str], program: str) -> None:
    done = subprocess.run([program, *command], capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def program(name: str, place: str = "") -> str:
    found = shutil.which(name) or shutil.which(name, path=place)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not on this machine, and CI checks each block", pytrace=False)
    return found or pytest.skip(f"{name} is not on this machine")


def shell(block: Block, place: Path) -> None:
    """``bash -n``: the syntax is right. Lines of a terminal's output are no part of such a block."""
    (place / "script.sh").write_text(block.code, "utf-8")
    run(["-n", str(place / "script.sh")], program("bash"))


def javascript(block: Block, place: Path) -> None:
    """``node --check``, as a module."""
    (place / "script.mjs").write_text(block.code, "utf-8")
    run(["--check", str(place / "script.mjs")], program("node"))


def nginx(block: Block, place: Path) -> None:
    """``nginx -t``; a page shows what stands within ``http { }`` or within ``server { }``."""
    code = block.code
    if not re.search(r"^\s*(server|upstream|map|limit_req_zone|http)\b", code, re.MULTILINE):
        code = f"server {{ listen 127.0.0.1:8080;\n{code} }}"
    if not re.search(r"^\s*http\b", code, re.MULTILINE):
        code = f"http {{\n{code}\n}}"
    code = at_home(code, place)
    (place / "nginx.conf").write_text(
        f"pid {place}/nginx.pid;\nerror_log {place}/error.log;\nevents {{ }}\n{code}\n", "utf-8"
    )
    run(["-t", "-q", "-p", str(place), "-c", "nginx.conf"], program("nginx", "/usr/sbin"))


def at_home(code: str, place: Path) -> str:
    """Returns nginx's configuration with directories below this place, and with a certificate there."""
    both = trustme.CA().issue_cert("shop.example").private_key_and_cert_chain_pem
    for path in re.findall(r"\s/((?:var|etc)/[\w./-]+)", code):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith((".pem", ".key")):
            both.write_to_path(place / path)
    return re.sub(r"(?<=\s)(?=/(?:var|etc)/)", str(place), code)


def ini(block: Block, place: Path) -> None:
    """It parses."""
    del place
    configparser.ConfigParser(strict=False, interpolation=None).read_string(block.code)


def headers(block: Block, place: Path) -> None:
    """Each line is a header: a name that RFC 9110 allows, a colon, and a value."""
    del place
    assert all(re.fullmatch(r"[!#$%&'*+.^`|~\w-]+: \S.*", line) for line in block.code.splitlines()), block


def yaml_file(block: Block, place: Path) -> None:
    """It parses; and a ``compose.yaml`` is what Compose's schema describes."""
    list(yaml.safe_load_all(block.code))
    if block.title == "compose.yaml":
        (place / block.title).write_text(block.code, "utf-8")
        run(["--builtin-schema", "vendor.compose-spec", str(place / block.title)], of_python("check-jsonschema"))


def dockerfile(block: Block, place: Path) -> None:
    """Hadolint finds nothing."""
    (place / "Dockerfile").write_text(block.code, "utf-8")
    run(["--no-color", str(place / "Dockerfile")], of_python("hadolint"))


def of_python(name: str) -> str:
    """A program that was installed beside Python."""
    return program(name, str(Path(sys.executable).parent))


# What only a reader reads: output of programs, and pictures made of letters.
READ_ONLY = {"text", "console"}
CHECKS: dict[str, Callable[[Block, Path], object]] = {
    "sh": shell,
    "javascript": javascript,
    "nginx": nginx,
    "ini": ini,
    "http": headers,
    "json": lambda block, _: json.loads(block.code),
    "toml": lambda block, _: tomllib.loads(block.code),
    "yaml": yaml_file,
    "dockerfile": dockerfile,
}
