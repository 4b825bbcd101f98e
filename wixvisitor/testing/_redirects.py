"""Redirect sessions: links to the hosted pages.

Reference: https://dev.wix.com/docs/rest/business-management/headless/redirects/create-redirect-session. Where a
link may lead back to is checked by its page: Wix, too, refuses an address that is not listed with 403 only when the
browser is to return there. When Wix checks a login's redirect URI is not known.
"""

from typing import Any

from wixvisitor.testing._authorization import read_request
from wixvisitor.testing._hosted import Redirect
from wixvisitor.testing._refusals import application_error, validation_error
from wixvisitor.testing._site import CallContext
from wixvisitor.testing._visitors import new_id

Json = dict[str, Any]

_PAGES = {"auth": "login", "logout": "logout", "ecomCheckout": "checkout"}
_NO_FLOW = ("callbacks", "preferences", "origin")


def redirect_session(context: CallContext) -> Json:
    """A link to a hosted page: login, logout, checkout, or any other, which says that the fake does not have it.

    Raises:
        Refused: The body names no page, a field is wrong, or the visitor has no such cart.

    """
    flows = [name for name, value in context.body.items() if name not in _NO_FLOW and isinstance(value, dict)]
    if len(flows) != 1:
        raise validation_error("intent", "must be one, like ecomCheckout", rule="REQUIRED_ONE_OF_FIELD")
    redirect = _redirect(context, flows[0])
    return _answer(context, redirect)


def checkout_url(context: CallContext) -> Json:
    """The checkout for the cart that the path names. The checkout has the cart's ID."""
    cart = context.visitor.cart
    wanted = context.params["cart_id"]
    if cart is None or wanted not in (cart.id, "current"):
        raise application_error(404, "CART_NOT_FOUND", "Cart not found")
    redirect = _new(context, "ecomCheckout")
    redirect.checkout_id = cart.id
    return {"checkoutUrl": _answer(context, redirect)["redirectSession"]["fullUrl"]}


def _redirect(context: CallContext, flow: str) -> Redirect:
    redirect = _new(context, flow)
    content: Json = context.body[flow]
    callbacks = context.body.get("callbacks", {})
    if not isinstance(callbacks, dict):
        raise validation_error("callbacks", "must be an object")
    redirect.post_flow_url = _url(callbacks, "postFlowUrl")
    redirect.thank_you_url = _url(callbacks, "thankYouPageUrl")
    if flow == "auth":
        redirect.request = read_request(content, client_id=context.visitor.client_id)
    if flow == "logout" and content.get("clientId") != context.visitor.client_id:
        raise validation_error("logout.clientId", "must be the client of the token")
    if flow == "ecomCheckout":
        cart = context.visitor.cart
        if cart is None or content.get("checkoutId") != cart.id:
            raise application_error(404, "CHECKOUT_NOT_FOUND", "Checkout not found")
        redirect.checkout_id = cart.id
    return redirect


def _new(context: CallContext, flow: str) -> Redirect:
    member_id = context.token.member_id
    preferences = context.body.get("preferences")
    keeps = not isinstance(preferences, dict) or preferences.get("maintainIdentity") is not False
    is_known = (context.visitor.id, member_id) not in context.site.hosted.unknown_logins
    return Redirect(
        flow=flow,
        visitor=context.visitor,
        member_id=member_id,
        brings_login=member_id is not None and keeps and is_known and flow not in ("auth", "logout"),
    )


def _url(callbacks: Json, name: str) -> str:
    value = callbacks.get(name)
    if value is not None and not isinstance(value, str):
        raise validation_error(f"callbacks.{name}", "must be a string")
    return value or ""


def _answer(context: CallContext, redirect: Redirect) -> Json:
    hosted = context.site.hosted
    secret = hosted.redirects.issue(redirect)
    checkout = {"checkoutId": redirect.checkout_id} if redirect.checkout_id else {}
    page = _PAGES.get(redirect.flow, "other")
    url = hosted.link(context.base_url, page, {**checkout, "session": secret})
    endpoint = url.partition("?")[0]
    return {"redirectSession": {"id": new_id(), "fullUrl": url, "urlDetails": {"endpoint": endpoint}}}
