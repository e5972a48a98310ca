"""Login at an issuer of identities (OpenID Connect), and the links of an account to it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import StringConstraints
from starlette.responses import Response

from app.core.requests import PREFIX
from app.dependencies import FromWhere, ManagesAccount, OidcLogin
from app.routes.responses import problems
from app.schemas.auth import TokenPair
from app.schemas.base import Page, Text
from app.schemas.oidc import CHALLENGE_PATTERN, IdentityRead, OidcIssuerRead, OidcLink, OidcLinkStarted, ReturnTo
from app.services.oidc_login import LOGIN_SECONDS, Answered, Begun, OidcLogins

router = APIRouter(prefix=PREFIX + "/auth/oidc", tags=["auth"])

# What a browser takes only over TLS, for this host alone, and for no other path (RFC 6265bis, section 4.1.3.2).
SECURE_COOKIE = "__Host-arena-oidc"
LOOPBACK_COOKIE = "arena-oidc"
_PRIVATE = {"Cache-Control": "no-store"}
_SEES_OTHER: dict[int | str, dict[str, Any]] = {
    303: {"description": "See Other", "headers": {"Location": {"schema": {"type": "string"}}}}
}

Answer = Annotated[Text | None, StringConstraints(max_length=4_000), Query()]
Challenge = Annotated[
    str | None, Query(pattern=CHALLENGE_PATTERN, description="BASE64URL(SHA256(code_verifier)) (RFC 7636, `S256`).")
]


# nosemgrep: a-route-declares-its-permission - where to log in is asked before it is done
@router.get("/issuers")
async def list_issuers(logins: OidcLogin) -> Page[OidcIssuerRead]:
    """Where one can log in but here: for buttons on a login page."""
    return logins.issuers()


# nosemgrep: a-route-declares-its-permission - nobody is known yet
@router.get(
    "/login",
    status_code=303,
    response_class=Response,
    responses={**_SEES_OTHER, **problems(404, 422, 502)},
)
async def begin_login(
    request: Request,
    logins: OidcLogin,
    return_to: Annotated[ReturnTo | None, Query(description="One of `ARENA_OIDC_RETURN_URLS`.")] = None,
    code_challenge: Challenge = None,
) -> Response:
    """Send the browser to the issuer. It comes back to `return_to` with a `code`, or is answered with tokens.

    The code is traded at `POST /auth/token` (`grant_type=authorization_code`, `code`, `code_verifier`).
    """
    begun = await logins.begin(_browser_secret(request, logins), return_to, code_challenge)
    response = _go_to(begun.url)
    _remember(response, begun)
    return response


# nosemgrep: a-route-declares-its-permission - the browser's cookie and the issuer say who
@router.get(
    "/callback",
    response_model=TokenPair,
    responses={
        204: {"description": "The identity was linked"},
        **_SEES_OTHER,
        **problems(401, 403, 404, 409, 422, 502),
    },
)
async def finish_login(
    request: Request,
    logins: OidcLogin,
    visit: FromWhere,
    state: Answer = None,
    code: Answer = None,
    error: Answer = None,
    iss: Answer = None,
) -> Response:
    """Where the issuer sends the browser back to. Good once, in the browser that began the login, for ten minutes."""
    finished = await logins.finish(_browser_secret(request, logins), Answered(state, code, error, iss), visit)
    if finished.go_to is not None:
        return _go_to(finished.go_to)
    if finished.tokens is None:
        return Response(status_code=204, headers=_PRIVATE)
    return Response(finished.tokens.model_dump_json(), headers=_PRIVATE, media_type="application/json")


@router.post("/link", responses=problems(401, 403, 404, 422, 502))
async def begin_link(
    link: OidcLink, request: Request, response: Response, user: ManagesAccount, logins: OidcLogin
) -> OidcLinkStarted:
    """Begin to link an identity to the caller's account. Only the browser that asks, by its cookie, can go on.

    It takes the account's password, unless there is none: a link is a way in that outlasts the session.
    """
    begun = await logins.begin_link(user, _browser_secret(request, logins), link.return_to, link.password)
    response.headers.update(_PRIVATE)
    _remember(response, begun)
    return OidcLinkStarted(authorization_url=begun.url, expires_in=LOGIN_SECONDS)


@router.get("/link", responses=problems(401, 403))
async def list_links(user: ManagesAccount, logins: OidcLogin) -> Page[IdentityRead]:
    """Who the caller is at issuers; all on one page."""
    return await logins.list_links(user)


@router.delete("/link", status_code=204, responses=problems(401, 403, 404, 409))
async def unlink(user: ManagesAccount, logins: OidcLogin) -> None:
    """Forget who the caller is at the issuer, if there is a password to log in with."""
    await logins.unlink(user)


def _browser_secret(request: Request, logins: OidcLogins) -> str | None:
    return request.cookies.get(_cookie_name(logins.is_secure))


def _cookie_name(is_secure: bool) -> str:
    # Only the one that belongs here: over TLS, the other may have been set by a neighbour.
    return SECURE_COOKIE if is_secure else LOOPBACK_COOKIE


def _remember(response: Response, begun: Begun) -> None:
    response.set_cookie(
        _cookie_name(begun.is_secure),
        begun.browser_secret,
        max_age=LOGIN_SECONDS,
        path="/",
        secure=begun.is_secure,
        httponly=True,
        samesite="lax",
    )


def _go_to(address: str) -> Response:
    return Response(status_code=303, headers={"Location": address, **_PRIVATE})
