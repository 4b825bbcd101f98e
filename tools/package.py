"""``python -m tools.package``: builds what is published into ``dist/``, builds it again elsewhere, and checks it.

The builds after the first one start from the unpacked sdist. They have another path, other times and modes of the
files, another umask, time zone and locale. Both archives must have the same bytes as in the first build: so the sdist
is complete, the wheel that is made from it is the one that is published, and nothing of the machine gets in.

The bytes also depend on three things that stay the same here: the versions in pyproject.toml's group ``build``,
``SOURCE_DATE_EPOCH`` and the zlib of the Python that builds. The last lines printed name them. Nothing is uploaded.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

TOP: Final = Path(__file__).parent.parent
# hatchling's own default, so that `python -m hatchling build` without this variable makes the same bytes. The value
# stands for 2020-02-02; it is the time of all files in the archives.
EPOCH: Final = "1580601600"
ELSEWHERE: Final = {
    "TZ": "Pacific/Kiritimati",  # 14 hours before UTC: another date
    "LC_ALL": "C",
    "PYTHONCOERCECLOCALE": "0",  # with these two, what opens a file without an encoding reads ASCII
    "PYTHONUTF8": "0",
    "PYTHONHASHSEED": "4711",
}
_PRIVATE: Final = 0o077  # a umask
_PATIENCE: Final = 300  # seconds for each command


class Archives(NamedTuple):
    """What is published."""

    wheel: Path
    sdist: Path


def build(source: Path, target: Path, environment: Mapping[str, str], *, umask: int = -1) -> Archives:
    """Builds sdist and wheel.

    Args:
        source: the folder with pyproject.toml.
        target: the folder that gets the archives; what lies in it is deleted.
        environment: the variables that the build sees.
        umask: of the building process; -1: that of this one. Windows has none.

    Raises:
        subprocess.CalledProcessError: hatchling failed.
        subprocess.TimeoutExpired: it took more than five minutes.
    """
    if target.exists():
        shutil.rmtree(target)
    variables = {**environment, "SOURCE_DATE_EPOCH": EPOCH}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target)]
    subprocess.run(command, cwd=source, env=variables, umask=umask, check=True, timeout=_PATIENCE)
    (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
    return Archives(wheel, sdist)


def unpacked(sdist: Path, place: Path) -> Path:
    """Unpacks the sdist in the place, as a user with a strict umask in another year, and returns its folder."""
    for name, content in members(sdist).items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o600)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (top,) = place.iterdir()
    return top


def members(archive: Path) -> dict[str, bytes]:
    """Returns the content of each file in a wheel or sdist by its name."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(archive) as sdist:
        files = ((member.name, sdist.extractfile(member)) for member in sdist.getmembers())
        return {name: file.read() for name, file in files if file is not None}


def differences(first: Archives, second: Archives) -> list[str]:
    """Returns what differs between two builds, with the names of the files; an empty list if the bytes are equal."""
    found = []
    for one, other in zip(first, second, strict=True):
        if one.name != other.name:
            found.append(f"{one.name}: elsewhere its name is {other.name}")
        elif one.read_bytes() != other.read_bytes():
            ours, others = members(one), members(other)
            names = sorted(name for name in ours.keys() | others.keys() if ours.get(name) != others.get(name))
            found.append(f"{one.name}: {', '.join(names) or 'order, times, modes or compression of its files'}")
    return found


def built_again(sdist: Path, place: Path, environment: Mapping[str, str]) -> Iterator[Archives]:
    """Builds twice from the sdist in the place, under conditions that differ from the first build's.

    First as an installer does: hatchling finds PKG-INFO and takes README and URLs from it. Then without that file, so
    that tools/metadata.py makes them here, too.
    """
    source = unpacked(sdist, place / "another place")
    elsewhere = {**environment, **ELSEWHERE}
    yield build(source, place / "as an installer", elsewhere, umask=_PRIVATE)
    (source / "PKG-INFO").unlink()
    yield build(source, place / "as a maintainer", elsewhere, umask=_PRIVATE)


def report(archives: Archives) -> None:
    """Prints the hash of each archive, and what its bytes depend on."""
    for path in archives:
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")
    print(
        f"made with hatchling {importlib.metadata.version('hatchling')}, Python {platform.python_version()}, "
        f"zlib {zlib.ZLIB_RUNTIME_VERSION}, SOURCE_DATE_EPOCH={EPOCH}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Builds, compares and checks; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.package")
    parser.add_argument("--only-build", action="store_true", help="build once, and compare and check nothing")
    is_all = not parser.parse_args(argv).only_build
    first = build(TOP, TOP / "dist", os.environ)
    if not is_all:
        report(first)
        return 0
    with tempfile.TemporaryDirectory() as place:
        again = built_again(first.sdist, Path(place), os.environ)
        found = [difference for second in again for difference in differences(first, second)]
    for difference in found:
        print(f"not reproducible: {difference}", file=sys.stderr)
    if found:
        return 1
    for check in (["twine", "check", "--strict", *map(str, first)], ["check_wheel_contents", str(first.wheel)]):
        subprocess.run([sys.executable, "-m", *check], cwd=TOP, check=True, timeout=_PATIENCE)
    print("three builds made the same bytes:")
    report(first)
    return 0


if __name__ == "__main__":
    sys.exit(main())
