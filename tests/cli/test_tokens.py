"""`python -m wixvisitor tokens`: what it shows, what it renews, how it fails. The `run` fixture looks for secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CLIENT_ID
from wixvisitor import EMPTY_TOKENS, AccessToken, RefreshToken, TokenRole, Tokens
from wixvisitor._wire.claims import read_claims
from wixvisitor.cli import _tokens_command
from wixvisitor.cli._visitor_file import read
from wixvisitor.testing import FakeWix

Run = Callable[..., Any]
Keep = Callable[..., None]

OTHER_CLIENT = "00000000-7c1e-4a52-9d5e-1f2a3b4c5d6e"


def write(file: Path, content: Any, mode: int = 0o600) -> Path:
    file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    file.chmod(mode)
    return file


# What is shown


def test_a_record_is_shown(run: Run, record: Path, client_id: str, visitor_id: str) -> None:
    """A file of `FileStorage` says whose visitor it is, and how long its tokens live."""
    done = run("tokens", "--file", record)
    assert (done.code, done.err) == (0, "")
    shown = dict(line.strip().split("  ", 1) for line in done.out.splitlines()[1:])
    shown = {label: value.strip() for label, value in shown.items()}
    assert shown["kept by"] == "wixvisitor, key default"
    assert shown["client ID"] == client_id
    assert shown["role"] == "visitor"
    assert shown["visitor id"].startswith(visitor_id)
    assert shown["access token"].endswith(("in 3 h 59 min", "in 4 h"))
    assert ", in 364 d 23 h" in shown["refresh token"] or ", in 365 d" in shown["refresh token"]
    assert shown.get("file mode") == (None if sys.platform == "win32" else "0600")


def test_a_plain_file_is_shown(run: Run, plain: Path, visitor_id: str) -> None:
    """A file that `@wix/sdk` wrote is read as well; it does not name its site."""
    done = run("tokens", "--file", plain)
    assert (done.code, done.err) == (0, "")
    assert "@wix/sdk" in done.out
    assert "not in the file" in done.out
    assert visitor_id in done.out


def test_json_says_the_same_to_programs(
    run: Run, record: Path, tokens: Tokens, visitor_id: str, client_id: str
) -> None:
    """One line of JSON, times in seconds since the epoch."""
    done = run("tokens", "--file", record, "--json")
    assert done.code == 0
    refresh = read_claims(tokens.refresh_token.value)
    assert refresh is not None
    assert json.loads(done.out) == {
        "file": str(record),
        "format": "wixvisitor",
        "key": "default",
        "client_id": client_id,
        "role": "visitor",
        "visitor_id": visitor_id,
        "member_id": None,
        "access_token_expires_at": tokens.access_token.expires_at,
        "access_token_expired": False,
        "refresh_token_expires_at": refresh.expires_at,
        "mode": None if sys.platform == "win32" else "0600",
        "problems": [],
    }


def test_a_member_is_shown_with_the_member_id(run: Run, tmp_path: Path, fake: FakeWix, client_id: str) -> None:
    """A member's token names the member too."""
    granted = fake.mint_member(client_id, "a-member")
    access = AccessToken(granted["access_token"], int(fake.now()) - 300)
    tokens = Tokens(access, RefreshToken(granted["refresh_token"], TokenRole.MEMBER))
    done = run("tokens", "--file", write(tmp_path / "tokens.json", tokens.to_dict()))
    assert done.code == 0
    assert "a-member" in done.out
    assert "expired" in done.out
    assert "5 min ago" in done.out


def test_tokens_that_tell_nothing_are_shown_all_the_same(run: Run, tmp_path: Path) -> None:
    """What cannot be read in a token is said to be unknown."""
    tokens = Tokens(AccessToken("opaque", int(time.time()) + 60), RefreshToken("opaque too", TokenRole.VISITOR))
    done = run("tokens", "--file", write(tmp_path / "tokens.json", tokens.to_dict()))
    assert done.code == 0
    assert "not told by the token" in done.out
    assert "its expiry is not told" in done.out
    assert "opaque" not in done.out


def test_nobody_is_shown_as_nobody(run: Run, tmp_path: Path) -> None:
    """`EMPTY_TOKENS` are a file's rightful content."""
    file = write(tmp_path / "tokens.json", EMPTY_TOKENS.to_dict())
    assert "none" in run("tokens", "--file", file).out
    shown = json.loads(run("tokens", "--file", file, "--json").out)
    assert (shown["role"], shown["access_token_expires_at"], shown["access_token_expired"]) == ("none", None, True)


def test_a_files_content_cannot_steer_the_screen(run: Run, tmp_path: Path, tokens: Tokens, keep: Keep) -> None:
    """Control characters in a key are shown as escapes."""
    keep(tmp_path / "visitor.json", tokens, key="\x1b[31mred")
    assert "\\x1b[31mred" in run("tokens", "--file", tmp_path / "visitor.json").out


# Directories


@pytest.fixture
def directory(tmp_path: Path, fake: FakeWix, client_id: str, keep: Keep) -> Path:
    """Two visitors of one site, one of another; a web session's id is one of the keys."""
    place = tmp_path / "visitors"
    for key, client in (("anna", client_id), ("s3ss10n" * 6, client_id), ("anna", OTHER_CLIENT)):
        granted = fake.mint_visitor(client)
        access = AccessToken(granted["access_token"], int(fake.now()) + granted["expires_in"])
        keep(
            f"{place}/",
            Tokens(access, RefreshToken(granted["refresh_token"], TokenRole.VISITOR)),
            key=key,
            client=client,
        )
    return place


def test_a_directory_is_listed(run: Run, directory: Path, fake: FakeWix) -> None:
    """One line for each visitor; a long key, which may be a session's id, is not shown in full."""
    done = run("tokens", "--file", directory)
    assert (done.code, done.err) == (0, "")
    *lines, last = done.out.splitlines()
    assert last == f"3 visitors in {directory}"
    assert {id_ for id_ in fake.visitors for line in lines if id_ in line} == set(fake.visitors)
    assert sum("s3ss10... (42 characters)" in line for line in lines) == 1


def test_a_directory_is_listed_for_programs(run: Run, directory: Path, client_id: str) -> None:
    """JSON is a list; `--client-id` narrows it."""
    everyone = json.loads(run("tokens", "--file", f"{directory}{os.sep}", "--json").out)
    ours = json.loads(run("tokens", "--file", directory, "--json", "--client-id", client_id).out)
    assert (len(everyone), len(ours)) == (3, 2)


def test_a_damaged_file_in_a_directory_does_not_hide_the_others(run: Run, directory: Path) -> None:
    """The others are listed, the damaged one is complained about."""
    write(directory / "broken.json", '{"wixvisitor": 1')
    done = run("tokens", "--file", directory)
    assert done.code == 1
    assert "3 visitors" in done.out
    assert "broken.json" in done.err


def test_one_visitor_of_a_directory(run: Run, directory: Path, client_id: str) -> None:
    """`--key` picks one; where sites share the key, `--client-id` decides."""
    assert run("tokens", "--file", directory, "--key", "anna").code == 2
    done = run("tokens", "--file", directory, "--key", "anna", "--client-id", client_id)
    assert (done.code, done.err) == (0, "")
    assert client_id in done.out
    assert run("tokens", "--file", directory, "--key", "nobody").code == 1


def test_a_visitor_of_a_directory_is_renewed(
    run: Run, directory: Path, url: str, client_id: str, fake: FakeWix
) -> None:
    """With its key it can be renewed; without one nobody says whom."""
    assert run("tokens", "--file", directory, "--renew").code == 2
    done = run("tokens", "--file", directory, "--key", "s3ss10n" * 6, "--renew", "--base-url", url)
    assert (done.code, done.err) == (0, "")
    assert [call.status for call in fake.token_calls("refresh_token")] == [200]


def test_a_directory_that_is_not_there(run: Run, tmp_path: Path) -> None:
    """It is named, and the exit code is 1."""
    done = run("tokens", "--file", f"{tmp_path}/nowhere/")
    assert (done.code, done.out) == (1, "")
    assert "No such file" in done.err


# Renewal


def test_a_record_is_renewed(run: Run, record: Path, url: str, fake: FakeWix, tokens: Tokens) -> None:
    """The client ID is the record's; the file holds the new token, and both expiries are told."""
    fake.advance(60)
    done = run("tokens", "--file", record, "--renew", "--base-url", url)
    assert (done.code, done.err) == (0, "")
    assert "before renewal" in done.out
    new = read(record)
    assert new.tokens.access_token != tokens.access_token
    assert new.tokens.refresh_token == tokens.refresh_token
    assert new.mode == (None if sys.platform == "win32" else 0o600)
    assert [call.grant_type for call in fake.token_calls()] == ["refresh_token"]


def test_a_renewal_is_told_to_programs(run: Run, record: Path, url: str, tokens: Tokens) -> None:
    """JSON has the expiry of before beside the new one."""
    shown = json.loads(run("tokens", "--file", record, "--renew", "--json", "--base-url", url).out)
    assert shown["before_renewal"] == {"access_token_expires_at": tokens.access_token.expires_at}


def test_a_plain_file_is_renewed_in_its_own_form(
    run: Run, plain: Path, url: str, client_id: str, tokens: Tokens
) -> None:
    """What `JSON.stringify` would write, for its owner only, and nothing beside it."""
    plain.chmod(0o644)
    done = run("tokens", "--file", plain, "--renew", "--client-id", client_id, "--base-url", url)
    assert (done.code, done.err) == (0, "")
    new = Tokens.from_json(plain.read_text("utf-8"))
    assert plain.read_text("utf-8") == new.to_json()
    assert new.access_token != tokens.access_token
    assert new.refresh_token == tokens.refresh_token
    assert sys.platform == "win32" or plain.stat().st_mode & 0o777 == 0o600
    assert list(plain.parent.iterdir()) == [plain]


def test_what_else_a_plain_file_holds_stays_in_it(
    run: Run, tmp_path: Path, url: str, client_id: str, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application may keep more beside the tokens; the client ID may come from the environment."""
    monkeypatch.setenv("WIX_CLIENT_ID", client_id)
    file = write(tmp_path / "tokens.json", {"theme": "dämmerung", **tokens.to_dict()})
    assert run("tokens", "--file", file, "--renew", "--base-url", url).code == 0
    assert json.loads(file.read_text("utf-8"))["theme"] == "dämmerung"
    assert read(file).tokens.access_token != tokens.access_token


def test_a_rotated_refresh_token_is_kept(run: Run, plain: Path, url: str, client_id: str, fake: FakeWix) -> None:
    """Where Wix answers with a new refresh token, the file has it."""
    fake.rotate_refresh_tokens = True
    before = read(plain).tokens.refresh_token
    assert run("tokens", "--file", plain, "--renew", "--client-id", client_id, "--base-url", url).code == 0
    assert read(plain).tokens.refresh_token not in (before, EMPTY_TOKENS.refresh_token)


def test_a_plain_file_that_changed_meanwhile_is_left_alone(
    run: Run, plain: Path, url: str, client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who else wrote the file meanwhile wins."""

    def interfering(old: Any, tokens: Tokens) -> None:
        write(plain, {**old.content, "theirs": True})
        replace(old, tokens)

    replace = _tokens_command.replace_tokens
    monkeypatch.setattr(_tokens_command, "replace_tokens", interfering)
    done = run("tokens", "--file", plain, "--renew", "--client-id", client_id, "--base-url", url)
    assert done.code == 1
    assert "changed by another program" in done.err
    assert json.loads(plain.read_text("utf-8"))["theirs"]


@pytest.mark.parametrize("which", ["record", "plain"])
def test_a_file_that_cannot_be_written_is_reported(
    which: str, run: Run, request: pytest.FixtureRequest, url: str, client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session would go on from memory; this program says that the file holds the old token."""
    file: Path = request.getfixturevalue(which)
    before = file.read_bytes()

    def refuse(*_: Any, **_named: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    done = run("tokens", "--file", file, "--renew", "--client-id", client_id, "--base-url", url)
    assert (done.code, done.out) == (1, "")
    assert str(file) in done.err
    assert file.read_bytes() == before


# Failures


def test_a_refused_refresh_token_replaces_nobody(
    run: Run, record: Path, url: str, fake: FakeWix, visitor_id: str
) -> None:
    """Who looks at a file does not expect a new visitor in it: the session is reported as ended."""
    before = record.read_bytes()
    fake.refuse_refresh_tokens(visitor_id)
    done = run("tokens", "--file", record, "--renew", "--base-url", url)
    assert (done.code, done.out) == (1, "")
    assert "refused" in done.err
    assert record.read_bytes() == before
    assert len(fake.visitors) == 1


@pytest.mark.parametrize("which", ["record", "plain"])
def test_an_outage_exits_with_3(
    which: str, run: Run, request: pytest.FixtureRequest, url: str, client_id: str, fake: FakeWix
) -> None:
    """Wix gave no usable answer: the file is as it was, and later is soon enough."""
    file: Path = request.getfixturevalue(which)
    before = file.read_bytes()
    fake.fail(503, times=None)
    done = run("tokens", "--file", file, "--renew", "--client-id", client_id, "--base-url", url)
    assert (done.code, done.out) == (3, "")
    assert "503" in done.err
    assert file.read_bytes() == before


def test_a_wrong_client_id_exits_with_2(run: Run, plain: Path, url: str, client_id: str, fake: FakeWix) -> None:
    """What the token endpoint calls a wrong client is a matter of configuration."""
    fake.fail(400, body={"error": "invalid_client"})
    done = run("tokens", "--file", plain, "--renew", "--client-id", client_id, "--base-url", url)
    assert (done.code, done.out) == (2, "")
    assert "client ID" in done.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--renew",), "--client-id or WIX_CLIENT_ID"),
        (("--renew", "--client-id", "not-a-guid"), "Headless Settings"),
        (("--renew", "--client-id", CLIENT_ID, "--base-url", "http://example.com"), "plain http"),
        (("--key", "anna"), "omit --key"),
    ],
)
def test_wrong_configuration_exits_with_2(run: Run, plain: Path, argv: tuple[str, ...], said: str) -> None:
    """The message says what is wrong."""
    done = run("tokens", "--file", plain, *argv)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize(
    ("argv", "said"), [(("--key", "anna"), "another visitor"), (("--client-id", OTHER_CLIENT), "another client ID")]
)
def test_a_record_of_somebody_else_exits_with_1(run: Run, record: Path, argv: tuple[str, ...], said: str) -> None:
    """The file is not whom the arguments name."""
    done = run("tokens", "--file", record, *argv)
    assert (done.code, done.out) == (1, "")
    assert said in done.err


def test_nothing_to_renew_exits_with_1(run: Run, tmp_path: Path, client_id: str) -> None:
    """Without a refresh token Wix is not asked."""
    file = write(tmp_path / "tokens.json", EMPTY_TOKENS.to_dict())
    done = run("tokens", "--file", file, "--renew", "--client-id", client_id)
    assert (done.code, done.out) == (1, "")
    assert "no refresh token" in done.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no JSON object"),
        ("[]", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ('{"accessToken": {"value": "OauthNG.JWS.abc', "no JSON object"),
        ({"access_token": "OauthNG.JWS.abcdefgh"}, "is this a token response?"),
        ({"accessToken": {"value": "OauthNG.JWS.abcdefgh", "expiresAt": "soon"}}, "accessToken.expiresAt"),
        ({"wixvisitor": 1}, "its key is missing"),
        ({"wixvisitor": 1, "key": "c:default"}, "damaged"),
        ({"wixvisitor": 99, "key": "c:default"}, "format 99"),
        ({"wixvisitor": 1, "key": "c:default", "version": "1", "value": "JWS.abcdefgh"}, "no JSON"),
    ],
)
def test_a_file_without_tokens_exits_with_1(run: Run, tmp_path: Path, content: Any, said: str) -> None:
    """It is said what is wrong with it, never what it holds, and it is left as it is."""
    file = write(tmp_path / "tokens.json", content)
    before = file.read_bytes()
    done = run("tokens", "--file", file)
    assert (done.code, done.out) == (1, "")
    assert said in done.err
    assert file.read_bytes() == before


def test_a_file_that_is_not_there_exits_with_1(run: Run, tmp_path: Path) -> None:
    """No visitor is made for it."""
    done = run("tokens", "--file", tmp_path / "missing.json", "--renew", "--client-id", CLIENT_ID)
    assert (done.code, done.out) == (1, "")
    assert "No such file" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="symlinks, pipes and modes are POSIX's")
def test_what_is_no_plain_file_exits_with_1(run: Run, tmp_path: Path, record: Path) -> None:
    """A symlink is not followed, and a pipe not waited for."""
    (tmp_path / "link.json").symlink_to(record)
    os.mkfifo(tmp_path / "pipe.json")
    assert "symlink" in run("tokens", "--file", tmp_path / "link.json").err
    assert "not a regular file" in run("tokens", "--file", tmp_path / "pipe.json").err


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
@pytest.mark.parametrize(("which", "code"), [("record", 1), ("plain", 0)])
def test_a_file_that_others_can_read_is_shown_and_complained_about(
    which: str, code: int, run: Run, request: pytest.FixtureRequest
) -> None:
    """A session refuses such a record (1); of a plain file it is only a warning."""
    file: Path = request.getfixturevalue(which)
    file.chmod(0o644)
    done = run("tokens", "--file", file)
    assert done.code == code
    assert "0644 (others can read it)" in done.out
    assert "chmod 600" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_a_record_that_others_can_read_is_not_renewed(run: Run, record: Path, url: str, fake: FakeWix) -> None:
    """The storage refuses it before Wix is asked."""
    record.chmod(0o644)
    done = run("tokens", "--file", record, "--renew", "--base-url", url)
    assert (done.code, done.out) == (1, "")
    assert "chmod 600" in done.err
    assert fake.token_calls() == []


def test_an_interruption_exits_with_130(run: Run, record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is one line, no traceback."""

    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_tokens_command, "read", interrupted)
    done = run("tokens", "--file", record)
    assert (done.code, done.out, done.err) == (130, "", "wixvisitor: interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a broken pipe is POSIX's")
def test_a_reader_who_went_away_is_no_traceback(record: Path) -> None:
    """`python -m wixvisitor tokens … | true`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "wixvisitor", "tokens", "--file", str(record)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, encoding="utf-8", timeout=30)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
