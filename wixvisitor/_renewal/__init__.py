"""A visitor's token: the rules that decide about it, and what carries them out.

What belongs here: when a token is used, renewed or replaced; what is saved and when; who may ask the token endpoint.
May import: ``_wire``, ``_tasks``, ``_http``, ``_checks``, and the protocols of ``storage``.
Only the sessions, the pool and the web integrations import from here. Open ``decision`` first: it has every rule.
"""
