"""The three forms of the cookie: what is written is read, and nothing else is."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.constants import CLIENT_ID, EPOCH
from tests.web.conftest import COOKIES, KEY, OTHER_KEY
from wixvisitor import EMPTY_TOKENS, AccessToken, ConfigurationError, RefreshToken, TokenRole, Tokens
from wixvisitor.cookies import CookieContent, IdCookie, SealedCookie, SharedCookie, Unreadable, generate_key

OTHER_SITE = "11111111-7c1e-4a52-9d5e-1f2a3b4c5d6e"
ID = "i" * 43
DAY = 86_400
TOKENS = Tokens(AccessToken("OauthNG.JWS.a.b.c", 1_800_014_400), RefreshToken("JWS.d.e.f", TokenRole.VISITOR))
SEALED = (IdCookie, SealedCookie)
SHARED = ("session", "wixSession", "wix-session")


def value_of(header: str) -> str:
    return header.partition(";")[0].partition("=")[2]


def attributes_of(header: str) -> set[str]:
    return {part.strip() for part in header.split(";")[1:]}


@pytest.mark.parametrize("form", COOKIES)
def test_round_trip(form):
    """What a cookie was given to say, it says."""
    cookie = COOKIES[form]()
    content = cookie.read(value_of(cookie.write(CookieContent(ID, TOKENS), CLIENT_ID, EPOCH)), CLIENT_ID, EPOCH + 60)
    assert content.tokens == (TOKENS if cookie.holds_tokens else EMPTY_TOKENS)
    assert content.key == (cookie.key_of(TOKENS) or ID)
    assert not content.is_due


@pytest.mark.parametrize("make", SEALED)
def test_flags(make):
    """A sealed cookie is the host's own, for https, hidden from scripts and from other sites' posts."""
    secure, plain = make([KEY]), make([KEY], secure=False)
    common = {"Path=/", "Max-Age=31536000", "HttpOnly", "SameSite=Lax"}
    assert secure.names(CLIENT_ID).first.startswith("__Host-wixvisitor-")
    assert attributes_of(secure.write(CookieContent(ID), CLIENT_ID, EPOCH)) == common | {"Secure"}
    assert plain.names(CLIENT_ID).first.startswith("wixvisitor-")
    assert attributes_of(plain.write(CookieContent(ID), CLIENT_ID, EPOCH)) == common


@pytest.mark.parametrize(
    ("name", "life"), [("session", set()), ("wixSession", set()), ("wix-session", {"Max-Age=1036800"})]
)
def test_flags_of_the_shared_cookie(name, life):
    """The shared cookie lives as long as the front end's, and can be read by it."""
    assert (
        attributes_of(SharedCookie(name).write(CookieContent(ID, TOKENS), CLIENT_ID, EPOCH))
        == {"Path=/", "Secure", "SameSite=Lax"} | life
    )


@pytest.mark.parametrize("make", SEALED)
def test_nothing_readable_inside(make):
    """Neither the id nor a token can be read in the cookie."""
    value = value_of(make([KEY]).write(CookieContent(ID, TOKENS), CLIENT_ID, EPOCH))
    raw = base64.urlsafe_b64decode(value.rpartition(".")[2] + "===")
    for secret in (ID, TOKENS.access_token.value, TOKENS.refresh_token.value):
        assert secret not in value
        assert secret.encode() not in raw


@pytest.mark.parametrize("make", SEALED)
def test_of_another_site_or_name(make):
    """A cookie of another client ID, another name, another form or another key does not open."""
    value = value_of(make([KEY]).write(CookieContent(ID), CLIENT_ID, EPOCH))
    other_form = SealedCookie if make is IdCookie else IdCookie
    for cookie, site in (
        (make([KEY]), OTHER_SITE),
        (make([KEY], name="other"), CLIENT_ID),
        (make([KEY], secure=False), CLIENT_ID),
        (other_form([KEY]), CLIENT_ID),
        (make([OTHER_KEY]), CLIENT_ID),
    ):
        with pytest.raises(Unreadable):
            cookie.read(value, site, EPOCH)


@pytest.mark.parametrize("make", SEALED)
def test_key_rotation(make):
    """A cookie of an older key opens, and is due to be sealed anew; with the new key it is not."""
    old, both = make([OTHER_KEY]), make([KEY, OTHER_KEY])
    assert both.read(value_of(old.write(CookieContent(ID), CLIENT_ID, EPOCH)), CLIENT_ID, EPOCH).is_due
    assert not both.read(value_of(both.write(CookieContent(ID), CLIENT_ID, EPOCH)), CLIENT_ID, EPOCH).is_due


@pytest.mark.parametrize("make", SEALED)
def test_age(make):
    """A cookie is due after a tenth of its life, and not taken after all of it."""
    cookie = make([KEY], max_age=100 * DAY)
    value = value_of(cookie.write(CookieContent(ID), CLIENT_ID, EPOCH))
    assert not cookie.read(value, CLIENT_ID, EPOCH + 9 * DAY).is_due
    assert cookie.read(value, CLIENT_ID, EPOCH + 11 * DAY).is_due
    with pytest.raises(Unreadable, match="older than max_age"):
        cookie.read(value, CLIENT_ID, EPOCH + 101 * DAY)


def test_an_unknown_key_is_named():
    """Whoever deployed the wrong keys reads it in the log: which key, and which there are. No secrets."""
    value = value_of(IdCookie([OTHER_KEY]).write(CookieContent(ID), CLIENT_ID, EPOCH))
    with pytest.raises(Unreadable) as caught:
        IdCookie([KEY]).read(value, CLIENT_ID, EPOCH)
    assert (
        str(caught.value)
        == f"it is sealed with the key {value.split('.')[1]}, but keys has {IdCookie([KEY])._sealer.key_ids[0]}"
    )


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        "null",
        '{"id":7,"at":1}',
        '{"id":"short","at":1}',
        '{"id":"' + ID + '","at":"x"}',
        '{"id":"' + ID + '","at":1e999}',
        '{"id":"' + ID + '","at":1,"tokens":7}',
        "not json",
        '{"id":"' + ID + '","at":1,"tokens":{"accessToken":{"value":"a\\nb","expiresAt":1}}}',
    ],
)
def test_a_valid_seal_with_a_broken_payload(content):
    """Sealed by us, but not what we write: not taken, whatever it is."""
    cookie = SealedCookie([KEY])
    value = cookie._sealer.seal(content.encode(), (CLIENT_ID, cookie.names(CLIENT_ID).first))
    with pytest.raises(Unreadable):
        cookie.read(value, CLIENT_ID, 1.0)


@pytest.mark.parametrize("form", COOKIES)
@given(
    junk=st.one_of(
        st.text(), st.binary().map(lambda data: data.decode("latin-1")), st.just("x" * 100_000), st.just("[" * 5_000)
    )
)
def test_junk(form, junk):
    """Each value that a browser sends is either read or unreadable."""
    cookie = COOKIES[form]()
    with pytest.raises(Unreadable):
        cookie.read(junk, CLIENT_ID, EPOCH)


@given(position=st.integers(0, 10_000), character=st.sampled_from("ABCabc012-_."))
def test_a_changed_character(position, character):
    """One changed character and the cookie does not open."""
    cookie = SealedCookie([KEY])
    value = value_of(cookie.write(CookieContent(ID, TOKENS), CLIENT_ID, EPOCH))
    position %= len(value)
    changed = value[:position] + character + value[position + 1 :]
    if changed == value:
        assert cookie.read(changed, CLIENT_ID, EPOCH).key == ID
    else:
        with pytest.raises(Unreadable):
            cookie.read(changed, CLIENT_ID, EPOCH)


@pytest.mark.parametrize("make", [SealedCookie, lambda keys: SharedCookie("session")])
def test_too_large(make):
    """Tokens that no browser would keep in a cookie are an error that names the cure, not a lost visitor."""
    large = Tokens(AccessToken("a" * 4_000, 1), RefreshToken("r", TokenRole.MEMBER))
    with pytest.raises(ConfigurationError, match=r"browsers keep 4096.*IdCookie"):
        make([KEY]).write(CookieContent(ID, large), CLIENT_ID, EPOCH)


def test_tokens_of_usual_size_fit(still):
    """A member's tokens, sealed, fit a cookie."""
    response = still.mint_member(CLIENT_ID)
    tokens = Tokens(AccessToken(response["access_token"], 1), RefreshToken(response["refresh_token"], TokenRole.MEMBER))
    assert len(SealedCookie([KEY]).write(CookieContent(ID, tokens), CLIENT_ID, EPOCH).partition(";")[0]) <= 4_096


@pytest.mark.parametrize("name", SHARED)
def test_what_javascript_writes(name):
    """The cookie is what ``encodeURIComponent(JSON.stringify(…))`` writes, byte for byte."""
    tokens = json.dumps(TOKENS.to_dict(), separators=(",", ":"))
    text = f'{{"clientId":"{CLIENT_ID}","tokens":{tokens}}}' if name == "wixSession" else tokens
    value = value_of(SharedCookie(name).write(CookieContent(ID, TOKENS), CLIENT_ID, EPOCH))
    assert unquote(value) == text
    assert set(value) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()%")


@pytest.mark.parametrize("value", [TOKENS.to_json(), quote(TOKENS.to_json())])
def test_a_wix_session_without_client_id(value):
    """``wixSession`` as external-identity-provider writes it, the bare tokens, is read too; also not encoded."""
    assert SharedCookie("wixSession").read(value, CLIENT_ID, EPOCH).tokens == TOKENS


def test_a_shared_cookie_of_another_client_id():
    """A ``wixSession`` of another site is dropped, as @wix/astro does."""
    cookie = SharedCookie("wixSession")
    with pytest.raises(Unreadable, match="another client ID"):
        cookie.read(value_of(cookie.write(CookieContent(ID, TOKENS), OTHER_SITE, EPOCH)), CLIENT_ID, EPOCH)


def test_empty_shared_tokens():
    """Nobody's tokens are no visitor."""
    cookie = SharedCookie("session")
    with pytest.raises(Unreadable, match="no tokens"):
        cookie.read(quote(EMPTY_TOKENS.to_json()), CLIENT_ID, EPOCH)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: IdCookie([]), "keys"),
        (lambda: IdCookie(["short"]), "32 random bytes"),
        (lambda: IdCookie(KEY), "list of keys"),
        (lambda: IdCookie([KEY], name="a b"), "name"),
        (lambda: IdCookie([KEY], name="__Host-x"), "prefix"),
        (lambda: SealedCookie([KEY], max_age=0), "max_age"),
        (lambda: SealedCookie([KEY], max_age=401 * DAY), "400 days"),
        (lambda: SealedCookie([KEY], max_age=True), "max_age"),
        (lambda: SharedCookie("other"), "wixSession, session, wix-session"),
    ],
)
def test_wrong_arguments(make, text):
    """A wrong argument is an error that says what to do."""
    with pytest.raises(ConfigurationError, match=text):
        make()


def test_repr_shows_no_key():
    """A cookie's repr names its keys and shows none."""
    key = generate_key()
    for cookie in (IdCookie([key]), SealedCookie([key])):
        assert key not in repr(cookie)
        assert "keys" in repr(cookie)
