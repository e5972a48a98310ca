"""The caller's second factor (RFC 6238)."""

from fastapi import APIRouter, Response

from app.core.requests import PREFIX
from app.dependencies import Factors, ManagesAccount
from app.routes.idempotent import CreatingRoute
from app.routes.responses import problems
from app.schemas.auth import RecoveryCodes, SecondFactorRead, TotpBegin, TotpConfirm, TotpProof, TotpSecret

router = APIRouter(prefix=PREFIX + "/auth", tags=["auth"], route_class=CreatingRoute)


@router.get("/totp", responses=problems(401, 403))
async def read_totp(user: ManagesAccount, factors: Factors) -> SecondFactorRead:
    """Whether the caller has a second factor."""
    return await factors.read(user)


@router.post("/totp", status_code=201, responses=problems(401, 403, 409, 422))
async def begin_totp(request: TotpBegin, response: Response, user: ManagesAccount, factors: Factors) -> TotpSecret:
    """Begin a second factor: a secret for an authenticator. It counts once a code of it was confirmed."""
    response.headers["Cache-Control"] = "no-store"
    return await factors.begin(user, request.password)


@router.post("/totp/confirm", responses=problems(401, 403, 409, 422))
async def confirm_totp(
    request: TotpConfirm, response: Response, user: ManagesAccount, factors: Factors
) -> RecoveryCodes:
    """Let the second factor count from now on. The recovery codes are shown only here."""
    response.headers["Cache-Control"] = "no-store"
    return await factors.confirm(user, request.code)


@router.post("/totp/disable", status_code=204, responses=problems(401, 403, 409, 422))
async def disable_totp(request: TotpProof, user: ManagesAccount, factors: Factors) -> None:
    """Remove the second factor and its recovery codes."""
    await factors.remove(user, request.password, request.code)


@router.post("/recovery-codes", status_code=201, responses=problems(401, 403, 409, 422))
async def renew_recovery_codes(
    request: TotpProof, response: Response, user: ManagesAccount, factors: Factors
) -> RecoveryCodes:
    """New recovery codes, shown only here; the old ones are good no more."""
    response.headers["Cache-Control"] = "no-store"
    return await factors.renew_recovery_codes(user, request.password, request.code)
