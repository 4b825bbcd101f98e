"""The login's routes as an ASGI app."""

from __future__ import annotations

from wixvisitor._web.login_flow import LoginFlow
from wixvisitor._web.login_pages import Answer, page
from wixvisitor._web.login_rules import MAX_BODY
from wixvisitor._web.scope import KEY, Receive, Scope, Send, known


class LoginApp:
    """The login's routes as an ASGI app, for any framework. ``wixvisitor.asgi.login_router`` makes it.

    Concurrency: one object for each app and event loop.
    Cancellation: leaves the visitor intact.
    """

    def __init__(self, flow: LoginFlow) -> None:
        self.flow = flow
        self._names = {(method, path): name for method, path, name in flow.routes()}
        self._methods: dict[str, list[str]] = {}
        for method, path in self._names:
            self._methods.setdefault(path, []).append(method)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, by the path that the browser asked for, or by the path below a mount."""
        if scope["type"] == "websocket":  # servers answer 403 to a close before the handshake's end
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            raise RuntimeError("login_router: it serves HTTP only")
        asked, below = known(scope.get(KEY)).request.path, scope.get("root_path", "")
        inner = self.flow.place.prefix + scope["path"].removeprefix(below)
        path = asked if asked in self._methods else inner
        name = self._names.get((scope["method"], path))
        if name is None:
            await _send(self._unknown(path), send)
            return
        serving = serve(self.flow, name, scope, receive, send)
        del scope  # error reporters print local variables, and it holds the browser's cookies
        await serving

    def _unknown(self, path: str) -> Answer:
        methods = self._methods.get(path)
        # RFC 9110, section 15.5.6: a 405 names the methods
        return page("missing") if methods is None else page("method", headers=[("Allow", ", ".join(methods))])

    def __repr__(self) -> str:
        return f"<login_router at {self.flow.place.prefix or '/'}>"


async def serve(flow: LoginFlow, name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request to the route of this name."""
    query = scope.get("query_string", b"").decode("latin-1")
    handling = flow.handle(name, known(scope.get(KEY)), query, lambda: _body(receive))
    del scope, query  # error reporters print local variables, and these hold cookies and a code
    await _send(await handling, send)


async def _body(receive: Receive) -> bytes | None:
    """Returns the request's body, None if it is too large or the browser has left."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body"):
            return bytes(body)


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers]
    length = (b"content-length", str(len(answer.body)).encode())
    await send({"type": "http.response.start", "status": answer.status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": answer.body})
