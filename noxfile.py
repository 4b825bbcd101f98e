"""What can be run here; `nox -l` lists it. Each session makes its own environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False  # the tests run on every Python that is found
nox.options.sessions = ["tests"]

CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"
EXTRAS = "all"


def is_found(python: str) -> bool:
    """Whether this Python runs; where only pyenv knows it, it is put on the PATH.

    It goes in front of pyenv's shims, which fail for all versions but the chosen one.
    """
    found = shutil.which(f"python{python}")
    if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
        return True
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    places = sorted(versions.glob(f"{python}.*/bin"))[-1:]
    for place in places:
        os.environ["PATH"] = f"{place}{os.pathsep}{os.environ['PATH']}"
    return bool(places)


OTHERS = [python for python in ("3.11", "3.12", "3.13") if python != CURRENT and is_found(python)]


def install(session: nox.Session, *groups: str) -> None:
    """Installs the project with its extras, and what the groups of pyproject.toml name."""
    project = nox.project.load_toml("pyproject.toml")
    session.install("-e", f".[{EXTRAS}]", *nox.project.dependency_groups(project, *groups))


@nox.session
def demo(session: nox.Session) -> None:
    """A visitor's whole life, against the embedded stand-in for Wix; with `-- --client-id …` against Wix."""
    project = nox.project.load_toml("pyproject.toml")
    session.install("-e", ".[testing]", *nox.project.dependency_groups(project, "demo"))
    session.run("python", "-m", "examples.demo", *session.posargs)


@nox.session
def shop(session: nox.Session) -> None:
    """The example shop, on http://127.0.0.1:8000/; with `-- --client-id …` against Wix, `-- --help` says more."""
    install(session, "examples")
    session.run("python", "-m", "examples.shop", *session.posargs)


ABOUT_VISITORS = tuple(
    f"tests/{name}.py"
    for name in (
        *("test_auth", "test_cancellation", "test_isolation", "test_pool", "test_secrets", "test_session"),
        *("test_transient", "renewal/test_refresher"),
    )
)
ORDINARY = "not interop and not browser and not faults and not site"  # those have sessions of their own
SPREAD = ("-n", "3", "--dist", "worksteal")  # more than cores: many tests wait, for processes above all
SCREENSHOTS = str(Path(".nox/screenshots").absolute())
SMALL = {"CI": ""}  # for what repeats the tests under another condition: as much of each as outside of CI


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but those of Node, Chromium and real faults; in CI larger, under each condition, with a stampede."""
    install(session, "tests")
    arguments = ["-m", "pytest", *SPREAD, "-m", ORDINARY, *session.posargs]
    if not os.environ.get("CI") or session.posargs:
        session.run("python", *arguments)
        return
    session.run("coverage", "erase")
    session.run("coverage", "run", *arguments)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
    many = {"WIXVISITOR_MANY": "20000"}  # as large as a shop's, alone on the machine
    stampede = ("tests/storage/test_across_processes.py", "-k", "thousands and redis")
    session.run("python", "-m", "pytest", *stampede, env=many)


@nox.session
def clients(session: nox.Session) -> None:
    """The tests of the visitor again, over sockets: with the default client and with httpx-aiohttp."""
    install(session, "tests")
    for client in ("default", "httpx-aiohttp"):
        arguments = ("-n", "2", *ABOUT_VISITORS, "--client", client, *session.posargs)
        session.run("python", "-m", "pytest", *arguments, env=SMALL)


@nox.session(python=OTHERS or None)
def pythons(session: nox.Session) -> None:
    """The tests on every other Python found, without those about processes, signals and servers."""
    if not OTHERS:
        session.skip("no other Python of 3.11 to 3.13 is found")
    install(session, "tests")
    arguments = (*SPREAD, "-m", f"{ORDINARY} and not machine", *session.posargs)
    session.run("python", "-m", "pytest", *arguments, env=SMALL)


@nox.session(venv_backend="uv")  # pip knows no resolution but the highest
def lowest(session: nox.Session) -> None:
    """The tests of `pythons` with the lowest versions that pyproject.toml allows of all that it names."""
    project = nox.project.load_toml("pyproject.toml")
    wanted = ["-e", f".[{EXTRAS}]", *nox.project.dependency_groups(project, "tests")]
    session.install("--resolution", "lowest-direct", *wanted)
    arguments = (*SPREAD, "-m", f"{ORDINARY} and not machine", *session.posargs)
    session.run("python", "-m", "pytest", *arguments, env=SMALL)


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff, both ways."""
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def typing(session: nox.Session) -> None:
    """Types: mypy strict, also as on Windows and macOS, and pyright."""
    install(session, "typing", "tests", "bench")
    session.install("nox")
    session.run("mypy")
    for system in ("win32", "darwin"):  # a function that this system lacks is an error
        session.run("mypy", "--platform", system)
    session.run("pyright")


@nox.session
def simulate(session: nox.Session) -> None:
    """10,000 simulated worlds on each event loop, a seed each, for the night; `-- 4711 --on trio` replays one."""
    install(session, "tests")
    session.run("python", "-m", "tests.simulation", *(session.posargs or ("--seeds", "10000")))


@nox.session
def model(session: nox.Session) -> None:
    """Explores the protocol between processes further than the tests do: three faults, and tokens that expire again."""
    session.install("-e", ".")
    for bound in [session.posargs] if session.posargs else (["--faults", "3"], ["--faults", "1", "--expiries", "1"]):
        session.run("python", "-m", "tests.renewal_model.model", *bound)


@nox.session
def fuzz(session: nox.Session) -> None:
    """A minute of atheris for each place where something comes in; `-- --seconds 600 token_json` is one for longer."""
    install(session, "tests", "fuzz")
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Processes that are killed and stopped, full disks, servers that are cut off, storms of callers: five minutes."""
    install(session, "tests")
    session.run("python", "-m", "pytest", "-n", "2", "-m", "faults", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """A town of processes for a minute, with faults all the time; `-- --seconds 1200` takes twenty."""
    install(session, "tests", "bench")
    session.run("python", "-m", "tests.faults.soak", *(session.posargs or ("--seconds", "60")))


@nox.session
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of all that the tests install, by pip-audit; skipped where its service knows of none.

    Behind a mirror without such data pip-audit finds nothing and succeeds. So it is asked about a bad release first.
    """
    install(session, "tests", "audit")
    bad = Path(session.create_tmp(), "bad.txt")
    bad.write_text("jinja2==2.10\n", "utf-8")  # CVE-2019-10906
    about_bad = ("pip-audit", "--requirement", str(bad), "--no-deps", "--disable-pip")
    if "PYSEC-2019-217" not in str(session.run(*about_bad, silent=True, success_codes=[0, 1])):
        session.skip("pip-audit's service cannot be reached, or knows of no vulnerability: nothing was audited")
    session.run("pip-audit", "--skip-editable", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Builds sdist and wheel into dist/ and does nothing else, with the versions of the group `build` alone."""
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "build"))
    session.run("python", "-m", "tools.package", "--only-build")


@nox.session
def package(session: nox.Session) -> None:
    """Builds sdist and wheel, compares three builds, tries the wheel with each extra alone; `-- redis` tries one."""
    build_and_try(session, *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """`package`, then whether its archives may be uploaded; `-- --tag v1.2.3` says for which tag. Uploads nothing."""
    build_and_try(session)
    session.run("python", "-m", "tools.release", *session.posargs)


def build_and_try(session: nox.Session, *extras: str) -> None:
    """Leaves checked archives in dist/. The wheel with all extras is also tried on every other Python found."""
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "release"))
    session.run("python", "-m", "tools.package")
    others = [] if extras else [f"--python=python{python}" for python in OTHERS]
    session.run("python", "-m", "tools.smoke", *others, *extras)


@nox.session
def workflows(session: nox.Session) -> None:
    """GitHub's workflows, looked at offline: zizmor, GitHub's own schemas, and actionlint where it is installed."""
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "workflows"))
    files = sorted(str(path) for path in Path(".github/workflows").glob("*.yml"))
    forms = sorted(str(path) for path in Path(".github/ISSUE_TEMPLATE").glob("*.yml"))
    session.run("shellcheck", ".ci/run")
    if shutil.which("actionlint"):
        session.run("actionlint", "-shellcheck", "shellcheck", "-pyflakes", "", *files, external=True)
    session.run("zizmor", "--offline", "--strict-collection", "--persona=auditor", ".github")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    session.run("check-jsonschema", "--builtin-schema", "custom.github-workflows-require-timeout", *files)
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *forms)


@nox.session
def interop(session: nox.Session) -> None:
    """The real @wix/sdk under Node, side by side with ours, and attacks by curl. Needs Node 18 or later, and curl."""
    if shutil.which("npm") is None and not os.environ.get("CI"):
        session.skip("no npm on this machine: the real @wix/sdk needs Node 18 or later")
    install(session, "tests")
    npm_install(session)
    npm_install(session, "tools/apis")
    session.run("pytest", "-m", "interop", *session.posargs, env={"WIXVISITOR_REQUIRE_INTEROP": "1"})


def npm_install(session: nox.Session, place: str = "tests/interop") -> None:
    """Installs what package.json pins there, such as the real @wix/sdk."""
    with session.chdir(place):
        session.run("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", external=True)


@nox.session
def apis(session: nox.Session) -> None:
    """Writes wixvisitor.apis anew; `-- --latest` shows what Wix has changed, `-- --check` whether it is up to date."""
    session.install("attrs")
    if session.posargs:
        module = "tools.apis.latest" if "--latest" in session.posargs else "tools.apis"
        session.run("python", "-m", module, *(option for option in session.posargs if option != "--latest"))
        return
    npm_install(session, "tools/apis")
    session.run("node", "tools/apis/describe.mjs", external=True)
    session.run("python", "-m", "tools.apis")


@nox.session
def browser(session: nox.Session) -> None:
    """The shop and FakeWix's page in a real Chromium, which has to be on the PATH; pictures: .nox/screenshots."""
    install(session, "tests", "browser")
    if shutil.which("npm"):
        npm_install(session)
    session.run("pytest", "-m", "browser", *session.posargs, env={"WIXVISITOR_SCREENSHOTS": SCREENSHOTS})


@nox.session
def docs(session: nox.Session) -> None:
    """Builds the documentation site into site/ and looks at it in Chromium; `-- --serve` shows it while you write."""
    install(session, "docs")
    if shutil.which("npm"):
        npm_install(session, "tools/site")
    session.run("python", "-m", "tools.site", *session.posargs)
    if not session.posargs:
        session.run("pytest", "-m", "site", env={"WIXVISITOR_SCREENSHOTS": SCREENSHOTS})


@nox.session
def bench(session: nox.Session) -> None:
    """Speed beside its peers, as ratios of one run; `-- quick` takes three minutes, `-- throughput` is one question."""
    install(session, "bench")
    if shutil.which("npm"):
        npm_install(session, "benchmarks")
    session.run("python", "-m", "benchmarks", *session.posargs)
