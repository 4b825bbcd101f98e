"""The routes of the fake. Starlette finds the handler, which then runs under the site's lock."""

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wixvisitor.testing import _cart_v1 as v1
from wixvisitor.testing import _cart_v2 as v2
from wixvisitor.testing import _collections as collections
from wixvisitor.testing import _graphql as graphql
from wixvisitor.testing import _iam as iam
from wixvisitor.testing import _redirects as redirects
from wixvisitor.testing import _reservations as reservations
from wixvisitor.testing import _stores as stores
from wixvisitor.testing._calls import CALL, TOKEN_PATH, Call
from wixvisitor.testing._hosted_pages import hosted_routes
from wixvisitor.testing._refusals import Refused, plain_error, refused_response
from wixvisitor.testing._site import CallContext, Site
from wixvisitor.testing._token_endpoint import issue_tokens, token_info

Json = dict[str, Any]
Handler = Callable[[CallContext], Json]
Endpoint = Callable[[Request], Awaitable[Response]]

_CART_V1: dict[tuple[str, str], Handler] = {
    ("GET", ""): v1.get,
    ("PATCH", ""): v1.update,
    ("DELETE", ""): v1.delete,
    ("POST", "/add-to-cart"): v1.add_to_cart,
    ("POST", "/update-line-items-quantity"): v1.update_line_items_quantity,
    ("POST", "/remove-line-items"): v1.remove_line_items,
    ("POST", "/remove-coupon"): v1.remove_coupon,
    ("POST", "/estimate-totals"): v1.estimate_totals,
    ("POST", "/create-checkout"): v1.create_checkout,
}

_CART_V2: dict[tuple[str, str], Handler] = {
    ("GET", ""): v2.get,
    ("POST", ""): v2.create,
    ("PATCH", ""): v2.update,
    ("DELETE", ""): v2.delete,
    ("POST", "/add-line-items"): v2.add_line_items,
    ("POST", "/update-line-items"): v2.update_line_items,
    ("POST", "/remove-line-items"): v2.remove_line_items,
    ("POST", "/estimate"): v2.estimate,
    ("POST", "/calculate"): v2.calculate,
    ("POST", "/refresh"): v2.get,
    ("POST", "/add-coupon"): v2.add_coupon,
    ("POST", "/remove-coupon"): v2.remove_coupon,
}

_OTHERS: dict[tuple[str, str], Handler] = {
    ("POST", "/ecom/v2/carts/{cart_id}/get-checkout-url"): redirects.checkout_url,
    ("POST", "/headless/v1/redirect-session"): redirects.redirect_session,
    ("POST", "/_api/redirects-api/v1/redirect-session"): redirects.redirect_session,
    ("POST", "/_api/iam/authentication/v2/login"): iam.login,
    ("POST", "/_api/iam/authentication/v2/register"): iam.register,
    ("POST", "/_api/iam/verification/v1/auth/verify"): iam.verify,
    ("POST", "/_api/iam/recovery/v1/send-email"): iam.send_recovery_email,
    ("GET", "/members/v1/members/my"): iam.my_member,
    ("GET", "/stores-reader/v1/products/query"): stores.query_v1,
    ("POST", "/stores-reader/v1/products/query"): stores.query_v1,
    ("POST", "/stores-reader/v1/products/query-platformized"): stores.query_platformized,
    ("POST", "/stores/v1/products/query"): stores.query_old,
    ("GET", "/stores/v3/products/query"): stores.query_v3,
    ("POST", "/stores/v3/products/query"): stores.query_v3,
    ("POST", "/stores/v3/products/search"): stores.query_v3,
    ("GET", "/stores/v3/products/slug/{slug}"): stores.by_slug,
    ("GET", "/stores/v3/products/{product_id}"): stores.by_id,
    ("POST", "/events/v1/ticket-reservations"): reservations.create,
    ("GET", "/events/v1/ticket-reservations/{reservation_id}"): reservations.get,
    ("POST", "/events/v1/ticket-reservations/{reservation_id}/cancel"): reservations.cancel,
    ("POST", "/wix-data/v2/items/query"): collections.query,
    ("GET", "/wix-data/v2/items/{item_id}"): collections.get,
    ("POST", "/graphql/{version}"): graphql.execute,
}


def routes_app(site: Site) -> Starlette:
    """The API as an ASGI app, without faults."""
    routes = [
        Route(TOKEN_PATH, _public(site, issue_tokens), methods=["POST"]),
        Route("/oauth2/token-info", _public(site, token_info), methods=["POST"]),
        Route("/_api/iam/authentication/v2/sign-on", _public(site, iam.sign_on), methods=["POST"]),
        *hosted_routes(site),
    ]
    for prefix, table in (("/ecom/v1/carts/current", _CART_V1), ("/ecom/v2/carts/current", _CART_V2), ("", _OTHERS)):
        for (method, path), handler in table.items():
            routes.append(Route(prefix + path, _authorised(site, handler), methods=[method]))
    app = Starlette(routes=routes, exception_handlers={Refused: refused_response, HTTPException: _no_route})
    app.router.redirect_slashes = False
    return app


def _public(site: Site, handler: Callable[[Site, Call], Json]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        with site.lock:
            return JSONResponse(handler(site, request.scope[CALL]))

    return endpoint


def _authorised(site: Site, handler: Handler) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        call: Call = request.scope[CALL]
        with site.lock:
            token = site.visitors.identify(call.headers.get("authorization"))
            call.visitor_id = token.visitor.id
            params = {name: str(value) for name, value in request.path_params.items()}
            context = CallContext(
                site=site,
                token=token,
                body=_arguments(call),
                params=params,
                call=call,
                base_url=str(request.base_url).rstrip("/"),
            )
            return JSONResponse(handler(context))

    return endpoint


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    call: Call = request.scope[CALL]
    call.matched = False
    refused = plain_error(error.status_code, f"No route for {call.method} {call.path}")
    return JSONResponse(refused.body, status_code=refused.status, headers=error.headers)


def _arguments(call: Call) -> Json:
    """The call's arguments: the body, or the query parameter ``.r`` of ``@wix/sdk``, with which a CDN can cache."""
    if ".r" in call.query:
        return _decode_r(call.query[".r"])
    if not call.body:
        return {}
    if not isinstance(call.json, dict):
        raise plain_error(400, "The body is not a JSON object")
    return call.json


def _decode_r(text: str) -> Json:
    try:
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        value = None
    if not isinstance(value, dict):
        raise plain_error(400, "The parameter .r is not a base64url JSON object")
    return value
