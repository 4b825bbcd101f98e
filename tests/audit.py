"""Asks whether anything that the tests install has a known vulnerability: `python -m tests.audit`.

It has three ends, and never one in place of another:

====  ============================  =========================================================================
code  last line                     means
====  ============================  =========================================================================
0     ``nothing is known``          every package was asked about, by a service that knows of vulnerabilities
1     ``known vulnerabilities: …``  at least one package has one
75    ``could not be asked: …``     about some package nobody could be asked, so nothing is said about it
====  ============================  =========================================================================

An empty answer proves little: a mirror without such data gives one, and pip-audit calls what it could not find out
"no known vulnerabilities". So each service is first asked about a release that is known to be vulnerable.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs

NOT_ASKED = 75  # EX_TEMPFAIL of sysexits.h
SERVICES = ("pypi", "osv")
KNOWN_TO_BE_BAD = "jinja2==2.10"  # CVE-2019-10906
NPM_KNOWN_TO_BE_BAD = {"minimist": "0.0.8"}  # CVE-2020-7598
NPM_PROJECTS = ("tests/interop", "benchmarks")
TOP = Path(__file__).parent.parent


class NotAskedError(Exception):
    """Nobody answered; the text is the reason."""


@attrs.frozen
class Answer:
    """What was said.

    Attributes:
        asked: how many packages it is about.
        found: one line for each vulnerability.
        skipped: one line for each package that nothing was said about.
    """

    asked: int
    found: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


Run = Callable[[list[str], Path], str]


def locked() -> list[str]:
    """Returns what is installed here as requirements; what is developed here is left out."""
    found: dict[str, str] = {}
    for one in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
        if '"editable"' not in (one.read_text("direct_url.json") or ""):
            found.setdefault(name, one.version)  # the first one on the path is the one that is imported
    return sorted(f"{name}=={version}" for name, version in found.items())


def read_pip_audit(text: str) -> Answer:
    """Returns what `pip-audit --format json` printed.

    Raises:
        NotAskedError: that is no report.
    """
    packages = _parsed(text).get("dependencies")
    if not isinstance(packages, list) or not packages:
        raise NotAskedError("pip-audit gave no report")
    found = [
        f"{package['name']} {package['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'nothing'}"
        for package in packages
        for flaw in package.get("vulns", ())
    ]
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    return Answer(len(packages) - len(skipped), tuple(found), tuple(skipped))


def read_npm_audit(text: str) -> Answer:
    """Returns what `npm audit --json` printed.

    Raises:
        NotAskedError: that is an error, or no report.
    """
    report = _parsed(text)
    flaws, counted = report.get("vulnerabilities"), report.get("metadata", {}).get("dependencies", {})
    if not isinstance(flaws, dict) or not counted.get("total"):
        raise NotAskedError(str(report.get("message") or report.get("error") or "npm gave no report")[:200])
    found = [f"{name} {flaw['range']}: {flaw['severity']}" for name, flaw in sorted(flaws.items())]
    return Answer(counted["total"], tuple(found))


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        report = json.loads(text)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def ask_about_python(requirements: Iterable[str], run: Run, options: Sequence[str] = ()) -> Answer:
    """Returns what the first service says that knows of vulnerabilities.

    Raises:
        NotAskedError: there is none.
    """
    reasons = []
    for service in SERVICES:
        try:
            _check_it_knows(_pip_audit([KNOWN_TO_BE_BAD], service, run, options), KNOWN_TO_BE_BAD)
            return _pip_audit(requirements, service, run, options)
        except NotAskedError as error:
            reasons.append(f"{service}: {error}")
    raise NotAskedError("; ".join(reasons))


def _pip_audit(requirements: Iterable[str], service: str, run: Run, options: Sequence[str]) -> Answer:
    with tempfile.TemporaryDirectory() as place:
        Path(place, "locked.txt").write_text("\n".join(requirements))
        command = [sys.executable, "-m", "pip_audit", "-r", "locked.txt", "--no-deps", "--disable-pip"]
        command += ["--progress-spinner", "off", "--format", "json", "--vulnerability-service", service, *options]
        return read_pip_audit(run(command, Path(place)))


def ask_about_npm(dependencies: Mapping[str, str], run: Run) -> Answer:
    """Returns what the npm registry says about these, and what they need.

    Raises:
        NotAskedError: it does not answer, or knows of no vulnerability.
    """
    _check_it_knows(_npm_audit(NPM_KNOWN_TO_BE_BAD, run), str(NPM_KNOWN_TO_BE_BAD))
    return _npm_audit(dependencies, run)


def _npm_audit(dependencies: Mapping[str, str], run: Run) -> Answer:
    npm = shutil.which("npm") or "npm"
    with tempfile.TemporaryDirectory() as place:
        Path(place, "package.json").write_text(json.dumps({"private": True, "dependencies": dict(dependencies)}))
        run([npm, "install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund"], Path(place))
        return read_npm_audit(run([npm, "audit", "--json"], Path(place)))


def _check_it_knows(answer: Answer, what: str) -> None:
    if not answer.found:
        why = f" ({answer.skipped[0]})" if answer.skipped else ""
        raise NotAskedError(f"it knows of no vulnerability of {what}{why}, so that its silence says nothing")


def verdict(answers: Mapping[str, Callable[[], Answer]], say: Callable[[str], object]) -> int:
    """Asks all, says what was said, and returns the exit code."""
    found, not_asked = 0, []
    for name, ask in answers.items():
        try:
            answer = ask()
        except NotAskedError as error:
            not_asked.append(f"{name}: {error}")
            continue
        say(f"{name}: {answer.asked} asked about")
        for line in answer.found:
            say(f"  {line}")
        found += len(answer.found)
        not_asked += [f"{name}: {reason}" for reason in answer.skipped]
    if not_asked:
        say(f"could not be asked: {'; '.join(not_asked)}")
    if found:
        say(f"known vulnerabilities: {found}")
        return 1
    if not not_asked:
        say("nothing is known")
    return NOT_ASKED if not_asked else 0


def run(command: list[str], place: Path) -> str:
    """Returns what a command prints; it exits with 1 if it found something.

    Raises:
        NotAskedError: it is not there, or printed nothing.
    """
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotAskedError(f"{type(error).__name__}: {Path(command[0]).name}") from None
    if not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NotAskedError(lines[-1][:300])
    return done.stdout


def main(options: list[str]) -> int:
    """Asks about this environment, with further options for pip-audit, and about what npm installs for tests."""
    answers = {"Python packages": lambda: ask_about_python(locked(), run, options)}
    for project in NPM_PROJECTS:
        needed = json.loads((TOP / project / "package.json").read_text())["dependencies"]
        answers[f"npm packages of {project}"] = lambda needed=needed: ask_about_npm(needed, run)
    return verdict(answers, print)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
