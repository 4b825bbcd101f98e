"""The methods of ``FakeWix`` that create visitors and revoke their tokens."""

from threading import RLock

from wixvisitor.testing._settings import RefusalShape, RefusalStyle, Settings
from wixvisitor.testing._visitors import IssuedToken, TokenResponse, Visitor, Visitors, new_id


class VisitorControls:
    """Issues tokens without a call to the token endpoint, and revokes tokens.

    Concurrency: all methods may be called from any thread while the fake is serving.
    """

    _lock: RLock
    _settings: Settings
    _visitors: Visitors

    @property
    def visitors(self) -> dict[str, Visitor]:
        """Every visitor so far, by ID."""
        with self._lock:
            return dict(self._visitors.by_id)

    def mint_visitor(self, client_id: str) -> TokenResponse:
        """Creates a visitor without a call to the token endpoint. Returns its token response."""
        with self._lock:
            return self._visitors.mint(client_id)[1]

    def mint_member(
        self, client_id: str, member_id: str | None = None, *, visitor_id: str | None = None
    ) -> TokenResponse:
        """Logs a member in. Returns the member's token response.

        Args:
            client_id: The client ID of the tokens.
            member_id: None is a new member.
            visitor_id: The visitor who logs in, and whose cart the member gets; None is a new visitor.

        Raises:
            KeyError: There is no visitor with this ID.

        """
        with self._lock:
            visitor = self._visitors.create(client_id) if visitor_id is None else self._visitors.by_id[visitor_id]
            visitor.member_id = member_id or new_id()
            return self._visitors.issue(visitor, visitor.member_id)

    def revoke_access_token(self, value: str) -> None:
        """Makes the API reject this access token: from now on it answers 401."""
        with self._lock:
            token = self._visitors.access_tokens.get(value)
            if token is not None:
                token.revoked = True

    def revoke_access_tokens(self, visitor_id: str) -> None:
        """Makes the API reject every access token that this visitor has now. A new one works."""
        with self._lock:
            for token in self._of(visitor_id, self._visitors.access_tokens):
                token.revoked = True

    def refuse_refresh_token(self, value: str, *, shape: RefusalShape | None = None, status: int | None = None) -> None:
        """Makes the token endpoint refuse this refresh token. It always refuses one that it never issued.

        Args:
            value: The refresh token.
            shape: The shape of the answer's body; None is the setting ``refusal_shape``.
            status: The answer's status; None is the setting ``refusal_status``.

        """
        with self._lock:
            token = self._visitors.refresh_tokens.get(value)
            if token is not None:
                token.refusal = self._style(shape, status)

    def refuse_refresh_tokens(
        self, visitor_id: str, *, shape: RefusalShape | None = None, status: int | None = None
    ) -> None:
        """Makes the token endpoint refuse every refresh token that this visitor has now.

        Args:
            visitor_id: The visitor.
            shape: As for ``refuse_refresh_token``.
            status: As for ``refuse_refresh_token``.

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
