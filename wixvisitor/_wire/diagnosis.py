"""What the answers of Wix and the failures on the way mean for someone who sets up a site. Pure.

Sources: ``APP_NOT_INSTALLED`` and ``CATALOG_V3_CALLING_CATALOG_V1_API`` come with 428, and a blog that is not installed
answers 401 (both observed; Wix documents 428 as a failed precondition and 403 as a missing permission:
dev.wix.com/docs/rest/articles/getting-started/errors). The token's facts are those of dev.wix.com/docs/api-reference/
app-management/oauth-2/token-info.md. The paths are those of Wix's REST reference, dev.wix.com/docs/rest; ``@wix/sdk``
calls some of them by older names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from wixvisitor._wire.redaction import redact

FindingState = Literal["ok", "note", "problem", "skipped"]

_MAX_TEXT: Final = 300  # characters of what Wix said
_MAX_OFFSET: Final = 60.0  # seconds that a machine's clock may be wrong
_SLOW: Final = 3.0  # seconds; a token call takes a fraction of one


@attrs.frozen(kw_only=True)
class Finding:
    """One row of a diagnosis. It holds no secret.

    Attributes:
        check: what was looked at, for example ``"clock"``.
        state: ``"ok"``; ``"note"``: good to know, and no fault; ``"problem"``; ``"skipped"``: not tried.
        text: what was found.
        advice: what to do; ``""`` if nothing has to be done.
        status_code: the HTTP status of the answer that says so, None if there is none.
        request_id: Wix's own id of that request (``x-wix-request-id``).
        is_unreachable: whether the network is the problem: Wix could not be asked.
    """

    check: str
    state: FindingState
    text: str
    advice: str = ""
    status_code: int | None = None
    request_id: str | None = None
    is_unreachable: bool = False


@attrs.frozen(kw_only=True)
class Diagnosis:
    """What ``diagnose`` found.

    Attributes:
        findings: the rows, in the order in which they were found.
        calls: how many calls were made to Wix.
    """

    findings: tuple[Finding, ...]
    calls: int

    @property
    def is_healthy(self) -> bool:
        """Whether there is no problem."""
        return all(finding.state != "problem" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain data, for JSON."""
        return {
            "healthy": self.is_healthy,
            "calls": self.calls,
            "findings": [attrs.asdict(one) for one in self.findings],
        }


@attrs.frozen
class App:
    """A Wix app, and a call that it answers to a visitor."""

    name: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None


_ONE: Final = {"query": {"cursorPaging": {"limit": 1}}}
# Not ``/stores-reader/``, which also answers on sites with the catalogue V3.
CATALOG: Final = App("stores", "POST", "/stores/v1/products/query", {"query": {"paging": {"limit": 1}}})
APPS: Final = (
    App("events", "POST", "/events/v3/events/query", {"query": {"paging": {"limit": 1}}}),
    App("bookings", "POST", "/bookings/v2/services/query", {"query": {"paging": {"limit": 1}}}),
    App("blog", "GET", "/blog/v3/posts?paging.limit=1"),
    App("pricing plans", "POST", "/pricing-plans/v3/plans/query", _ONE),
    App("forms", "POST", "/form-schema-service/v4/forms/query", _ONE),
    App("members", "POST", "/members/v1/members/query", {"query": {"paging": {"limit": 1}}}),
)

NO_JSON: Final = "no JSON"  # in place of a code: a 2xx that is no answer of an API
_NOT_INSTALLED: Final = "APP_NOT_INSTALLED"
_IS_V3: Final = "CATALOG_V3_CALLING_CATALOG_V1_API"


@attrs.frozen
class Answer:
    """An answer of an API: its status, and what its error says; code and text are empty if it is none.

    Without a status there was no answer, and the text says why.
    """

    status_code: int | None
    code: str = ""
    text: str = ""
    request_id: str | None = None


def catalog_finding(answer: Answer) -> Finding:
    """Returns which catalogue the site has. The call was one of catalogue V1."""
    about: dict[str, Any] = {"status_code": answer.status_code, "request_id": answer.request_id}
    if answer.status_code is not None and answer.status_code // 100 == 2 and answer.code != NO_JSON:
        text = "Wix Stores answers, with the catalogue V1"
        return Finding(check="stores", state="ok", text=text, **about)
    if answer.code == _IS_V3:
        text = "Wix Stores answers, with the catalogue V3"
        return Finding(check="stores", state="ok", text=text, **about)
    return app_finding(CATALOG, answer)


def app_finding(app: App, answer: Answer) -> Finding:
    """Returns whether an app answers a visitor."""
    about: dict[str, Any] = {
        "check": app.name,
        "status_code": answer.status_code,
        "request_id": answer.request_id,
    }
    if answer.status_code is None:
        text = f"could not be reached ({redact(answer.text)[:_MAX_TEXT]})"
        return Finding(state="problem", text=text, advice="Try again later", is_unreachable=True, **about)
    if answer.code == NO_JSON:
        text = f"{answer.status_code}, and no JSON: something answers in Wix's place"
        return Finding(state="problem", text=text, advice=advice_of(answer.status_code), **about)
    if answer.status_code // 100 == 2:
        return Finding(state="ok", text="answers a visitor", **about)
    state, text, advice = _refusal(app, answer, answer.status_code)
    return Finding(state=state, text=text, advice=advice, **about)


def _refusal(app: App, answer: Answer, status: int) -> tuple[FindingState, str, str]:
    """Returns the state, the text and the advice for an answer that is an error."""
    said = f"{status} {answer.code} {answer.text}".replace("  ", " ").strip()[:_MAX_TEXT]
    add = "If the site needs it, add the app in the site's dashboard"
    allow = "If visitors should read it, look at the app's own settings: who may see its content"
    is_absent = answer.code == _NOT_INSTALLED or (app.name == "blog" and status == 401)
    may_not = status in (401, 403)
    cases: tuple[tuple[bool, tuple[FindingState, str, str]], ...] = (
        (is_absent, ("note", f"the app is not installed (Wix: {said})", add)),
        (
            may_not and "bot protection" in answer.text,
            ("problem", f"something answers in Wix's place (Wix: {said})", advice_of(status)),
        ),
        (may_not, ("note", f"a visitor may not read it (Wix: {said})", allow)),
        (status == 429, ("note", f"too many requests (Wix: {said})", advice_of(status))),
        (status == 404, ("note", "this address does not know the call", "")),
        (status >= 500, ("problem", f"Wix: {said}", "Try again later; the request id is Wix's own id of this call")),
        (True, ("note", f"Wix: {said}", "")),
    )
    return next(finding for applies, finding in cases if applies)


def advice_of(status: int | None) -> str:
    """Returns what to do about an answer that is not Wix's, or says to come back later."""
    if status == 429:
        return "Wait a minute: Wix documents a limit of 200 requests a minute"
    if status == 407:
        return "The proxy wants a user and a password: put them into its variable"
    if status is not None and (status // 100 in (2, 3) or status in (400, 401, 403, 404, 405, 501)):
        return (
            "A gateway, a firewall, a login page of this network or Wix's protection against bots may have answered; "
            "or the base URL is not Wix's"
        )
    return "Try again later"


def clock_finding(offset: float | None) -> Finding:
    """Returns whether the machine's clock is right.

    Args:
        offset: seconds that Wix's clock is ahead of the machine's; None if no answer had a date.
    """
    if offset is None:
        return Finding(check="clock", state="skipped", text="no answer had a Date")
    if abs(offset) < _MAX_OFFSET:
        return Finding(check="clock", state="ok", text=f"this machine's clock agrees with Wix's to {abs(offset):.0f} s")
    words = "behind" if offset > 0 else "ahead of"
    return Finding(
        check="clock",
        state="problem",
        text=f"this machine's clock is {abs(offset):,.0f} s {words} Wix's",
        advice="Set it right (NTP). Tokens are renewed by Wix's clock all the same; certificates and cookies suffer",
    )


def endpoint_finding(seconds: float, *, is_new: bool) -> Finding:
    """Returns that the token endpoint answers, and how fast."""
    did = "made a visitor" if is_new else "renewed the visitor"
    slow = seconds > _SLOW
    return Finding(
        check="token endpoint",
        state="note" if slow else "ok",
        text=f"knows the client ID; {did} in {seconds:.2f} s",
        advice="That is slow. Look at the network, a proxy, or try again" if slow else "",
    )


def replaced_finding() -> Finding:
    """Returns that the session's visitor was refused and replaced, as ``on_refused`` allows."""
    return Finding(
        check="token endpoint",
        state="note",
        text="Wix refused the visitor that the session had, so the session made a new one, as on_refused says",
        advice="The tokens were revoked, too old, or another site's: give each site a store or a prefix of its own",
    )


def token_finding(client_id: str, info: Mapping[str, Any] | None, answer: Answer) -> Finding:
    """Returns whose token it is.

    Args:
        client_id: the session's.
        info: the answer of ``token-info``, None if it is none.
        answer: its status and request id.
    """
    about: dict[str, Any] = {"status_code": answer.status_code, "request_id": answer.request_id}
    if info is None or answer.status_code != 200:
        text = f"token-info does not answer ({answer.status_code})"
        return Finding(check="token", state="note", text=text, **about)
    kind, site, owner = (str(info.get(name) or "unknown") for name in ("subjectType", "siteId", "clientId"))
    text = f"{kind.lower()} {info.get('subjectId') or 'unknown'} of site {site}"
    if info.get("active") is False:
        return Finding(
            check="token", state="problem", text=f"{text}; Wix calls it inactive", advice="Use a fresh visitor", **about
        )
    if owner not in ("unknown", client_id):
        return Finding(
            check="token",
            state="problem",
            text=f"{text}; it belongs to another client ID, {owner}",
            advice="The file or store holds the visitor of another site: give each site its own",
            **about,
        )
    return Finding(check="token", state="ok", text=text, **about)


def network_finding(chain: Sequence[tuple[str, str]], proxies: Sequence[str]) -> Finding:
    """Returns why the token endpoint could not be reached.

    Args:
        chain: the name and text of each exception, from the first to the last cause.
        proxies: the environment variables that name a proxy.
    """
    names, texts = " ".join(name for name, _ in chain), redact(" ".join(text for _, text in chain))
    text, advice = next(_causes(names, texts, proxies))
    return Finding(check="token endpoint", state="problem", text=text, advice=advice, is_unreachable=True)


def _causes(names: str, texts: str, proxies: Sequence[str]) -> Iterator[tuple[str, str]]:
    through = f" The requests go through a proxy ({', '.join(proxies)})." if proxies else ""
    if "FileNotFoundError" in names or "NO_CERTIFICATE" in texts:
        yield "the file of trusted certificates cannot be read", "Look at SSL_CERT_FILE and SSL_CERT_DIR."
    if "WRONG_VERSION_NUMBER" in texts or "record layer failure" in texts:
        yield "the other side speaks no TLS", f"Look at the scheme and the port: https or http?{through}"
    if "Hostname mismatch" in texts or "IP address mismatch" in texts:
        yield "the certificate is for another name", f"Look at the base URL.{through}"
    if "certificate has expired" in texts or "certificate is not yet valid" in texts:
        yield "the certificate is not valid at this machine's time", "Look at this machine's clock first."
    if "CERTIFICATE_VERIFY_FAILED" in texts or "SSLCertVerificationError" in names:
        advice = "Look at this machine's clock. A proxy that inspects TLS has an authority of its own: name its file in"
        yield "the certificate of the other side is not trusted", f"{advice} SSL_CERT_FILE.{through}"
    if "ProxyError" in names or "socks" in texts.lower():
        yield f"the proxy refuses ({texts[:_MAX_TEXT]})", f"Look at its address and password.{through}"
    if "gaierror" in names or "Name or service not known" in texts or "name resolution" in texts:
        yield "the host's name cannot be resolved", f"Look at DNS, and at --base-url if one is given.{through}"
    if "ConnectTimeout" in names or "ReadTimeout" in names or "gave no answer" in texts:
        yield "there was no answer in time", f"A firewall may drop the packets, or Wix is slow: try again.{through}"
    if "ConnectionRefused" in names or "Connect call failed" in texts or "connection attempts failed" in texts:
        yield "nothing listens there", f"Look at --base-url, and at a firewall or proxy.{through}"
    yield f"it could not be reached ({texts[:_MAX_TEXT]})", f"Try again later.{through}"
