"""What all web integrations share: finds the visitor of a request's headers, and writes the answer's headers.

What belongs here: cookies as a request and its answer carry them, logins, the order of answers, the catalogue.
May import: the sessions and the pool, ``cookies``, ``storage``, and the wings below them; no web framework.
``asgi``, ``fastapi`` and ``aiohttp`` import from here. Open ``visit`` first: it is one request, from cookie to answer.
"""
