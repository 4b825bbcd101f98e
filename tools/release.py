"""``python -m tools.release``: builds what is published, and checks it. Uploads nothing.

It fails while pyproject.toml has a placeholder for the project's address. Other builds do not look at that.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

TOP = Path(__file__).parent.parent
_RESERVED = (".invalid", ".example", ".test", ".localhost", "example.com", "example.org")  # RFC 2606, RFC 6761


def problems(pyproject: str, changelog: str) -> list[str]:
    """Returns what speaks against a release; an empty list if nothing does.

    Args:
        pyproject: the text of pyproject.toml.
        changelog: the text of CHANGELOG.md.
    """
    settings = tomllib.loads(pyproject)
    version = settings["project"]["version"]
    repository = settings["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    host = repository.partition("://")[2].partition("/")[0]
    found = []
    if not repository.startswith("https://") or host.endswith(_RESERVED) or "." not in host:
        found.append(f"pyproject.toml: repository = {repository!r} is a placeholder; give the project's real address")
    heading = next((line for line in changelog.splitlines() if line.startswith("## ")), "")
    if version not in heading or "unreleased" in heading:
        found.append(f"CHANGELOG.md: its first section is {heading!r}; expected version {version} and a date")
    return found


def main() -> int:
    """Builds into ``dist/`` and returns the exit code."""
    found = problems((TOP / "pyproject.toml").read_text(encoding="utf-8"), (TOP / "CHANGELOG.md").read_text("utf-8"))
    for problem in found:
        print(f"not released: {problem}", file=sys.stderr)
    if found:
        return 1
    subprocess.run([sys.executable, "-m", "hatchling", "build", "--clean"], cwd=TOP, check=True)
    archives = sorted(str(path) for path in (TOP / "dist").iterdir())
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *archives], cwd=TOP, check=True)
    print(f"ready to upload: {' '.join(archives)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
