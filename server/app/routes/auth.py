"""Accounts: register, log in, refresh, who am I."""

from typing import Annotated

from fastapi import APIRouter, Form, Response
from pydantic import StringConstraints

from app.core.errors import Invalid
from app.core.requests import PREFIX
from app.dependencies import Access, Auth, Caller, FromWhere, OidcLogin, Throttle
from app.routes.idempotent import CreatingRoute
from app.routes.responses import problems
from app.schemas.auth import Register, SocketTicket, StreamToken, TokenPair, UserRead
from app.schemas.base import Text
from app.services.auth import UnsupportedGrant

router = APIRouter(prefix=PREFIX + "/auth", tags=["auth"], route_class=CreatingRoute)

Field = Annotated[Text | None, StringConstraints(max_length=1_000), Form()]


# nosemgrep: a-route-declares-its-permission - who registers is nobody yet
@router.post("/register", status_code=201, responses=problems(403, 409, 422))
async def register(request: Register, auth: Auth) -> UserRead:
    """Make an account with a personal workspace. Closed unless the server listens on loopback or says otherwise."""
    return await auth.register(request)


# nosemgrep: a-route-declares-its-permission - who logs in shows a password or a refresh token
@router.post("/token", responses=problems(401, 422, 429))
async def token(
    response: Response,
    auth: Auth,
    visit: FromWhere,
    throttle: Throttle,
    oidc: OidcLogin,
    grant_type: Field = None,
    username: Field = None,
    password: Field = None,
    refresh_token: Field = None,
    scope: Field = None,
    totp: Field = None,
    code: Field = None,
    code_verifier: Field = None,
) -> TokenPair:
    """Log in (`grant_type=password`) or trade a refresh token (`grant_type=refresh_token`) (RFC 6749).

    `totp` is a code of the second factor or a recovery code; 401 `totp_required` asks for it. `scope` narrows the
    session: names of `x-permission`, separated by blanks. `grant_type=authorization_code` trades the `code` that a
    login at an issuer of identities returned with.
    """
    response.headers["Cache-Control"] = "no-store"
    address = visit.address or ""
    if grant_type == "password":
        if not username or not password:
            raise Invalid("grant_type=password needs username and password")
        async with throttle.attempting(username, address):
            return await auth.login(username, password, scope=scope or "", totp=totp, visit=visit)
    if grant_type == "refresh_token":
        if not refresh_token:
            raise Invalid("grant_type=refresh_token needs refresh_token")
        # Not throttled: nobody guesses 192 sealed bits, and who is at one address must not end each other's sessions.
        return await auth.refresh(refresh_token, scope=scope or "", visit=visit)
    if grant_type == "authorization_code":
        if not code or not code_verifier:
            raise Invalid("grant_type=authorization_code needs code and code_verifier")
        return await oidc.redeem(code, code_verifier, visit)
    raise UnsupportedGrant("grant_type must be password, refresh_token or authorization_code")


@router.post("/logout", status_code=204, responses=problems(401, 409))
async def log_out(user: Caller, auth: Auth) -> None:
    """End the session: its access token, refresh token, streams and sockets."""
    await auth.log_out(user)


@router.post("/ws-ticket", status_code=201, responses=problems(401))
async def create_socket_ticket(response: Response, user: Caller, access: Access) -> SocketTicket:
    """A ticket for one WebSocket (`GET /ws?ticket=`), good once and for 30 seconds."""
    response.headers["Cache-Control"] = "no-store"
    return await access.issue_ticket(user)


@router.post("/stream-token", status_code=201, responses=problems(401))
async def create_stream_token(response: Response, user: Caller, access: Access) -> StreamToken:
    """A token that opens live streams and nothing else (`?stream_token=`), for clients that cannot set headers."""
    response.headers["Cache-Control"] = "no-store"
    return access.issue_token(user)


@router.get("/me", responses=problems(401))
async def read_me(user: Caller) -> UserRead:
    """The caller, with the workspaces they belong to."""
    return user.read()
