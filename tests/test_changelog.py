"""CHANGELOG.md has the form of Keep a Changelog 1.1.0, so that people and programs find what changed."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

from packaging.version import Version

from wixvisitor._version import __version__

TOP = Path(__file__).parent.parent
TEXT = (TOP / "CHANGELOG.md").read_text(encoding="utf-8")
VERSION = re.compile(r"\[(?P<version>\d+\.\d+\.\d+\w*)\] - (?P<date>unreleased|\d{4}-\d\d-\d\d)")
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")  # in this order
NOTES = "Upgrade notes"


def parts(text: str, mark: str) -> list[tuple[str, str]]:
    """The headings that begin with this mark, and the text below each."""
    found = [part.partition("\n") for part in re.split(rf"^{mark} ", text, flags=re.MULTILINE)[1:]]
    return [(heading, below) for heading, _, below in found]


SECTIONS = parts(TEXT, "##")


def test_versions() -> None:
    """Each section is one version with its date; only the first may be unreleased, and the newest stands first."""
    found = [VERSION.fullmatch(heading) for heading, _ in SECTIONS]
    assert all(found), [heading for heading, _ in SECTIONS]
    versions = [Version(match["version"]) for match in found if match]
    dates = [match["date"] for match in found if match]
    assert versions == sorted(set(versions), reverse=True)
    assert "unreleased" not in dates[1:]
    days = [dt.date.fromisoformat(date) for date in dates if date != "unreleased"]
    assert days == sorted(days, reverse=True)


def test_the_package_has_a_section() -> None:
    """The section of the last release, or of the next one, is about the version that the package has."""
    heading = SECTIONS[0][0]
    if heading.endswith("unreleased") and not heading.startswith(f"[{__version__}]"):
        heading = SECTIONS[1][0]  # the release was made, and the next section has begun
    assert heading.startswith(f"[{__version__}]")


def test_kinds() -> None:
    """Within a version changes are grouped by the six kinds, in one order, none of them empty; notes stand last."""
    for heading, text in SECTIONS:
        kinds = [kind.partition(",")[0] for kind, _ in parts(text, "###")]
        known = [kind for kind in kinds if kind in KINDS]
        assert known == sorted(set(known), key=KINDS.index), heading
        assert kinds[len(known) :] in ([], [NOTES]), heading
        assert all(below.strip() for _, below in parts(text, "###")), heading


def test_links() -> None:
    """Each link leads to a file of the repository; a link of a version is one that has a section."""
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", TEXT):
        assert (TOP / target).exists(), target
    of_versions = set(re.findall(r"^\[(\d[^\]]*)\]: ", TEXT, re.MULTILINE))
    assert of_versions <= {match[1] for heading, _ in SECTIONS if (match := re.match(r"\[(.+?)\]", heading))}
