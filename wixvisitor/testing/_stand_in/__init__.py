"""FakeWix as a server for everybody: ``python -m wixvisitor fake``, and ``FakeWix.serve(page=True)``.

Here is what a server needs and a test does not: the page and its controls (``app``, ``controls``, ``fault_verbs``,
``events``, ``facts``), protection from other sites' pages (``guard``), a clock with a speed (``clock``), the files
(``product_file``; ``state_file``, whose content is made by ``state``), and what lets it run for weeks (``upkeep``).
"""
