"""The GraphQL endpoint: ``/graphql/{version}``.

Wix's own schema is not public, so the field names below are invented. The format around them is Wix's: the request is
``{"query", "variables"}``, and an error in the query is a 200 with ``errors`` (``@wix/sdk`` 1.21.16, ``graphql``).
"""

from typing import Any, Protocol

from graphql import GraphQLError, build_schema, graphql_sync

from wixvisitor.testing._cart import Cart
from wixvisitor.testing._cart_format import buyer, money_v2
from wixvisitor.testing._catalog import STORES_APP_ID, of_stores
from wixvisitor.testing._refusals import Refused, plain_error
from wixvisitor.testing._site import CallContext

Json = dict[str, Any]

SCHEMA = build_schema("""
    type Money { amount: String! }
    type LineItem { id: ID!, name: String!, quantity: Int!, confirmedQuantity: Int!, price: Money! }
    type Buyer { visitorId: ID, memberId: ID }
    type Cart { id: ID!, lineItems: [LineItem!]!, subtotal: Money!, total: Money!, buyer: Buyer! }
    type Product { id: ID!, name: String!, slug: String!, price: Money! }
    type Query {
        "The visitor's cart, or null."
        currentCart: Cart
        products(limit: Int = 100): [Product!]!
    }
    type Mutation {
        addToCurrentCart(catalogItemId: ID!, quantity: Int = 1): Cart!
    }
""")


def execute(context: CallContext) -> Json:
    """The answer to a GraphQL request: ``data``, and ``errors`` if there are any.

    Raises:
        Refused: The request has no query.

    """
    query, variables = context.body.get("query"), context.body.get("variables")
    if not isinstance(query, str):
        raise plain_error(400, "query must be a string")
    result = graphql_sync(
        SCHEMA,
        query,
        root_value=_Root(),
        context_value=context,
        variable_values=variables if isinstance(variables, dict) else None,
        operation_name=context.body.get("operationName"),
    )
    return dict(result.formatted)


class _Info(Protocol):
    """The part of graphql-core's ``GraphQLResolveInfo`` that a resolver needs. That class is generic only since 3.3."""

    @property
    def context(self) -> CallContext: ...


class _Root:
    """The root of the schema. graphql-core calls the method with the field's name, with the field's arguments."""

    def currentCart(self, info: _Info) -> Json | None:  # noqa: N802 - a field of the schema
        context = info.context
        return None if context.visitor.cart is None else _cart(context, context.visitor.cart)

    def products(self, info: _Info, limit: int) -> list[Json]:
        context = info.context
        products = of_stores(context.site.products)[: max(limit, 0)]
        return [
            {"id": product.id, "name": product.name, "slug": product.slug, "price": money_v2(product.price)}
            for product in products
        ]

    def addToCurrentCart(self, info: _Info, catalogItemId: str, quantity: int) -> Json:  # noqa: N802, N803 - as above
        context = info.context
        reference = {"appId": STORES_APP_ID, "catalogItemId": catalogItemId}
        item = {"quantity": quantity, "catalogReference": reference}
        try:
            line = context.site.new_line(item, name="lineItems")
            cart = context.visitor.cart or context.site.new_cart(context.visitor)
            cart.add(line)
        except Refused as refused:
            raise GraphQLError(refused.body["message"], extensions=refused.body["details"]) from None
        return _cart(context, context.changed(cart))


def _cart(context: CallContext, cart: Cart) -> Json:
    return {
        "id": cart.id,
        "lineItems": [
            {
                "id": line.id,
                "name": line.product.name,
                "quantity": line.quantity,
                "confirmedQuantity": line.confirmed,
                "price": money_v2(line.product.price),
            }
            for line in cart.lines
        ],
        "subtotal": money_v2(cart.subtotal),
        "total": money_v2(cart.total),
        "buyer": buyer(context.token),
    }
