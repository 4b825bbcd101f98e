"""Clients and requests: how a request leaves this process, and what its client may share between visitors.

What belongs here: httpx and httpx2 behind one face, connections, proxies, allowed origins. No token rules.
May import: ``errors``, ``_wire`` and ``_tasks``.
``_renewal``, the sessions and the web integrations import from here. Open ``clients`` first.
"""
