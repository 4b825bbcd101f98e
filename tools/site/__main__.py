"""``python -m tools.site``: builds the documentation site into ``site/``, and checks it.

Each page is copied from ``docs/`` into ``.nox/site`` in the form that the site needs, and Zensical builds from there.
``--serve`` shows the site on loopback, and builds it anew when a page changes.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from tools.site.check import problems
from tools.site.pages import BrokenLinkError, as_in_the_site, place_of

TOP = Path(__file__).parents[2]
COPIES = TOP / ".nox" / "site"
SITE = TOP / "site"
SHIM = TOP / "tools" / "site" / "node_modules" / "iframe-worker" / "shim" / "index.js"
_REMOTE_SHIM = re.compile(r'<script src="https://[^"]*iframe-worker[^"]*"[^>]*></script>')
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_COMPLAINT = re.compile(r"^(griffe|mkdocstrings)[:.]", re.MULTILINE)  # Zensical prints these, and goes on


_IS_STRICT = "Aborted because --strict flag is set"  # a traceback that says no more than that


def files() -> set[str]:
    """Returns the paths of all files and folders that git knows, or that are new.

    Raises:
        SystemExit: this is no clone, or git refuses it.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=TOP, check=False, capture_output=True, encoding="utf-8", timeout=60)
    if listed.returncode:
        raise SystemExit(f"the site is built from a clone with git: {listed.stderr.strip()}")
    found = {path for path in listed.stdout.split("\0") if path and (TOP / path).is_file()}
    return found | {parent.as_posix() for path in found for parent in Path(path).parents}


def repository() -> str:
    """Returns the project's address."""
    settings = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    return str(settings["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"])


def copy() -> None:
    """Writes all pages and pictures as the site needs them.

    Raises:
        BrokenLinkError: a page links to a file that does not exist.
    """
    address, known = repository(), files()
    wanted = {place: path for path in known if (TOP / path).is_file() and (place := place_of(path)) is not None}
    for old in [path for path in COPIES.rglob("*") if path.is_file()]:
        if old.relative_to(COPIES).as_posix() not in wanted:
            old.unlink()
    for place, path in sorted(wanted.items()):
        source, copied = TOP / path, COPIES / place
        copied.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".md"):
            content = as_in_the_site(source.read_text(encoding="utf-8"), path, address, known).encode()
        else:
            content = source.read_bytes()
        if not copied.exists() or copied.read_bytes() != content:
            copied.write_bytes(content)


def build() -> bool:
    """Builds the site from the copies, and returns whether Zensical, griffe and mkdocstrings have no complaint."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(
        command, cwd=TOP, check=False, capture_output=True, encoding="utf-8", errors="replace", timeout=600
    )
    said = _COLOUR.sub("", done.stdout + done.stderr)
    print(said.partition("Traceback")[0] if _IS_STRICT in said else said)
    return done.returncode == 0 and not _COMPLAINT.search(said)


def bring_home() -> None:
    """Lets the pages load the worker for search in files from the site instead of from another host.

    Without npm it is left out, and search needs a server then.
    """
    place = "assets/javascripts/iframe-worker.js"
    if SHIM.exists():
        shutil.copy(SHIM, SITE / place)
    for page in SITE.rglob("*.html"):
        up = "../" * (len(page.relative_to(SITE).parts) - 1)
        script = f'<script src="{up}{place}"></script>' if SHIM.exists() else ""
        text = page.read_text(encoding="utf-8")
        page.write_text(_REMOTE_SHIM.sub(script, text), encoding="utf-8")


def serve() -> None:
    """Shows the site until Ctrl-C, and copies changed pages each second."""
    server = subprocess.Popen([sys.executable, "-m", "zensical", "serve"], cwd=TOP)
    try:
        while server.poll() is None:
            time.sleep(1)
            try:
                copy()
            except (BrokenLinkError, FileNotFoundError) as error:  # a page that is being written, or was removed
                print(error, file=sys.stderr)
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait(10)


def main() -> int:
    """Builds and checks the site, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.site", description="Builds the documentation site.")
    parser.add_argument("--serve", action="store_true", help="show the site, and build it anew when a page changes")
    arguments = parser.parse_args()
    try:
        copy()
    except BrokenLinkError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.serve:
        serve()
        return 0
    is_clean = build()
    if not SITE.exists():
        return 1
    bring_home()
    found = list(problems(SITE))
    for problem in found:
        print(problem, file=sys.stderr)
    return 0 if is_clean and not found else 1


if __name__ == "__main__":
    sys.exit(main())
