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
from tools.release import problems

TOP = Path(__file__).parent.parent
PARTS = ("wixvisitor", "examples", "tests", "docs", "tools")  # docs, since its pictures must stay out
PAGES = (".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml")
LEFT_BY_TOOLS = ("__pycache__", "node_modules", ".*_cache", ".hypothesis", "*.pyc")
LITTER = (
    *(".env", ".env.local", "visitors.db", "visitor.json", ".venv/bin/python", "dist/old.whl", ".coverage.host.1"),
    *("wixvisitor/__pycache__/a.cpython-311.pyc", "wixvisitor/.env", "wixvisitor/visitors.db", "wixvisitor/key.pem"),
    *("wixvisitor/storage/visitor.json", "wixvisitor/storage/visitor.json.lock", "wixvisitor/_old.py.orig"),
    *("tests/.env", "tests/__pycache__/b.pyc", "tests/interop/node_modules/left/index.js", "tests/visitors.db-wal"),
    *("examples/shop/.env", "examples/shop/visitors.db"),
)
SECRET = b"JWS.left-behind"
SOURCES = {".py", ".md", ".toml", ".html", ".css", ".js", ".mjs", ".json", ".svg", ".typed", ".seed", ".txt"}
WITHOUT_SUFFIX = {"LICENSE", "PKG-INFO", ".gitignore", ".npmrc"}


@attrs.frozen
class Built:
    """The files of both archives by name, and where they were built."""

    place: Path
    wheel_path: Path
    wheel: dict[str, bytes]
    sdist: dict[str, bytes]

    def info(self, name: str) -> str:
        return self.wheel[f"wixvisitor-{wixvisitor.__version__}.dist-info/{name}"].decode()

    @property
    def metadata(self) -> Message:
        return email.message_from_string(self.info("METADATA"))


def run(arguments: list[str], place: Path) -> str:
    """Runs Python in the place, unmeasured: coverage would look for sources that are gone when it reports."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def files_below(place: Path) -> set[str]:
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def copied(place: Path) -> Path:
    for part in PARTS:
        shutil.copytree(TOP / part, place / part, ignore=shutil.ignore_patterns(*LEFT_BY_TOOLS))
    for page in PAGES:
        shutil.copy(TOP / page, place / page)
    return place


def build(place: Path) -> Built:
    """Builds both in the place, which is littered first."""
    for name in LITTER:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(SECRET)
    run(["-m", "hatchling", "build", "-d", "built"], place)
    (wheel_path,), (sdist_path,) = (place / "built").glob("*.whl"), (place / "built").glob("*.tar.gz")
    with zipfile.ZipFile(wheel_path) as wheel, tarfile.open(sdist_path) as sdist:
        assert all(member.isfile() for member in sdist.getmembers()), "a link, or something stranger"
        return Built(
            place,
            wheel_path,
            {name: wheel.read(name) for name in wheel.namelist()},
            {member.name.partition("/")[2]: sdist.extractfile(member).read() for member in sdist.getmembers()},
        )


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    return files_below(copied(tmp_path_factory.mktemp("sources")))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(copied(tmp_path_factory.mktemp("build-machine")))


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
    """Built in another place, both archives have the same files with the same bytes."""
    again = build(copied(tmp_path))
    assert (again.wheel, again.sdist) == (built.wheel, built.sdist)


def test_what_it_says_of_itself(built: Built) -> None:
    """Name, version, Python, licence, extras and dependencies are those of pyproject.toml, and nothing is added."""
    said, ours = built.metadata, project()
    assert (said["Name"], said["Version"]) == ("wixvisitor", wixvisitor.__version__)
    assert ours["version"] == wixvisitor.__version__
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


def test_a_placeholder_fails_the_release() -> None:
    """``nox -s release`` fails for a placeholder of an address and for a version without a date; a build does not."""
    pyproject, changelog = (TOP / "pyproject.toml").read_text("utf-8"), (TOP / "CHANGELOG.md").read_text("utf-8")
    address = project("tool")["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    real = pyproject.replace(address, "https://github.com/someone/wixvisitor")
    dated = f"# Changes\n\n## {wixvisitor.__version__} - 2026-12-24\n"
    assert problems(real, dated) == []
    assert [text.partition(":")[0] for text in problems(real, changelog)] == ["CHANGELOG.md"]
    for placeholder in ("https://repository.invalid/x", "https://github.example/x", "http://github.com/x"):
        (problem,) = problems(pyproject.replace(address, placeholder), dated)
        assert placeholder in problem


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
        f"sys.path.insert(0, {str(built.wheel_path)!r})\n"
        f"files = [importlib.import_module(name).__file__ for name in {names!r}]\n"
        f"print(len([file for file in files if file.startswith({str(built.wheel_path)!r})]))"
    )
    assert run(["-I", "-c", program], built.place) == str(len(names))
