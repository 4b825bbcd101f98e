"""`python -m examples.demo`: every chapter is told, every claim is checked, and a claim that fails is not hidden."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from examples.demo import fake as with_fake
from examples.demo import life, process
from examples.demo.command import exit_code, main
from examples.demo.facts import Facts, LifeFailed, Setting, facts_of, failed
from examples.demo.story import Story, brief
from tests.constants import CLIENT_ID, IN_CI
from tests.diagonal import ONLY_IN_CI
from wixvisitor.cli._visitor_file import read
from wixvisitor.errors import ConfigurationError, SessionExpired, StorageError, TokenRequestError
from wixvisitor.testing import FakeWix, Product

pytestmark = pytest.mark.machine

Run = Callable[..., Any]

CHAPTERS = [
    "A new visitor",
    "Something in the cart",
    "The process ends",
    "Another process, the same visitor",
    "Four hours pass, and 200 ask at once",
    "Wix's token endpoint fails for a while",
    "Wix refuses the visitor",
    "In all",
]
REAL_CHAPTERS = [
    "A new visitor",
    "Something in the cart",
    "The process ends",
    "Another process, the same visitor",
    "A renewal, early and on request",
    "200 ask at once",
    "In all",
]


def chapters(out: str) -> list[str]:
    return re.findall(r"^\d+\. (.*)$", out, re.MULTILINE)


# With the embedded stand-in


def test_the_whole_life(run_apart: Run, tmp_path: Path) -> None:
    """Through a pipe, in ASCII, 80 columns wide: every chapter, its figures, and exit code 0."""
    file = tmp_path / "visitor.json"
    started = time.monotonic()
    done = run_apart("--file", file, PYTHONIOENCODING="ascii", NO_COLOR="1", COLUMNS="80")
    assert (done.code, done.err) == (0, "")
    assert time.monotonic() - started < 20
    assert chapters(done.out) == CHAPTERS
    assert "FAILED" not in done.out
    assert done.out.isascii()
    assert "\x1b" not in done.out
    assert max(map(len, done.out.replace(str(file), "").splitlines())) <= 80
    one_line = " ".join(done.out.split())
    assert "token calls 1 x renewal waited 200 of 200" in one_line
    assert "on_change replaced: visitor -> visitor" in one_line
    assert "visitors that ever existed | 2 | 2" in one_line
    assert re.search(r"One visitor stayed one visitor .* All 3\d claims were checked", one_line)


@ONLY_IN_CI
def test_the_file_stays_if_it_is_asked_for(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--file` holds the last visitor afterwards; a temporary file is gone."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert run().code == 0
    assert list(temporary.iterdir()) == []


class Sabotage(FakeWix):
    """Forgets every refresh token as soon as time passes: visitors are replaced that should not be."""

    def advance(self, seconds: float) -> None:
        for visitor_id in self.visitors:
            self.refuse_refresh_tokens(visitor_id)
        super().advance(seconds)


def test_a_claim_that_does_not_hold_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Wix's books contradict is printed as failed; the story goes on to its end, and the exit code is 1."""
    monkeypatch.setattr(with_fake, "FakeWix", Sabotage)
    done = run()
    assert done.code == 1
    assert chapters(done.out) == CHAPTERS
    assert "FAILED no visitor was replaced: the same one, the only one that Wix knows (seen:" in " ".join(
        done.out.split()
    )
    assert re.search(r"^FAILED: \d+ of \d+ claims did not hold\.$", done.out, re.MULTILINE)
    assert "One visitor stayed one visitor" not in done.out


@pytest.mark.parametrize(
    ("program", "said"), [("examples.nothing", "ended while it should ask"), ("this", "answered with no facts")]
)
def test_a_process_that_is_of_no_use_ends_the_demo(
    run: Run, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    """The demo says which process could not do what, in one line."""
    monkeypatch.setattr(process, "LIFE", program)
    done = run()
    assert done.code == 1
    assert re.fullmatch(rf"wixvisitor: process \d+ {said}\n", done.err)


def test_a_process_that_does_not_answer_ends_the_demo(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience has an end."""
    monkeypatch.setattr(process, "_PATIENCE", 0.01)
    done = run()
    assert done.code == 1
    assert "did not ask within 0.01 s" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_an_interruption_leaves_no_process_behind() -> None:
    """Ctrl-C exits with 130, and the visitor's process ends with the demo."""
    command = [sys.executable, "-m", "examples.demo"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as demo:
        signal.signal(signal.SIGINT, before)
        assert demo.stdout is not None
        for line in demo.stdout:
            if found := re.search(r"Process (\d+)", line):
                break
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=10)
    assert (demo.returncode, err) == (130, "wixvisitor: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int(found[1]), 0)


@ONLY_IN_CI
@pytest.mark.skipif(sys.platform == "win32", reason="a broken pipe is POSIX's")
def test_a_reader_who_goes_away_is_no_traceback() -> None:
    """`python -m examples.demo | head -1`."""
    command = [sys.executable, "-m", "examples.demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as demo:
        assert demo.stdout is not None
        demo.stdout.readline()
        demo.stdout.close()
        assert demo.stderr is not None
        assert demo.stderr.read() == ""
    assert demo.returncode == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--base-url", "http://127.0.0.1:9"), "--base-url needs --client-id"),
        (("--file", "{here}"), "this is a directory"),
        (("--file", "{here}/visitors/"), "this is a directory"),
        (("--file", "{here}/there.json"), "give another path"),
        (("--client-id", "not-a-guid"), "Headless Settings"),
        (("--client-id", CLIENT_ID, "--base-url", "http://example.com"), "plain http"),
    ],
)
def test_wrong_configuration_exits_with_2(run: Run, tmp_path: Path, argv: tuple[str, ...], said: str) -> None:
    """The message says what does not fit; nobody's file is touched."""
    (tmp_path / "there.json").write_text("somebody's", "utf-8")
    done = run(*(word.format(here=tmp_path) for word in argv))
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert (tmp_path / "there.json").read_text("utf-8") == "somebody's"


# With a client ID


@ONLY_IN_CI
def test_a_client_id_leaves_out_what_only_a_stand_in_can_do(
    run_apart: Run, fake: FakeWix, url: str, client_id: str, tmp_path: Path
) -> None:
    """The chapters that make sense against the real Wix, and why the others are left out."""
    file = tmp_path / "visitor.json"
    done = run_apart("--client-id", client_id, "--base-url", url, "--file", file)
    assert (done.code, done.err) == (0, "")
    assert chapters(done.out) == REAL_CHAPTERS
    assert "Left out: four hours passing" in done.out
    assert "1 x Mug" in done.out
    assert [call.grant_type for call in fake.token_calls()] == ["anonymous", "refresh_token"]
    assert len(fake.visitors) == 1
    assert read(file).client_id == client_id


@ONLY_IN_CI
def test_a_file_with_a_visitor_is_resumed(
    run: Run, fake: FakeWix, url: str, client_id: str, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the real Wix an existing file means its visitor; the client ID may come from the environment."""
    monkeypatch.setenv("WIX_CLIENT_ID", client_id)
    done = run("--base-url", url, "--file", record)
    assert (done.code, done.err) == (0, "")
    assert chapters(done.out)[0] == "The visitor of the file"
    assert len(fake.visitors) == 1
    assert fake.token_calls("anonymous") == []


@ONLY_IN_CI
def test_a_shop_without_products_is_only_read(run: Run, url: str, client_id: str, fake: FakeWix) -> None:
    """Where no product can be had the cart is not filled, and the rest is told all the same."""
    for product in list(fake.products):
        del fake._products[product.id]
    done = run("--client-id", client_id, "--base-url", url)
    assert (done.code, done.err) == (0, "")
    assert "so the cart is only read" in " ".join(done.out.split())
    assert "empty (404)" in done.out


@ONLY_IN_CI
def test_products_that_cannot_be_had_are_passed_over(run: Run, url: str, client_id: str, fake: FakeWix) -> None:
    """A product that is sold out is not tried; one that Wix will not add makes way for the next."""
    for product in list(fake.products):
        del fake._products[product.id]
    for product in (Product("sold-out", name="Sold out", price="1", stock=0), Product("tea", name="Чай", price="1")):
        fake._products[product.id] = product
    fake.fail(400, body={"message": "choose a colour"}, path=f"{life.CART}/add-line-items", times=1)
    done = run("--client-id", client_id, "--base-url", url)
    assert (done.code, done.err) == (0, "")
    assert "(Wix answered 200, 400)" in done.out


@ONLY_IN_CI
def test_html_in_place_of_a_cart_is_an_empty_cart(run: Run, url: str, client_id: str, fake: FakeWix) -> None:
    """An answer that is no JSON does not stop the demo."""
    fake.fail(200, body="<html>", path=life.CART, times=None)
    fake.fail(200, body=[], path=life.PRODUCTS, times=None)
    done = run("--client-id", client_id, "--base-url", url)
    assert (done.code, done.err) == (0, "")
    assert "empty (200)" in done.out


@ONLY_IN_CI
def test_a_renewal_that_brings_another_visitor_is_told(run: Run, url: str, client_id: str, fake: FakeWix) -> None:
    """The claims are checked against the real Wix as well."""
    elsewhere = fake.mint_visitor(client_id)
    fake.fail(200, body=elsewhere, grant_type="refresh_token")
    done = run("--client-id", client_id, "--base-url", url)
    assert done.code == 1
    assert "FAILED it is the same visitor" in done.out


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ({"status": 503, "times": None}, 3, "503"),
        ({"status": 400, "body": {"error": "invalid_client"}}, 2, "Check the client ID"),
    ],
)
def test_what_stops_the_first_process_is_the_exit_code(
    run: Run, url: str, client_id: str, fake: FakeWix, fault: dict[str, Any], code: int, said: str
) -> None:
    """Unreachable is 3, a client ID that Wix calls wrong is 2, as everywhere."""
    fake.fail(**fault)
    done = run("--client-id", client_id, "--base-url", url)
    assert done.code == code
    assert said in done.err


@ONLY_IN_CI
def test_an_api_that_goes_away_exits_with_3(run: Run, url: str, client_id: str, fake: FakeWix) -> None:
    """So does a connection that breaks where no token is concerned."""
    fake.drop(path=life.CART, times=None)
    done = run("--client-id", client_id, "--base-url", url)
    assert done.code == 3
    assert done.err.startswith("wixvisitor: ")


@ONLY_IN_CI
def test_a_file_that_cannot_be_used_exits_with_1(run: Run, url: str, client_id: str, tmp_path: Path) -> None:
    """Another program's file is left alone."""
    (tmp_path / "notes.json").write_text("{}", "utf-8")
    (tmp_path / "notes.json").chmod(0o600)
    done = run("--client-id", client_id, "--base-url", url, "--file", tmp_path / "notes.json")
    assert done.code == 1
    assert "no visitor's record" in done.err
    assert (tmp_path / "notes.json").read_text("utf-8") == "{}"


# The parts


def test_a_life_obeys_line_by_line(
    fake: FakeWix, url: str, client_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """A command on stdin, facts on stdout; a failure is a fact as well, and the clock is the demo's."""
    setting = Setting(file=str(tmp_path / "visitor.json"), client_id=client_id, base_url=url)
    soon, later = fake.now() + 5, fake.now() + 2 * 3600
    commands: list[dict[str, Any]] = [
        {"do": "renew"},
        {"do": "ask", "now": soon},
        {"do": "shop", "now": soon},
        {"do": "renew", "now": later},
        {"do": "ask", "now": later, "callers": 3},
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{json.dumps(command)}\n" for command in commands)))
    assert life.run(json.dumps({"file": setting.file, "client_id": client_id, "base_url": url})) == 0
    refused, *replies = map(json.loads, capsys.readouterr().out.splitlines())
    with pytest.raises(LifeFailed, match="no refresh token"):
        facts_of(refused)
    made, filled, renewed, asked = map(facts_of, replies)
    assert (made.events, made.served, made.access_tokens) == (("minted: none -> visitor",), 1, 1)
    assert (filled.lines, filled.owner) == (("1 x Mug",), made.visitor)
    assert renewed.had("renewed")
    assert read(Path(setting.file)).tokens.access_token.expires_at >= later + 3600
    assert (asked.events, asked.served, asked.mark) == ((), 3, made.mark)


def test_two_processes_saw_one_visitor_by_id_or_by_refresh_token() -> None:
    """Without the tokens' hints the refresh token decides; who has neither is nobody."""
    one = Facts(pid=1, role="visitor", visitor="a", mark="1")
    assert one.is_same_visitor(Facts(pid=2, role="visitor", visitor="a", mark="2"))
    assert not one.is_same_visitor(Facts(pid=2, role="visitor", visitor="b", mark="1"))
    assert one.is_same_visitor(Facts(pid=2, role="visitor", visitor=None, mark="1"))
    nobody = Facts(pid=2, role="none", visitor=None, mark="")
    assert not nobody.is_same_visitor(nobody)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ConfigurationError, 2),
        (TokenRequestError, 3),
        (StorageError, 1),
        (SessionExpired, 1),
    ],
)
def test_another_process_failure_has_the_same_exit_code(kind: type[Exception], code: int) -> None:
    """The name that travels leads back to the exception."""
    assert exit_code(failed(kind.__name__, "")) == code


def test_on_a_terminal_the_story_has_colours_and_shows_that_it_waits() -> None:
    """Colours, a mark that needs Unicode, and a spinner; what comes from outside is no markup."""
    screen = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    story = Story(console=Console(file=screen, force_terminal=True, width=40, color_system="standard"))
    story.chapter("[red]One")
    with story.waiting():
        story.say("a [bold]word\x1b")
    story.claim("true", holds=True)
    story.claim("false " * 10, holds=False, seen="JWS.abcdefgh")
    assert not story.end("well")
    screen.seek(0)
    text = screen.read()
    assert "[red]One" in text
    assert "[bold]word\\x1b" in text
    assert "\x1b[32m\N{CHECK MARK}" in text
    assert "JWS" not in text


def test_whose_token_it_is_is_told_by_the_token_or_not_at_all(fake: FakeWix, client_id: str) -> None:
    """A token of another shape tells nobody's id."""
    token = fake.mint_visitor(client_id)["access_token"]
    assert [life.visitor_id(token)] == list(fake.visitors)
    assert {life.visitor_id(text) for text in ("", "JWS.a.b.c", token.replace("eyJ", "x"))} == {None}


def test_a_short_time_is_given_in_milliseconds_or_seconds() -> None:
    """What people wait is told in the unit they feel."""
    assert (brief(0.0342), brief(1.23)) == ("34 ms", "1.2 s")


# Help, wrong usage, missing packages

WITHOUT = """
import sys
for name in {names!r}:
    sys.modules[name] = None
from examples.demo.command import main
sys.exit(main([]))
"""


def run_without(*names: str) -> subprocess.CompletedProcess[str]:
    program = WITHOUT.format(names=names)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", timeout=30)


def test_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """Help is written to stdout and says what the exit codes mean."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "usage: python -m examples.demo" in out
    assert "exit codes: 0 all well" in out


@pytest.mark.parametrize("argv", [["now"], ["--file"], ["--file", ""]])
def test_wrong_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage is explained on stderr and exits with 2."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: python -m examples.demo" in err


@pytest.mark.parametrize("missing", ["rich", "starlette", "uvicorn", "graphql"] if IN_CI else ["rich"])
def test_the_demo_names_the_package_that_is_missing(missing: str) -> None:
    """Without a package that it needs the demo says in one line what to install, and exits with 2."""
    done = run_without(missing)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"wixvisitor: the demo needs {missing}: pip install '.[testing]' rich\n"


def test_an_import_that_fails_for_another_reason_is_not_called_a_missing_package() -> None:
    """Only the demo's own packages are what its message speaks of."""
    done = run_without("textwrap")
    assert done.returncode == 1
    assert "pip install" not in done.stderr
