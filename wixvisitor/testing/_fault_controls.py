"""The part of `FakeWix` that makes things go wrong."""

from collections.abc import Mapping

from ._answers import BodyArgument, made_up
from ._calls import TOKEN_PATH
from ._faults import (
    AddHeader,
    Delay,
    Drop,
    Fail,
    Fault,
    Faults,
    Hang,
    Hold,
    Truncate,
)
from ._gate import Gate


class FaultControls:
    """Makes calls go wrong. Which ones is said the same way each time:

    - `path`: None is every path but `/oauth2/…`; `"/ecom/*"` is every path that begins so; any other is that path.
    - `times`: for how many calls; None is for ever.
    - `grant_type`: only token calls of this grant, `"anonymous"` or `"refresh_token"`.
    - `after`: how many matching calls are let through first.
    - `committed`: whether the fake does what was asked before it misbehaves, so that only the answer is lost or late.

    What befalls a call is decided when it arrives. Faults are tried in the order they were added: delays and gates add
    up, and the first that fails, hangs or drops the call ends it, so that those behind it do not see that call.

    Concurrency: everything here may be called from any thread while the fake is serving.
    """

    _faults: Faults

    def fail(
        self,
        status: int = 503,
        *,
        headers: Mapping[str, str] | None = None,
        body: BodyArgument = None,
        path: str | None = TOKEN_PATH,
        times: int | None = 1,
        grant_type: str | None = None,
        after: int = 0,
        committed: bool = False,
    ) -> Fault:
        """Answers this instead.

        A `body` that is a dict is sent as JSON, a str as HTML if it begins with `<` and else as text, bytes as they
        are, an iterable of bytes without a length, and None is no content at all.
        """
        return self._faults.add(
            Fault(
                action=Fail(made_up(status, headers, body)),
                path=path,
                times=times,
                grant_type=grant_type,
                after=after,
                committed=committed,
            )
        )

    def delay(
        self,
        seconds: float,
        *,
        path: str | None = TOKEN_PATH,
        times: int | None = 1,
        grant_type: str | None = None,
        after: int = 0,
        committed: bool = False,
    ) -> Fault:
        """Answers so many seconds of real time late."""
        return self._faults.add(
            Fault(
                action=Delay(seconds), path=path, times=times, grant_type=grant_type, after=after, committed=committed
            )
        )

    def hang(
        self,
        *,
        path: str | None = TOKEN_PATH,
        times: int | None = 1,
        grant_type: str | None = None,
        after: int = 0,
        committed: bool = False,
    ) -> Fault:
        """Never answers; the call ends when the client goes away or the server stops."""
        return self._faults.add(
            Fault(action=Hang(), path=path, times=times, grant_type=grant_type, after=after, committed=committed)
        )

    def drop(
        self,
        *,
        committed: bool = False,
        path: str | None = TOKEN_PATH,
        times: int | None = 1,
        grant_type: str | None = None,
        after: int = 0,
    ) -> Fault:
        """Closes the connection without an answer."""
        return self._faults.add(
            Fault(action=Drop(), path=path, times=times, grant_type=grant_type, after=after, committed=committed)
        )

    def hold(
        self,
        *,
        path: str | None = TOKEN_PATH,
        times: int | None = None,
        grant_type: str | None = None,
        after: int = 0,
        committed: bool = False,
    ) -> Gate:
        """Holds the calls at a gate until the test releases it."""
        gate = Gate()
        self._faults.add(
            Fault(action=Hold(gate), path=path, times=times, grant_type=grant_type, after=after, committed=committed)
        )
        return gate

    def truncate(
        self,
        after_bytes: int,
        *,
        path: str | None = TOKEN_PATH,
        times: int | None = 1,
        grant_type: str | None = None,
        after: int = 0,
    ) -> Fault:
        """Sends this much of the body, then closes the connection; the Content-Length promised more."""
        return self._faults.add(
            Fault(action=Truncate(after_bytes), path=path, times=times, grant_type=grant_type, after=after)
        )

    def add_header(
        self,
        name: str,
        value: str,
        *,
        path: str | None = None,
        times: int | None = None,
        grant_type: str | None = None,
        after: int = 0,
    ) -> Fault:
        """Puts a header on answers, those of `fail` included; `X-Wix-Consistent` for instance."""
        return self._faults.add(
            Fault(action=AddHeader((name, value)), path=path, times=times, grant_type=grant_type, after=after)
        )

    def set_cookie(
        self,
        cookie: str,
        *,
        path: str | None = None,
        times: int | None = None,
        grant_type: str | None = None,
        after: int = 0,
    ) -> Fault:
        """Puts a Set-Cookie header on answers; `cookie` is its whole value, `"name=value; Path=/"`."""
        return self.add_header("set-cookie", cookie, path=path, times=times, grant_type=grant_type, after=after)
