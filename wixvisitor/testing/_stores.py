"""The shop's products in the formats of both catalogs."""

import base64
import binascii
from typing import Any

from wixvisitor.testing._cart_format import money_v1
from wixvisitor.testing._catalog import CURRENCY, Product, of_stores
from wixvisitor.testing._refusals import application_error, plain_error
from wixvisitor.testing._site import CallContext

Json = dict[str, Any]


def query_v1(context: CallContext) -> Json:
    """The answer to ``/stores-reader/v1/products/query``."""
    query = _object(context.body, "query")
    paging = _object(query, "paging")
    offset, limit = _number(paging, "offset", 0), _number(paging, "limit", 100)
    products = of_stores(context.site.products)
    page = products[offset : offset + limit]
    return {
        "products": [_product_v1(product) for product in page],
        "metadata": {"items": len(page), "offset": offset},
        "totalResults": len(products),
    }


def query_platformized(context: CallContext) -> Json:
    """The answer to ``/stores-reader/v1/products/query-platformized``, the query of ``@wix/sdk``."""
    answer = query_v1(context)
    metadata = {"count": answer["metadata"]["items"], "offset": answer["metadata"]["offset"]}
    return {"products": answer["products"], "metadata": {**metadata, "total": answer["totalResults"]}}


def query_old(_context: CallContext) -> Json:
    """The refusal of ``/stores/v1/products/query``: like every new site, the fake has the catalog V3."""
    raise application_error(428, "CATALOG_V3_CALLING_CATALOG_V1_API", "The site has the catalog V3")


def query_v3(context: CallContext) -> Json:
    """The answer to ``/stores/v3/products/query`` and ``search``, in pages with a cursor."""
    query = _object(context.body, "query") or _object(context.body, "search")
    page, metadata = page_of(of_stores(context.site.products), {"cursorPaging": _object(query, "cursorPaging")})
    return {"products": [_product_v3(product) for product in page], "pagingMetadata": metadata}


def page_of(items: list[Any], query: Json, *, limit: int = 100) -> tuple[list[Any], Json]:
    """A page of these items, by ``cursorPaging`` or else by ``paging``, and its ``pagingMetadata``.

    Raises:
        Refused: The paging is malformed.

    """
    paging = _object(query, "paging")
    if paging and "cursorPaging" not in query:
        start, limit = _number(paging, "offset", 0), _number(paging, "limit", limit)
        page = items[start : start + limit]
        return page, {"count": len(page), "offset": start, "total": len(items), "hasNext": start + limit < len(items)}
    paging = _object(query, "cursorPaging")
    start, limit = _start(paging.get("cursor")), _number(paging, "limit", limit)
    page, more = items[start : start + limit], start + limit < len(items)
    cursors = {"next": _cursor(start + limit)} if more else {}
    return page, {"count": len(page), "cursors": cursors, "hasNext": more}


def by_slug(context: CallContext) -> Json:
    """One product."""
    for product in of_stores(context.site.products):
        if product.slug == context.params["slug"]:
            return {"product": _product_v3(product)}
    raise application_error(404, "PRODUCT_NOT_FOUND", "Product not found")


def by_id(context: CallContext) -> Json:
    """One product."""
    product = context.site.products.get(context.params["product_id"])
    if product is None:
        raise application_error(404, "PRODUCT_NOT_FOUND", "Product not found")
    return {"product": _product_v3(product)}


def _product_v1(product: Product) -> Json:
    price = {"currency": CURRENCY, "price": float(product.price), "formatted": {"price": f"${product.price:.2f}"}}
    return {
        "id": product.id,
        "name": product.name,
        "slug": product.slug,
        "visible": True,
        "price": price,
        "priceData": price,
        "stock": {"inStock": product.stock != 0, "trackInventory": product.stock is not None},
    }


def _product_v3(product: Product) -> Json:
    price = {key: value for key, value in money_v1(product.price).items() if "onverted" not in key}
    return {
        "id": product.id,
        "name": product.name,
        "slug": product.slug,
        "visible": True,
        "revision": "1",
        "currency": CURRENCY,
        "actualPriceRange": {"minValue": price, "maxValue": price},
        "inventory": {"availabilityStatus": "OUT_OF_STOCK" if product.stock == 0 else "IN_STOCK"},
    }


def _object(body: Json, name: str) -> Json:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _number(paging: Json, name: str, default: int) -> int:
    value = paging.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise plain_error(400, f"query.paging.{name} must be a whole number")
    return value


def _cursor(start: int) -> str:
    return base64.urlsafe_b64encode(f"start={start}".encode()).decode()


def _start(cursor: object) -> int:
    if cursor is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(str(cursor)).removeprefix(b"start="))
    except (ValueError, binascii.Error):
        raise plain_error(400, "query.cursorPaging.cursor is invalid") from None
