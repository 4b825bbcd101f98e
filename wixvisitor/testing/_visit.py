"""One request of a browser to a hosted page."""

from http.cookies import CookieError, SimpleCookie

from attrs import frozen
from starlette.responses import RedirectResponse, Response

from wixvisitor.testing._calls import HOSTED, Call
from wixvisitor.testing._hosted import BROWSER_LIFETIME, Redirect
from wixvisitor.testing._html import notice
from wixvisitor.testing._member import Member
from wixvisitor.testing._redirect_uris import is_return_url, with_parameters
from wixvisitor.testing._site import Site


class PageRefused(Exception):
    """Ends a visit with a page."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


@frozen(kw_only=True)
class Visit:
    """A request to a hosted page.

    Attributes:
        is_secure: Whether it came by ``https``.

    """

    site: Site
    call: Call
    is_secure: bool

    @property
    def is_form(self) -> bool:
        """Whether a form was sent."""
        return self.call.method == "POST"

    def value(self, name: str) -> str:
        """A field of the form, or a parameter of the address; ``""`` if there is none."""
        found = self.call.fields.get(name) if self.is_form else self.call.query.get(name)
        return found if isinstance(found, str) else ""

    def redirect(self, flow: str) -> Redirect:
        """The redirect session whose link was opened. Its callbacks are checked.

        Raises:
            PageRefused: There is none, it is another page's, or it is too old: 410. A callback is not allowed: 403.

        """
        redirect = self.site.hosted.redirects.find(self.value("session"))
        if redirect is None or (flow and redirect.flow != flow):
            raise PageRefused(notice("This link does not work", "It is unknown or too old. Begin again.", status=410))
        self.call.visitor_id = redirect.visitor.id
        for url in filter(None, (redirect.post_flow_url, redirect.thank_you_url)):
            if not is_return_url(url, self.site.settings.allowed_redirect_uris):
                raise PageRefused(not_allowed(url))
        return redirect

    # The browser's own login at the hosted pages

    @property
    def _cookie(self) -> str:
        # Browsers keep cookies by host, not by port: two fakes of one machine must not share a name.
        return f"fake-wix-{self.site.visitors.site['metaSiteId'][:8]}"

    @property
    def _secret(self) -> str:
        try:
            found = SimpleCookie(self.call.headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            found = None
        return found.value if found is not None else ""

    @property
    def member(self) -> Member | None:
        """The member who is logged in in this browser."""
        return self.site.hosted.browsers.find(self._secret)

    def log_in(self, member: Member, response: Response) -> Response:
        """Makes the browser the member's."""
        self.site.hosted.browsers.take(self._secret)
        self._set(response, self.site.hosted.browsers.issue(member), BROWSER_LIFETIME)
        return response

    def log_out(self, response: Response) -> Response:
        """Makes the browser no member's."""
        self.site.hosted.browsers.take(self._secret)
        self._set(response, "", 0)
        return response

    def _set(self, response: Response, secret: str, lifetime: int) -> None:
        response.set_cookie(
            self._cookie,
            secret,
            max_age=lifetime,
            path=HOSTED,
            secure=self.is_secure,
            httponly=True,
            samesite="lax",
        )

    def back(self, url: str, *, member: Member | None, **parameters: str) -> str:
        """The address of a callback, which learns whether a member is logged in here."""
        logged_in = "false" if member is None else "true"
        return with_parameters(url, {**parameters, "wixMemberLoggedIn": logged_in})


def go(url: str) -> Response:
    """Sends the browser on, by GET."""
    return RedirectResponse(url, 303, headers={"cache-control": "no-store", "referrer-policy": "same-origin"})


def not_allowed(url: str) -> Response:
    """The page for an address that is not listed. The browser is not sent there (RFC 6749 section 3.1.2.4)."""
    text = (
        f"{url!r:.300} is not listed. In FakeWix it has to be in allowed_redirect_uris; without such a list it has to "
        "begin with https, or with http and a name of this machine. At Wix it has to be in the Headless Settings."
    )
    return notice("This address is not allowed", text, status=403)
