"""Generates ``wixvisitor.apis`` from a description of Wix's APIs.

1. ``methods.txt`` lists the methods. It is written by hand.
2. ``describe.mjs`` reads the npm packages that ``package.json`` pins, and writes ``description.json``: names, shapes
   and links. It calls the packages' functions to see what they send, and the TypeScript compiler reads their typings.
   ``by_hand.json`` describes what no package with a licence does, from Wix's REST reference: data collections.
3. ``python -m tools.apis`` writes Python from both, with Python alone; ``--check`` only compares.

``nox -s apis`` does 2 and 3, ``nox -s apis -- --latest`` shows what Wix has changed since the pinned versions.
"""
