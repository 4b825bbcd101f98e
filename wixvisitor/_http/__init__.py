"""HTTP clients and requests: how a request leaves this process, and what visitors share when they share a client.

What belongs here: one interface over httpx and httpx2, connections, proxies, allowed origins. No token rules.
May import: ``errors``, ``_wire`` and ``_tasks``.
``_renewal``, the sessions and the web integrations import from here. Open ``clients`` first.
"""
