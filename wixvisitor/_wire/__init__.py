"""Wix's spelling: what is sent and what an answer means. All of it is pure.

What belongs here: request bodies, answers, error bodies, the claims of a token, and how secrets are cut out of a text.
May import: ``_tokens`` and ``errors``, nothing else of the package; no I/O, no clock, no lock.
Everything else may import from here. Open ``token_endpoint`` first.
"""
