"""``python -m tools.site``: writes the documentation site into ``site/``.

Each page is copied from ``docs/`` into ``.nox/site`` in the form that the site needs, and Zensical builds from there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tools.site.pages import AT_THE_TOP, as_in_the_site, place_of

TOP = Path(__file__).parents[2]
COPIES = TOP / ".nox" / "site"


def files() -> set[str]:
    """Returns the paths of all files and folders that git knows or that are new."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=TOP, check=True, capture_output=True, text=True).stdout.splitlines()
    found = {path for path in listed if (TOP / path).exists()}
    return found | {parent.as_posix() for path in found for parent in Path(path).parents}


def repository() -> str:
    """Returns the project's address."""
    settings = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    return str(settings["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"])


def copy() -> None:
    """Writes all pages and pictures as the site needs them."""
    shutil.rmtree(COPIES, ignore_errors=True)
    address, known = repository(), files()
    for path in sorted(path for path in known if path in AT_THE_TOP or (TOP / path).is_file()):
        place = place_of(path)
        if place is None:
            continue
        (COPIES / place).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".md"):
            text = (TOP / path).read_text(encoding="utf-8")
            (COPIES / place).write_text(as_in_the_site(text, path, address, known), encoding="utf-8")
        else:
            shutil.copy(TOP / path, COPIES / place)


def main() -> int:
    """Builds the site, and returns the exit code."""
    copy()
    return subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=TOP, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
