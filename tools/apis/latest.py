"""``python -m tools.apis.latest``: what Wix has changed since the pinned versions, as a diff of the description."""

from __future__ import annotations

import difflib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.apis.description import HERE

_KEPT: Final = ("typescript",)  # a tool; another version of it says nothing about Wix


def latest_description(place: Path) -> str:
    """Returns the description by the newest packages, which are installed into this directory."""
    for file in (*HERE.glob("*.mjs"), HERE / "methods.txt", HERE / ".npmrc"):
        shutil.copy(file, place)
    package = json.loads((HERE / "package.json").read_text("utf-8"))
    pins = package["dependencies"]
    package["dependencies"] = {name: pins[name] if name in _KEPT else "latest" for name in pins}
    (place / "package.json").write_text(json.dumps(package), "utf-8")
    npm = shutil.which("npm") or "npm"
    subprocess.run(
        [npm, "install", "--no-package-lock", "--no-audit", "--no-fund"], cwd=place, check=True, stdout=sys.stderr
    )
    subprocess.run([shutil.which("node") or "node", "describe.mjs"], cwd=place, check=True)
    return (place / "description.json").read_text("utf-8")


def main() -> None:
    """Prints the diff."""
    with tempfile.TemporaryDirectory() as place:
        new = latest_description(Path(place))
    old = (HERE / "description.json").read_text("utf-8")
    lines = difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), "pinned", "latest", n=4)
    sys.stdout.writelines(list(lines) or ["Wix has changed nothing since the pinned versions.\n"])


if __name__ == "__main__":
    main()
