"""Generates ``wixvisitor.apis`` from a description of Wix's APIs.

1. ``methods.txt`` lists the methods. It is written by hand.
2. ``describe.mjs`` reads the npm packages that ``package.json`` pins, and writes ``description.json``: names, shapes
   and links. It calls the packages' functions to see what they send, and the TypeScript compiler reads their typings.
3. ``python -m tools.apis`` writes Python from ``description.json``, with Python alone; ``--check`` only compares.

``nox -s apis`` does 2 and 3, ``nox -s apis -- --latest`` shows what Wix has changed since the pinned versions.
"""
