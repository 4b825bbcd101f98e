"""A storefront in FastAPI, one Wix visitor for each browser: ``python -m examples.shop``.

Begin with ``app.py``, where wixvisitor is set up, and ``wix.py``, which calls Wix: as everybody for the products, as
the visitor for the cart.
"""
