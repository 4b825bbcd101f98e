"""Keeping secrets out of text and tracebacks."""

from __future__ import annotations

import json
import string
import time
import traceback
from typing import Any
from urllib.parse import quote

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.constants import CLIENT_ID
from wixvisitor._web.site_cookie import SiteCookie
from wixvisitor._wire.redaction import (
    drop_request_frames,
    drops_frames,
    drops_frames_async,
    redact,
    unescaped,
    without_frames,
)
from wixvisitor.cookies import IdCookie, SealedCookie, generate_key
from wixvisitor.cookies._content import CookieContent

ACCESS = "OauthNG.JWS.eyJraWQiOiIxIn0.eyJkYXRhIjoiY2xhc3NpZmllZCJ9.c2lnbmF0dXJl-_"
REFRESH = "JWS.eyJraWQiOiIxIn0.eyJkYXRhIjoiY2xhc3NpZmllZCJ9.c2lnbmF0dXJl"

base64url = st.text(string.ascii_letters + string.digits + "-_", min_size=8, max_size=40)
wix_tokens = st.builds(
    "{}{}.{}.{}".format, st.sampled_from(["OauthNG.JWS.", "JWS.", "IST.eyJ"]), base64url, base64url, base64url
)


@pytest.mark.parametrize(
    "text",
    [
        '{"access_token":"plain","refresh_token": "plain"}',
        '{"access_token":"pla',
        '{"refreshToken":{"value":"plain","role":"visitor"}}',
        "grant_type=refresh_token&refresh_token=plain",
        "{'accessToken': 'plain'}",
    ],
)
def test_what_is_called_a_token(text):
    """What a field of that name holds is replaced, whatever it looks like, and what is left stays JSON."""
    redacted = redact(text)
    assert "pla" not in redacted
    assert redact(redacted) == redacted
    if text.endswith('"}'):
        assert json.loads(redacted).keys() == json.loads(text).keys()


@pytest.mark.parametrize(
    "text", ['{"refresh_token":null}', '{"access_token":""}', "the refresh token: expired", "refreshToken.role: none"]
)
def test_what_only_speaks_of_tokens(text):
    """A text about tokens stays as it is."""
    assert redact(text) == text


@pytest.mark.parametrize("token", [ACCESS, REFRESH, f"IST.{REFRESH[4:]}", REFRESH[4:]])
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        " {} ",
        '{{"refreshToken":"{}"}}',
        "token={}&x=1",
        "<b>{}</b>",
        "Bearer {}",
        "{},{}",
        "{}\n",
        "({})",
        "'{}'",
    ],
)
def test_wix_tokens(token, around):
    """Whatever looks like one of Wix's tokens is replaced, wherever it stands."""
    redacted = redact(around.format(token, token))
    assert redacted == around.format("[token]", "[token]")


@pytest.mark.parametrize("length", range(10, len(ACCESS)))
def test_cut_off_tokens(length):
    """A token that was cut off in the middle is masked as well, once ten characters of its own are there."""
    cut = ACCESS[: len("OauthNG.JWS.") + length]
    assert redact(f"… {cut}") == "… [token]"


@pytest.mark.parametrize("text", ["", "JWS", "JWS.", "a JWS. b", "OauthNG", "eyJ", "the key", "the JWS.abc format"])
def test_plain_text_stays(text):
    """What is too short to be a token stays readable."""
    assert redact(text) == text


def test_known_secrets():
    """A secret that was given is masked whatever it looks like; an empty one masks nothing."""
    assert redact("a hunter2 b hunter2", ("hunter2",)) == "a [token] b [token]"
    assert redact("abc", ("", "")) == "abc"
    assert redact("one two", ("one", "two")) == "[token] [token]"


def test_one_secret_inside_another():
    """When one secret begins with another nothing of the longer one is left."""
    assert "long" not in redact("see short-long", ("short", "short-long"))


@pytest.mark.parametrize("sign", "JoO.eyW-_=/+A9")
def test_escapes_hide_no_token(sign):
    """Whichever character of a token is written as a JSON escape, it is read before it is masked."""
    text = f'{{"a":"{ACCESS}/+"}}'.replace(sign, f"\\u{ord(sign):04x}")
    assert "eyJ" not in redact(unescaped(text))
    assert redact(unescaped('{"a":"s\\/cret\\u002b"}'), ("s/cret+",)) == '{"a":"[token]"}'


@pytest.mark.parametrize("encode", [str, quote, lambda text: quote(quote(text)), json.dumps, repr])
def test_encoded_texts(encode):
    """A token is found in a text that was URL-encoded, once or twice, or quoted as JSON or Python."""
    text = json.dumps({"accessToken": {"value": ACCESS}, "refreshToken": {"value": REFRESH, "role": "visitor"}})
    redacted = redact(f"wixSession={encode(text)}; a=b")
    assert "eyJ" not in redacted
    assert "c2lnbm" not in redacted
    assert "visitor" in redacted
    assert redacted.endswith("; a=b")


def test_a_sealed_cookie_with_the_beginning_of_a_token():
    """A sealed cookie is masked as a whole, also where chance has put ``eyJ`` into it."""
    assert redact(f"shop=1.6cb7abaa0e2a.{'x' * 24}eyJ{'x' * 60}; Path=/") == "shop=[token]; Path=/"


@pytest.mark.parametrize("form", [IdCookie, SealedCookie])
def test_sealed_cookies(form):
    """The value of a sealed cookie is masked whatever the cookie's name is, since its bearer is the visitor."""
    kept = SiteCookie(form([generate_key()], name="shop"), CLIENT_ID, time.time)
    (header,) = kept.write(kept.read(""), CookieContent("k" * 43), anew=True)
    assert redact(f"Set-Cookie: {header}").startswith("Set-Cookie: __Host-shop=[token]; Path=/;")
    assert redact(header.partition(";")[0] + "; theme=dark") == "__Host-shop=[token]; theme=dark"


def test_it_is_public():
    """``wixvisitor.redact`` is this function."""
    import wixvisitor

    assert wixvisitor.redact is redact
    assert redact("version 1.0.0, 2.012345abcdef, 1.2.3-rc1") == "version 1.0.0, 2.012345abcdef, 1.2.3-rc1"


def test_masking_twice_changes_nothing():
    """What is masked stays as it is."""
    assert redact(redact(f"a {ACCESS} b")) == "a [token] b"


@given(st.text(), wix_tokens, st.text())
def test_no_wix_token_is_left(before, token, after):
    """Whatever stands around it, nothing of a token is left."""
    redacted = redact(f"{before}{token}{after}")
    assert token not in redacted
    assert token.split(".")[-2] not in redacted or token.split(".")[-2] in before + after


@given(st.text(), st.text(min_size=1), st.text())
def test_no_given_secret_is_left(before, secret, after):
    """A secret that was given is not in the text any more, unless the mask itself spells it."""
    redacted = redact(f"{before}{secret}{after}", (secret,))
    assert secret not in redacted.replace("[token]", "") or secret in before.replace(secret, "") + after.replace(
        secret, ""
    )


@given(st.text())
def test_any_text(text):
    """Masking any text gives a text, and is stable."""
    assert redact(redact(text)) == redact(text)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The error with a frame of its own."""
    try:
        raise error from cause  # noqa: TRY301 - that is what this function is for
    except BaseException as caught:
        return caught


def test_without_frames():
    """An exception's frames go, and those of its causes and contexts, also when they form a circle."""
    inner = raised(KeyError("inner"))
    middle = raised(ValueError("middle"), inner)
    outer = raised(TypeError("outer"))
    outer.__context__ = middle
    inner.__context__ = outer
    assert without_frames(outer) is outer
    assert [one.__traceback__ for one in (outer, middle, inner)] == [None, None, None]


def test_without_frames_of_a_group():
    """The exceptions in a group lose their frames as well: anyio reports failed connections as one."""
    inner = raised(ValueError("inside"))
    without_frames(raised(OSError("outside"), raised(ExceptionGroup("group", [inner]))))
    assert inner.__traceback__ is None


# Frames


def _shown(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def _is_told(error: BaseException) -> bool:
    """Whether a report of it shows what was classified; asserted outside, since pytest keeps what it compares."""
    return "CLASSIFIED" in _shown(error)


def _refuse(text: str) -> None:
    raise OSError(text[:0])


@drops_frames
def _failing(secret: str) -> None:
    inner = f"still {secret}"
    try:
        _refuse(inner)
    except OSError as error:
        raise ValueError("it failed") from error


@drops_frames_async
async def _failing_later(secret: str) -> None:
    await anyio.lowlevel.checkpoint()
    _failing(secret)


@drops_frames_async
async def _hanging(secret: str) -> str:
    await anyio.sleep_forever()
    return secret


def test_hidden_locals():
    """What such a function raises shows the caller's frame and none of its own locals, in its causes neither."""
    with pytest.raises(ValueError, match="it failed") as caught:
        _failing("classified".upper())
    assert not _is_told(caught.value)
    assert "OSError" in _shown(caught.value)
    assert "test_hidden_locals" in _shown(caught.value)


@pytest.mark.anyio
async def test_hidden_locals_of_what_waits():
    """An asynchronous function shows none either, and a cancellation takes nothing along."""
    with pytest.raises(ValueError, match="it failed") as caught:
        await _failing_later("classified".upper())
    assert not _is_told(caught.value)
    told: list[bool] = []
    with anyio.move_on_after(0.01) as scope:
        try:
            await _hanging("classified".upper())
        except BaseException as error:
            told = [_is_told(error)]
            raise
    assert scope.cancelled_caught
    assert told == [False]


@pytest.mark.anyio
async def test_what_was_handled_before_keeps_its_frames():
    """An exception that the caller is handling is the caller's: its frames stay."""

    def mine() -> None:
        raise KeyError

    async def call(failing: Any) -> None:
        try:
            mine()
        except KeyError:
            result = failing("classified".upper())
            if result is not None:
                await result

    for failing in (_failing, _failing_later):
        with pytest.raises(ValueError, match="it failed") as caught:
            await call(failing)
        assert "in mine" in _shown(caught.value)
        assert not _is_told(caught.value)


@pytest.mark.parametrize(("kind", "is_told"), [(ConnectionError, False), (LookupError, True)])
def test_sent_bytes_are_dropped(kind: type[Exception], *, is_told: bool):
    """A transport error keeps its own frames and loses those of its causes; other errors keep all."""

    def client(request: str) -> None:
        try:
            _refuse(request)
        except OSError as error:
            del request
            raise kind from error

    with pytest.raises(kind) as caught:
        client("classified".upper())
    drop_request_frames(caught.value, ConnectionError, None)
    assert _is_told(caught.value) is is_told
    assert "in client" in _shown(caught.value)
