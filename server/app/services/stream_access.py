"""What opens a live stream where no header can be set: tickets for WebSockets, tokens for addresses of streams."""

import secrets

from app.core.access_tokens import STREAM, AccessClaims, TokenSigner
from app.core.errors import Unauthenticated
from app.core.security import digest_of
from app.schemas.auth import SocketTicket, StreamToken
from app.services.callers import Callers, CurrentUser
from app.services.unit_of_work import UnitOfWorkFactory

TICKET_SECONDS = 30


class InvalidTicket(Unauthenticated):
    """The ticket is unknown, used or too old."""

    code = "invalid_ticket"


class StreamAccess:
    """Both belong to the session or API key that asked for them, and end with it."""

    def __init__(self, uow: UnitOfWorkFactory, signer: TokenSigner, callers: Callers) -> None:
        self._uow = uow
        self._signer = signer
        self._callers = callers

    async def issue_ticket(self, user: CurrentUser) -> SocketTicket:
        """A ticket for one WebSocket. Only its hash is kept."""
        ticket = secrets.token_urlsafe(32)
        async with self._uow() as work:
            await work.accounts.add_ticket(user.user.id, user.credential_id, digest_of(ticket), TICKET_SECONDS)
        return SocketTicket(ticket=ticket, expires_in=TICKET_SECONDS)

    async def redeem_ticket(self, ticket: str) -> CurrentUser:
        """Who was given the ticket, which is used up with this; raise `InvalidTicket`."""
        async with self._uow() as work:
            found = await work.accounts.take_ticket(digest_of(ticket))
        if found is None:
            raise InvalidTicket("the ticket is not valid: it is good once, and for seconds only; ask for a new one")
        return await self._callers.recognise(*found)

    def issue_token(self, user: CurrentUser) -> StreamToken:
        """A token that opens streams and nothing else, good as long as an access token.

        It may be used again while it is good, since an `EventSource` reconnects with the address it has.
        """
        claims = AccessClaims(user.user.id, user.credential_id, "")
        return StreamToken(token=self._signer.issue(claims, kind=STREAM), expires_in=self._signer.lifetime_seconds)

    async def identify(self, stream_token: str) -> CurrentUser:
        """Who the token belongs to; raise `Unauthenticated` if it or its session is over."""
        claims = await self._signer.read(stream_token, STREAM)
        return await self._callers.recognise(claims.session_id, claims.user_id)
