"""The part of ``FakeWix`` that decides over visitors and their tokens."""

from threading import RLock

from wixvisitor.testing._settings import RefusalShape, RefusalStyle, Settings
from wixvisitor.testing._visitors import IssuedToken, TokenResponse, Visitor, Visitors, new_id


class VisitorControls:
    """Hands out tokens without a call, and takes them back.

    Concurrency: everything here may be called from any thread while the fake is serving.
    """

    _lock: RLock
    _settings: Settings
    _visitors: Visitors

    @property
    def visitors(self) -> dict[str, Visitor]:
        """Every visitor so far, by id."""
        with self._lock:
            return dict(self._visitors.by_id)

    def mint_visitor(self, client_id: str) -> TokenResponse:
        """The token response of a new visitor, without a call to the token endpoint."""
        with self._lock:
            return self._visitors.mint(client_id)[1]

    def mint_member(
        self, client_id: str, member_id: str | None = None, *, visitor_id: str | None = None
    ) -> TokenResponse:
        """The token response of a member who has just logged in.

        Without ``member_id`` it is a new member. ``visitor_id`` is the visitor who logs in and keeps the cart; None is
        a new one.

        Raises:
            KeyError: There is no such visitor.

        """
        with self._lock:
            visitor = self._visitors.create(client_id) if visitor_id is None else self._visitors.by_id[visitor_id]
            visitor.member_id = member_id or new_id()
            return self._visitors.issue(visitor, visitor.member_id)

    def revoke_access_token(self, value: str) -> None:
        """The API answers 401 to this token from now on."""
        with self._lock:
            token = self._visitors.access_tokens.get(value)
            if token is not None:
                token.revoked = True

    def revoke_access_tokens(self, visitor_id: str) -> None:
        """The API answers 401 to every token this visitor has now; a new one works."""
        with self._lock:
            for token in self._of(visitor_id, self._visitors.access_tokens):
                token.revoked = True

    def refuse_refresh_token(self, value: str, *, shape: RefusalShape | None = None, status: int | None = None) -> None:
        """The token endpoint refuses this refresh token from now on; one it never issued it refuses anyway.

        ``shape`` and ``status`` are those of the answer; None is the setting ``refusal_shape`` or ``refusal_status``.
        """
        with self._lock:
            token = self._visitors.refresh_tokens.get(value)
            if token is not None:
                token.refusal = self._style(shape, status)

    def refuse_refresh_tokens(
        self, visitor_id: str, *, shape: RefusalShape | None = None, status: int | None = None
    ) -> None:
        """The token endpoint refuses every refresh token this visitor has now.

        ``shape`` and ``status`` are those of the answer; None is the setting ``refusal_shape`` or ``refusal_status``.
        """
        with self._lock:
            for token in self._of(visitor_id, self._visitors.refresh_tokens):
                token.refusal = self._style(shape, status)

    def _style(self, shape: RefusalShape | None, status: int | None) -> RefusalStyle:
        usual = self._settings.refusal
        return RefusalStyle(shape=shape or usual.shape, status=status or usual.status)

    @staticmethod
    def _of(visitor_id: str, tokens: dict[str, IssuedToken]) -> list[IssuedToken]:
        return [token for token in tokens.values() if token.visitor.id == visitor_id]
