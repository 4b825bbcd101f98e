"""The audit's three ends: nothing is known, something is, and nobody could be asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import audit
from tests.audit import Answer, NotAskedError, ask_about_npm, ask_about_python, read_npm_audit, read_pip_audit, verdict

FLAW = {"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"], "aliases": ["CVE-2019-10906"], "description": "…"}
BAD = {"name": "jinja2", "version": "2.10", "vulns": [FLAW]}
GOOD = {"name": "anyio", "version": "4.11.0", "vulns": []}
MISSING = {"name": "anyio", "skip_reason": "Dependency not found on PyPI and could not be audited: anyio (4.11.0)"}
NPM_BAD = {"minimist": {"name": "minimist", "severity": "critical", "range": "<=0.2.3", "via": []}}
NPM_REFUSES = {"message": "405 Method Not Allowed - POST https://registry.example/-/advisories/bulk", "statusCode": 405}


def pip_report(*packages: Any) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def npm_report(flaws: Any, total: int = 42) -> str:
    return json.dumps(
        {"auditReportVersion": 2, "vulnerabilities": flaws, "metadata": {"dependencies": {"total": total}}}
    )


class Services:
    """Stands in for the commands: what each service says of the bad release, and of ours."""

    def __init__(self, **said: tuple[str, str]) -> None:
        self.said = said
        self.asked: list[str] = []

    def __call__(self, command: list[str], place: Path) -> str:
        if "install" in command:
            return "up to date"
        name = command[command.index("--vulnerability-service") + 1] if "pip_audit" in command else "npm"
        file = place / ("locked.txt" if "pip_audit" in command else "package.json")
        is_bad = any(bad in file.read_text() for bad in ("jinja2==2.10", "minimist"))
        self.asked.append(f"{name} {'bad' if is_bad else 'ours'}")
        if name not in self.said:
            raise NotAskedError("unreachable")
        return self.said[name][0 if is_bad else 1]


def test_what_pip_audit_found() -> None:
    """Each vulnerability is a line with the release that fixes it."""
    assert read_pip_audit(pip_report(BAD, GOOD)) == Answer(2, ("jinja2 2.10: PYSEC-2019-217, fixed in 2.10.1",))


def test_what_pip_audit_skipped_was_not_asked() -> None:
    """pip-audit says "no known vulnerabilities" of a package that it could not look up; here it does not count."""
    assert read_pip_audit(pip_report(MISSING, GOOD)) == Answer(1, (), (MISSING["skip_reason"],))


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"dependencies": []}', "<html>", '{"dependencies": null}'])
def test_no_report_of_pip_audit(text: str) -> None:
    """What is no report, or one of nothing, is nobody's answer."""
    with pytest.raises(NotAskedError, match="no report"):
        read_pip_audit(text)


def test_what_npm_found() -> None:
    """Each package with vulnerabilities is a line."""
    assert read_npm_audit(npm_report(NPM_BAD)) == Answer(42, ("minimist <=0.2.3: critical",))
    assert read_npm_audit(npm_report({})) == Answer(42)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps(NPM_REFUSES), "405 Method Not Allowed"),
        (json.dumps({"error": {"code": "ENOLOCK"}}), "ENOLOCK"),
        (npm_report({}, total=0), "no report"),
        ("", "no report"),
    ],
)
def test_no_report_of_npm(text: str, reason: str) -> None:
    """A registry that refuses, an error of npm's own, and a report of nothing are nobody's answer."""
    with pytest.raises(NotAskedError, match=reason):
        read_npm_audit(text)


def test_a_service_that_knows_nothing_is_not_believed() -> None:
    """A mirror that has never heard of the bad release is passed over, and the next service is asked."""
    services = Services(pypi=(pip_report(MISSING), pip_report(GOOD)), osv=(pip_report(BAD), pip_report(GOOD)))
    assert ask_about_python(["anyio==4.11.0"], services) == Answer(1)
    assert services.asked == ["pypi bad", "osv bad", "osv ours"]


def test_no_service_knows_anything() -> None:
    """The reasons of all services are told."""
    empty = pip_report({**BAD, "vulns": []})
    with pytest.raises(NotAskedError, match=r"pypi: it knows of no vulnerability of jinja2==2\.10.*; osv: unreachable"):
        ask_about_python(["anyio==4.11.0"], Services(pypi=(empty, pip_report(GOOD))))


def test_an_npm_registry_that_knows_nothing_is_not_believed() -> None:
    """The same for npm: an empty report of a release with a hole in it is none."""
    with pytest.raises(NotAskedError, match="minimist"):
        ask_about_npm({"@wix/sdk": "1.21.16"}, Services(npm=(npm_report({}), npm_report({}))))
    assert ask_about_npm({"@wix/sdk": "1.21.16"}, Services(npm=(npm_report(NPM_BAD), npm_report({})))) == Answer(42)


def unreachable() -> Answer:
    raise NotAskedError("nobody is there")


@pytest.mark.parametrize(
    ("answers", "code", "last"),
    [
        ([lambda: Answer(9), lambda: Answer(3)], 0, "nothing is known"),
        ([lambda: Answer(9, ("x 1: Y",)), lambda: Answer(3)], 1, "known vulnerabilities: 1"),
        ([lambda: Answer(9, ("x 1: Y",)), unreachable], 1, "known vulnerabilities: 1"),
        ([lambda: Answer(9), unreachable], 75, "could not be asked: 1: nobody is there"),
        ([lambda: Answer(9, (), ("no such package",))], 75, "could not be asked: 0: no such package"),
        ([unreachable], 75, "could not be asked: 0: nobody is there"),
    ],
)
def test_the_three_ends(answers: list[Any], code: int, last: str) -> None:
    """Something known is 1 whoever else was not there; somebody who was not asked is never "nothing is known"."""
    said: list[str] = []
    assert verdict({str(number): ask for number, ask in enumerate(answers)}, said.append) == code
    assert said[-1] == last


def test_what_is_locked() -> None:
    """Everything installed here is asked about, in its exact version, but not what is developed here."""
    names = [requirement.partition("==")[0] for requirement in audit.locked()]
    assert {"anyio", "httpx", "pytest"} <= set(names)
    assert "wixvisitor" not in names
    assert len(names) == len(set(names))


def test_a_command_that_says_nothing(tmp_path: Path) -> None:
    """A command that is not there, or ends without a word on stdout, has the last line of its complaint as reason."""
    with pytest.raises(NotAskedError, match="no-such-command"):
        audit.run(["no-such-command"], tmp_path)
    with pytest.raises(NotAskedError, match=r"^the end$"):
        audit.run([sys.executable, "-c", "import sys; sys.exit('begin\\nthe end')"], tmp_path)
