"""``python -m tools.smoke``: the wheel in ``dist/`` with no extra, with each extra alone, and with all of them.

Each gets a new environment with nothing else in it. ``--python python3.12`` adds one with all extras for that Python,
and may be given several times. Names of extras try only these.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from email import message_from_bytes
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).parent.parent.parent
_START: Final = (  # -I leaves out the folder of a program, so the way to this one is given to it
    "import sys; sys.path.append(sys.argv[1]); from smoke.program import main; main(sys.argv[2])"
)
_NO_EXTRA: Final = "none"
_PATIENCE: Final = 300  # seconds for each command; uv may have much to load


def extras_of(wheel: Path) -> list[str]:
    """Returns the names of the extras that the wheel's metadata offers."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(metadata)).get_all("Provides-Extra", [])


def environment(place: Path, python: str, wheel: Path, extra: str) -> Path:
    """Makes an environment with the wheel and one extra, and returns its Python.

    Raises:
        subprocess.CalledProcessError: uv failed, and has said why.
        subprocess.TimeoutExpired: uv took more than five minutes.
    """
    uv = [sys.executable, "-m", "uv"]
    making = [*uv, "venv", "--quiet", "--no-project", "--python", python, str(place)]
    subprocess.run(making, check=True, timeout=_PATIENCE)
    own = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    wanted = f"wixvisitor{f'[{extra}]' if extra else ''} @ {wheel.resolve().as_uri()}"
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(own), wanted], check=True, timeout=_PATIENCE)
    return own


def is_fine(place: Path, python: str, wheel: Path, extra: str) -> bool:
    """Tries one extra with one Python, prints a line about it, and returns whether all is well."""
    start, version, has_failed = time.perf_counter(), python, False
    try:
        own = environment(place, python, wheel, extra)
        version = _output([str(own), "-V"], place)
        outcome = _output([str(own), "-I", "-c", _START, str(TOP / "tools"), extra], place)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = [f"FAILED: {error}", _text(error.stdout), _text(error.stderr)]
        has_failed, outcome = True, "\n".join(filter(None, said))
    print(f"{version}, {extra or _NO_EXTRA}, {time.perf_counter() - start:.1f} s: {outcome}", flush=True)
    return not has_failed


def _output(command: list[str], place: Path) -> str:
    return _text(subprocess.run(command, cwd=place, capture_output=True, timeout=_PATIENCE, check=True).stdout)


def _text(output: bytes | None) -> str:
    """Returns what a program wrote, in whatever encoding its system has, for a person who reads it."""
    return (output or b"").decode(errors="replace").strip()


def main(argv: Sequence[str] | None = None) -> int:
    """Tries them all and returns the exit code."""
    (wheel,) = (TOP / "dist").glob("*.whl")
    extras = ["", *extras_of(wheel)]
    parser = argparse.ArgumentParser(prog="python -m tools.smoke")
    parser.add_argument("--python", action="append", default=[], metavar="PYTHON", help="also try all extras with it")
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help=f"default: {_NO_EXTRA}, {', '.join(extras[1:])}")
    arguments = parser.parse_args(argv)
    chosen = ["" if extra == _NO_EXTRA else extra for extra in arguments.extras] or extras
    runs = [(sys.executable, extra) for extra in chosen] + [(python, "all") for python in arguments.python]
    with tempfile.TemporaryDirectory() as place:
        fine = [is_fine(Path(place, str(number)), python, wheel, extra) for number, (python, extra) in enumerate(runs)]
    print(f"{fine.count(True)} passed, {fine.count(False)} failed")
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
