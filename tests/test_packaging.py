"""What is published holds the package and nothing else: no tests in the wheel, no secrets, nothing of this machine.

The project is copied, littered with what tools and people leave lying about, and built from the copy without a network.
"""

from __future__ import annotations

import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import attrs
import pytest
import readme_renderer.markdown
from packaging.requirements import Requirement
from trove_classifiers import classifiers

import wixvisitor
from tests.diagonal import ONLY_IN_CI
from tools.package import ELSEWHERE, Archives, build, built_again, differences, members, unpacked
from tools.release import problems, problems_of_commit, version_of
from tools.smoke.modules import NEEDS, PACKAGES

TOP = Path(__file__).parent.parent
PARTS = ("wixvisitor", "examples", "tests", "docs", "tools")  # docs, since its pictures must stay out
PAGES = (".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "noxfile.py", "pyproject.toml")
OTHER_PAGES = tuple(name for name in ("CONTRIBUTING.md", "SECURITY.md", "mkdocs.yml") if (TOP / name).exists())
LEFT_BY_TOOLS = ("__pycache__", "node_modules", ".*_cache", ".hypothesis", "*.pyc")
LITTER = (
    *(".env", ".env.local", "visitors.db", "visitor.json", ".venv/bin/python", "dist/old.whl", ".coverage.host.1"),
    *("wixvisitor/__pycache__/a.cpython-311.pyc", "wixvisitor/.env", "wixvisitor/visitors.db", "wixvisitor/key.pem"),
    *("wixvisitor/storage/visitor.json", "wixvisitor/storage/visitor.json.lock", "wixvisitor/_old.py.orig"),
    *("tests/.env", "tests/__pycache__/b.pyc", "tests/interop/node_modules/left/index.js", "tests/visitors.db-wal"),
    *("examples/shop/.env", "examples/shop/visitors.db", "docs/how-to/.env", "docs/pictures/left.png"),
)
SECRET = b"JWS.left-behind"
SOURCES = {".py", ".md", ".toml", ".html", ".css", ".js", ".mjs", ".json", ".svg", ".typed", ".seed", ".txt", ".yml"}
WITHOUT_SUFFIX = {"LICENSE", "PKG-INFO", ".gitignore", ".npmrc"}


@attrs.frozen
class Built:
    """The files of both archives by name, and where they were built."""

    place: Path
    archives: Archives
    wheel: dict[str, bytes]
    sdist: dict[str, bytes]

    def info(self, name: str) -> str:
        return self.wheel[f"wixvisitor-{wixvisitor.__version__}.dist-info/{name}"].decode()

    @property
    def metadata(self) -> Message:
        return email.message_from_string(self.info("METADATA"))


def environment() -> dict[str, str]:
    """What builds see, unmeasured: coverage would look for sources that are gone when it reports."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}


def run(arguments: list[str], place: Path) -> str:
    """Runs Python in the place."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=place, env=environment(), capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def files_below(place: Path) -> set[str]:
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def copied(place: Path) -> Path:
    """Copies the project, with a page of the documentation in a folder of a folder."""
    for part in PARTS:
        shutil.copytree(TOP / part, place / part, ignore=shutil.ignore_patterns(*LEFT_BY_TOOLS))
    for page in (*PAGES, *OTHER_PAGES):
        shutil.copy(TOP / page, place / page)
    (place / "docs/a/b").mkdir(parents=True)
    (place / "docs/a/b/page.md").write_text("# A page\n", "utf-8")
    return place


def littered(place: Path) -> Path:
    """Leaves in the place what tools and people leave."""
    for name in LITTER:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(SECRET)
    return place


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    return files_below(copied(tmp_path_factory.mktemp("sources")))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both archives, built in a place that is littered."""
    place = littered(copied(tmp_path_factory.mktemp("build-machine")))
    archives = build(place, place / "built", environment())
    with tarfile.open(archives.sdist) as sdist:
        assert all(member.isfile() for member in sdist.getmembers()), "a link, or something stranger"
    in_sdist = {name.partition("/")[2]: content for name, content in members(archives.sdist).items()}
    return Built(place, archives, members(archives.wheel), in_sdist)


def project(table: str = "project") -> dict:
    return tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))[table]


def test_the_wheel_holds_the_package_and_no_more(built: Built, sources: set[str]) -> None:
    """The wheel is modules, ``py.typed``, the stand-in's page and its own five files; no tests, no model, no litter."""
    modules = {name for name in sources if name.startswith("wixvisitor/") and name.endswith(".py")}
    page = {f"wixvisitor/testing/_stand_in/page/{name}" for name in ("page.html", "page.css", "page.js", "icon.svg")}
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    own = {f"wixvisitor-{wixvisitor.__version__}.dist-info/{name}" for name in about}
    assert set(built.wheel) == modules | {"wixvisitor/py.typed"} | page | own
    assert "wixvisitor/__init__.py" in modules


def test_the_sdist_holds_the_sources_and_no_more(built: Built, sources: set[str]) -> None:
    """The sdist is package, examples, tests, tools and pages: no litter, none of the pictures of docs."""
    kept = {name for name in sources if not name.startswith("docs/") or name.endswith(".md")}
    assert set(built.sdist) == kept | {"PKG-INFO"}
    odd = {name for name in built.sdist if Path(name).suffix not in SOURCES and Path(name).name not in WITHOUT_SUFFIX}
    assert odd == set(), "a kind of file that was not in a release before: is it meant to be?"
    assert {name for name in built.sdist if name.endswith(".svg")} <= {
        name for name in sources if name.startswith(("examples/shop/static/", "wixvisitor/testing/_stand_in/page/"))
    }


@pytest.mark.parametrize("archive", ["wheel", "sdist"])
def test_nothing_of_the_build_machine(built: Built, archive: str) -> None:
    """No file holds what was left lying about, or the path that it was built in, or that of the Python."""
    holders = {
        (name, text)
        for name, content in getattr(built, archive).items()
        for text in (SECRET, str(built.place).encode(), sys.prefix.encode())
        if text in content and name != "tests/test_packaging.py"  # which spells the litter
    }
    assert holders == set()


def test_elsewhere_it_is_the_same(built: Built, tmp_path: Path) -> None:
    """Built in another place, by a user with another umask, time zone and locale, both archives have the same bytes."""
    place = copied(tmp_path / "another place")
    for path in place.rglob("*"):
        os.utime(path, (1, 1_100_000_000))
    again = build(place, tmp_path / "built", {**environment(), **ELSEWHERE}, umask=0o077)
    assert differences(built.archives, again) == []
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in built.archives]


def test_from_the_sdist_it_is_the_same(built: Built, tmp_path: Path) -> None:
    """The sdist has all that a build needs: sdist and wheel that are built from it have the same bytes."""
    as_installer, as_maintainer = built_again(built.archives.sdist, tmp_path, environment())
    assert differences(built.archives, as_installer) == []
    assert differences(built.archives, as_maintainer) == []


@pytest.mark.machine
@ONLY_IN_CI
def test_its_tests_are_collected_from_the_sdist(built: Built, tmp_path: Path) -> None:
    """The sdist has all that its tests read when they are imported."""
    source = unpacked(built.archives.sdist, tmp_path)
    assert re.search(r"\d+(?:/\d+)? tests collected", run(["-m", "pytest", "--collect-only", "-q"], source))


def test_a_difference_is_named(built: Built, tmp_path: Path) -> None:
    """If the bytes of an archive differ, the report names the files in it, or says that only their wrapping differs."""
    wheel, sdist = built.archives
    changed, stored = (tmp_path / name / wheel.name for name in ("changed", "stored"))
    for path, more in ((changed, {"wixvisitor/errors.py": b"pass"}), (stored, {})):
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (built.wheel | more).items():
                archive.writestr(name, content)
    assert differences(built.archives, built.archives) == []
    assert differences(built.archives, Archives(changed, sdist)) == [f"{wheel.name}: wixvisitor/errors.py"]
    (wrapping,) = differences(built.archives, Archives(stored, sdist))
    assert "compression" in wrapping
    (name,) = differences(built.archives, Archives(wheel.with_name("other.whl"), sdist))
    assert "other.whl" in name


def test_what_it_says_of_itself(built: Built) -> None:
    """Name, version, Python, licence, extras and dependencies are those of pyproject.toml, and nothing is added."""
    said, ours = built.metadata, project()
    assert (said["Name"], said["Version"]) == ("wixvisitor", wixvisitor.__version__)
    assert "version" not in ours, "the version stands in wixvisitor/_version.py only"
    assert said["Requires-Python"] == ours["requires-python"]
    assert (said["License-Expression"], said["License-File"]) == ("MIT", "LICENSE")
    assert set(said.get_all("Provides-Extra")) == set(ours["optional-dependencies"])
    needed = [Requirement(text) for text in said.get_all("Requires-Dist")]
    assert {need.name for need in needed if need.marker is None} == {
        Requirement(text).name for text in ours["dependencies"]
    }
    assert {need.name for need in needed if need.url} == set(), "a dependency from somewhere else than the index"
    assert {need.name for need in needed} & {"pytest", "hypothesis", "nox", "ruff", "wixvisitor"} == set()


def test_the_extra_all() -> None:
    """It names every other extra, and every extra that a module names in its ImportError exists."""
    extras = project()["optional-dependencies"]
    (whole,) = map(Requirement, extras["all"])
    assert (whole.name, whole.extras) == ("wixvisitor", set(extras) - {"all"})
    named = {
        extra
        for path in (TOP / "wixvisitor").rglob("*.py")
        for extra in re.findall(r"pip install 'wixvisitor\[(\w+)\]'", path.read_text("utf-8"))
    }
    assert named <= set(extras)
    assert len(named) >= 5
    assert set(PACKAGES) == set(extras) - {"all"}, "tools/smoke tries each extra alone"
    assert set(NEEDS.values()) <= set(extras)


def test_classifiers(built: Built) -> None:
    """PyPI knows each classifier; it refuses an upload with another."""
    said = built.metadata.get_all("Classifier")
    assert {"Framework :: FastAPI", "Framework :: Pytest", "Framework :: aiohttp"} <= set(said)
    assert set(said) <= classifiers


def test_one_address(built: Built) -> None:
    """All URLs of the metadata come from the one in pyproject.toml."""
    address = project("tool")["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    urls = dict(text.split(", ", 1) for text in built.metadata.get_all("Project-URL"))
    assert set(urls) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert all(url.startswith(address) for url in urls.values())


@pytest.mark.skipif(not (TOP / "docs/pictures").exists(), reason="a source distribution has no pictures of docs")
def test_the_page_on_pypi(built: Built) -> None:
    """The README renders there, and each of its links and pictures is absolute and leads to a file of this version."""
    rendered = readme_renderer.markdown.render(built.metadata.get_payload())
    assert rendered is not None
    targets = re.findall(r'(?:src|srcset|href)="([^"]+)"', rendered)
    assert [target for target in targets if not target.startswith(("https://", "http://127.0.0.1", "#"))] == []
    address = project("tool")["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    ours = [target.removeprefix(address) for target in targets if target.startswith(address)]
    places = [re.fullmatch(rf"/(?:blob|raw)/v{wixvisitor.__version__}/([^#]+)(?:#.*)?", place) for place in ours]
    assert len(places) > 10
    assert [place for place in places if place is None or not (TOP / place[1]).exists()] == []


def test_what_speaks_against_a_release() -> None:
    """A placeholder of an address, a version without a date and another version's tag do; a build does not look."""
    pyproject, version = (TOP / "pyproject.toml").read_text("utf-8"), version_of()
    address = project("tool")["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    real = pyproject.replace(address, "https://github.com/someone/wixvisitor")
    dated = f"# Changes\n\n## {version} - 2026-12-24\n"
    assert problems(real, dated, version) == []
    assert problems(real, dated.replace(f" {version} ", f" [{version}] "), version, f"v{version}") == []
    for heading in (
        f"## {version} - unreleased",
        f"## {version} - 2026-02-30",
        "## 99.0 - 2026-12-24",
        "## [Unreleased]",
    ):
        assert [text.partition(":")[0] for text in problems(real, f"{heading}\n\n{dated}", version)] == ["CHANGELOG.md"]
    for placeholder in ("https://repository.invalid/x", "https://github.example/x", "http://github.com/x"):
        (problem,) = problems(pyproject.replace(address, placeholder), dated, version)
        assert placeholder in problem
    for tag in (version, f"v{version}rc1", "v"):
        (problem,) = problems(real, dated, version, tag)
        assert f"the tag {tag} is not" in problem


@pytest.mark.parametrize(
    ("changes", "tags", "tags_here", "expected"),
    [
        ("", "", "", []),
        ("", "v1.0", "v1.0\nbest", []),
        ("", "v1.0", "", ["v1.0 is the tag of another commit"]),
        ("?? wixvisitor/new.py", "", "", ["there are changes that are not committed"]),
    ],
)
def test_which_commit_may_be_released(changes: str, tags: str, tags_here: str, expected: list[str]) -> None:
    """A commit may be released if all is committed and its version is not the tag of another commit."""

    def git(*arguments: str) -> str:
        answers = {"status --porcelain": changes, "tag --list v1.0": tags, "tag --points-at HEAD": tags_here}
        return answers[" ".join(arguments)]

    assert [problem.partition(";")[0] for problem in problems_of_commit("1.0", git)] == expected


def test_licence_typing_and_entry_point(built: Built) -> None:
    """The licence is the repository's, the types are announced, and pytest finds the plugin; it is for any platform."""
    assert built.info("licenses/LICENSE") == (TOP / "LICENSE").read_text("utf-8")
    assert "wixvisitor/py.typed" in built.wheel
    points = configparser.ConfigParser()
    points.read_string(built.info("entry_points.txt"))
    assert {section: dict(points[section]) for section in points.sections()} == project()["entry-points"]
    modules = [place for section in points.sections() for place in points[section].values()]
    assert {f"{module.replace('.', '/')}.py" for module in modules} <= set(built.wheel)
    assert "Root-Is-Purelib: true\nTag: py3-none-any" in built.info("WHEEL")


def test_the_wheel_works_by_itself(built: Built) -> None:
    """Every module, and the plugin that the entry point names, comes out of the wheel without the sources beside it."""
    names = sorted(
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in built.wheel
        if name.endswith(".py") and not name.endswith("__main__.py")
    )
    program = (
        "import sys, importlib\n"
        f"sys.path.insert(0, {str(built.archives.wheel)!r})\n"
        f"files = [importlib.import_module(name).__file__ for name in {names!r}]\n"
        f"print(len([file for file in files if file.startswith({str(built.archives.wheel)!r})]))"
    )
    assert run(["-I", "-c", program], built.place) == str(len(names))
