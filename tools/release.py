"""``python -m tools.release``: whether what ``tools.package`` built may be uploaded. Builds and uploads nothing.

``--tag v0.1.0`` is the tag that the release is made for; it has to name the version of wixvisitor/_version.py.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tools.package import TOP

# RFC 2606, RFC 6761
_RESERVED: Final = (".invalid", ".example", ".test", ".localhost", ".example.com", ".example.org")
_DATED: Final = re.compile(r"## \[?(?P<version>[^\]\s]+)\]? - (?P<date>\d{4}-\d{2}-\d{2})")


def version_of(place: Path = TOP) -> str:
    """Returns the version, from the one file that has it."""
    return str(runpy.run_path(str(place / "wixvisitor/_version.py"))["__version__"])


def problems(pyproject: str, changelog: str, version: str, tag: str | None = None) -> list[str]:
    """Returns what in the files speaks against a release; an empty list if nothing does.

    Args:
        pyproject: the text of pyproject.toml.
        changelog: the text of CHANGELOG.md.
        version: what is to be released.
        tag: what the release is made for; None: it is not tagged yet.
    """
    found = []
    repository = tomllib.loads(pyproject)["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    host = repository.partition("://")[2].partition("/")[0]
    if not repository.startswith("https://") or f".{host}".endswith(_RESERVED) or "." not in host:
        found.append(f"pyproject.toml: repository = {repository!r} is a placeholder; give the project's real address")
    heading = next((line for line in changelog.splitlines() if line.startswith("## ")), "")
    dated = _DATED.fullmatch(heading)
    if dated is None or dated["version"] != version or not _is_date(dated["date"]):
        found.append(f"CHANGELOG.md: its first section is {heading!r}; expected version {version} and a date")
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag {tag} is not v{version}, which wixvisitor/_version.py names")
    return found


def _is_date(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def problems_of_commit(version: str, git: Callable[..., str]) -> list[str]:
    """Returns what in the repository speaks against a release.

    Args:
        version: what is to be released.
        git: runs git with these arguments and returns its output.
    """
    found = []
    if git("status", "--porcelain"):
        found.append("there are changes that are not committed; the archives may not be those of the commit")
    tag = f"v{version}"
    if git("tag", "--list", tag) and tag not in git("tag", "--points-at", "HEAD").split():
        found.append(f"{tag} is the tag of another commit; raise the version in wixvisitor/_version.py")
    return found


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=TOP, check=True, capture_output=True, encoding="utf-8")
    return done.stdout.strip()


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what is missing, or which archives may be uploaded; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.release")
    parser.add_argument("--tag", help="the tag of this release; default: there is none yet")
    version, tag = version_of(), parser.parse_args(argv).tag
    pyproject, changelog = ((TOP / name).read_text("utf-8") for name in ("pyproject.toml", "CHANGELOG.md"))
    found = [*problems(pyproject, changelog, version, tag), *problems_of_commit(version, _git)]
    for problem in found:
        print(f"not ready: {problem}", file=sys.stderr)
    if found:
        return 1
    archives = sorted(path.name for path in (TOP / "dist").glob("*"))
    if archives != [f"wixvisitor-{version}-py3-none-any.whl", f"wixvisitor-{version}.tar.gz"]:
        print(f"not ready: dist/ holds {', '.join(archives) or 'nothing'}; nox -s build makes both", file=sys.stderr)
        return 1
    print(f"ready to upload, in dist/: {', '.join(archives)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
