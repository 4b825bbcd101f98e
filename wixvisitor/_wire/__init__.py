"""Wix's wire format: what the library sends to Wix, and what Wix's answers mean. All of it is pure.

What belongs here: request bodies, answers, error bodies, the claims of a token, and the redaction of secrets.
May import: ``_tokens`` and ``errors``, nothing else of the package. No I/O, no clock, no lock.
Every other wing may import from here. Open ``token_endpoint`` first.
"""
