"""Wix's APIs for visitors and members, with types: plain functions, one module for each of Wix's services.

``await products_v3.query_products(visitor, query={...})`` sends what ``@wix/sdk`` sends, and returns what Wix answers,
with the keys of Wix's REST reference. ``each`` goes through all pages. The packages below this one are generated
(``tools/apis``); ``_runtime``, ``_paging`` and ``_encoding`` are not.
"""

from wixvisitor.apis._paging import each

__all__ = ["each"]
