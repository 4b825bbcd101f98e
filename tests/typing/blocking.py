"""Checked by mypy and pyright, never run: ``each`` and ``call`` of the blocking doors know arguments and items."""

from __future__ import annotations

from typing import assert_type

from wixvisitor.apis.ecom import current_cart
from wixvisitor.apis.stores import products_v3, products_v3_types
from wixvisitor.blocking import BlockingVisitorSession
from wixvisitor.web import BlockingCatalogReader


def good(visitor: BlockingVisitorSession, catalog: BlockingCatalogReader) -> None:
    """Items and answers have their types."""
    for product in visitor.each(products_v3.query_products, query={"filter": {"visible": True}}, fields=["CURRENCY"]):
        assert_type(product, products_v3_types.V3Product)
    for found in catalog.each(products_v3.query_products, query={}, max_retries=0):
        assert_type(found, products_v3_types.V3Product)
    assert_type(visitor.call(current_cart.get_current_cart)["cart"]["id"], str)
    assert_type(
        catalog.call(products_v3.query_products, query={}),
        products_v3_types.V3QueryProductsResponse,
    )


def bad(visitor: BlockingVisitorSession, catalog: BlockingCatalogReader) -> None:
    """A wrong key, an unknown and a missing argument, a function without pages, a call that writes."""
    visitor.each(products_v3.query_products, query={"filtre": {}})  # type: ignore[typeddict-unknown-key] # pyright: ignore[reportArgumentType]
    visitor.each(products_v3.query_products, quer={})  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    visitor.each(products_v3.query_products)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    visitor.each(current_cart.get_current_cart)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    catalog.call(current_cart.refresh_current_cart)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
