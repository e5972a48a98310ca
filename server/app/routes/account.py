"""The caller's own account: name, address, password; and a new password for who forgot theirs."""

from fastapi import APIRouter

from app.core.requests import PREFIX
from app.dependencies import ManagesAccount, Passwords, Profiles
from app.routes.idempotent import CreatingRoute
from app.routes.responses import problems
from app.schemas.auth import (
    PasswordChange,
    PasswordReset,
    PasswordResetRequest,
    PasswordResetRequested,
    ProfileUpdate,
    UserRead,
)

router = APIRouter(prefix=PREFIX + "/auth", tags=["auth"], route_class=CreatingRoute)


@router.patch("/me", responses=problems(401, 403, 409, 422))
async def update_me(request: ProfileUpdate, user: ManagesAccount, profiles: Profiles) -> UserRead:
    """Change the name or, with the present password, the address."""
    return await profiles.update(user, request)


@router.post("/password", status_code=204, responses=problems(401, 403, 422))
async def change_password(request: PasswordChange, user: ManagesAccount, passwords: Passwords) -> None:
    """Set a new password. Every other session of the account ends, with its tokens, streams and sockets."""
    await passwords.change(user, request.password, request.new_password)


# nosemgrep: a-route-declares-its-permission - who forgot the password cannot log in
@router.post("/password-reset", status_code=202, responses=problems(422))
async def request_password_reset(request: PasswordResetRequest, passwords: Passwords) -> PasswordResetRequested:
    """Ask for a mail with a token to set a new password. The answer is the same whether there is such an account."""
    passwords.request_reset(request.email)
    return PasswordResetRequested()


# nosemgrep: a-route-declares-its-permission - the token says who
@router.post("/password-reset/confirm", status_code=204, responses=problems(422))
async def reset_password(request: PasswordReset, passwords: Passwords) -> None:
    """Set a new password by the token of a mail, good once and for 30 minutes. Every session of the account ends.

    A second factor stays.
    """
    await passwords.reset(request.token, request.new_password)
