"""Rate limits on every request under the API, openings of sockets included, and a slower pace for what can be guessed.

Which limits there are is in `services/request_limits.py`. Answers tell of them in `RateLimit-Policy` and `RateLimit`
(draft-ietf-httpapi-ratelimit-headers-10): all that applies, and what is left of the one that is nearest.
"""

from uuid import UUID

from fastapi.security.utils import get_authorization_scheme_param
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.background import Errands
from app.core.error_handlers import problem, retry_after
from app.core.errors import ArenaError
from app.core.monitoring import ADDED_HEADERS, ON_BEGIN
from app.core.rate_limit import Limit, Verdict
from app.core.requests import RateClass, rate_class
from app.dependencies import Services
from app.services.callers import CurrentUser
from app.services.login_throttle import Guess, TooManyAttempts
from app.services.request_limits import refusal_of

GUESSED = {
    ("POST", "/api/v1/auth/password-reset"): "reset",
    ("POST", "/api/v1/auth/password-reset/confirm"): "reset-token",
    ("POST", "/api/v1/auth/totp/confirm"): "totp",
    ("POST", "/api/v1/auth/totp/disable"): "second-factor",
    ("POST", "/api/v1/auth/recovery-codes"): "second-factor",
}
"""Where a wrong guess is told by the status; a reset is counted whatever comes of it, or it would tell who is here.

Passwords are counted where they are compared (`services/password_proofs.py`). Codes have counts of their own, which
nobody can clear who knows the password alone.
"""
_COUNTED_ANYWAY = {"reset"}


class RateLimits:
    """Pure ASGI, inside the admission of requests: who asks is looked up here, which the route then need not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._errands = Errands()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = rate_class(scope.get("method", "GET"), scope["path"]) if scope["type"] != "lifespan" else None
        if kind is None:
            await self._app(scope, receive, send)
            return
        services: Services = scope["app"].state.services
        limits = [services.request_limits.of_address(kind, _address_of(scope))]
        # Whose address has asked too much gets no token looked up either.
        verdict = services.request_limits.recall(limits[0])
        if verdict is None:
            limits += await self._of_caller(kind, scope, services)
            verdict = await services.request_limits.hit(limits)
        if verdict is not None and scope["type"] == "http":
            _tell(scope, limits, verdict)
        try:
            if verdict is not None and not verdict.may:
                await _refusal(verdict)(scope, receive, send)
                return
            if what := GUESSED.get((scope.get("method", ""), scope["path"])):
                await self._watch(what, scope, services)
        except TooManyAttempts as error:
            answer = problem(429, error.code, error.detail, headers=retry_after(error.retry_after_seconds))
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _of_caller(self, kind: RateClass, scope: Scope, services: Services) -> list[Limit]:
        token, workspace = _shown(scope)
        caller = await _find_caller(services, token) if token else None
        if caller is None:
            return []
        try:
            workspace_id = UUID(workspace) if workspace else None
        except ValueError:
            workspace_id = UUID(int=0)  # no workspace's; that it is no id is for the route to say
        return services.request_limits.of_caller(kind, caller, workspace_id)

    async def _watch(self, what: str, scope: Scope, services: Services) -> None:
        """Count it as a wrong guess, until its answer says that it was none."""
        address = _address_of(scope)
        token, _workspace = _shown(scope)
        caller = await _find_caller(services, token) if token else None
        guess: Guess = await services.throttle.begin(what, address, caller.user.id.hex if caller else "")

        def judge(beginning: Message) -> None:
            if beginning["status"] < 400 and what not in _COUNTED_ANYWAY:
                self._errands.begin(guess.was_right())

        scope[ON_BEGIN].append(judge)


def _shown(scope: Scope) -> tuple[str | None, str | None]:
    """The bearer token and the workspace that the headers name; of several, the first, as routes read them."""
    headers = Headers(scope=scope)
    scheme, token = get_authorization_scheme_param(headers.get("authorization"))
    return token if scheme.lower() == "bearer" else None, headers.get("x-workspace-id")


async def _find_caller(services: Services, token: str) -> CurrentUser | None:
    """Who it is; what is wrong with a token is for the route to say."""
    try:
        return await services.callers.identify(token)
    except ArenaError:
        return None


def _address_of(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else "local"


def _tell(scope: Scope, limits: list[Limit], verdict: Verdict) -> None:
    policies = ", ".join(limit.policy for limit in limits)
    scope[ADDED_HEADERS] += [
        (b"ratelimit-policy", policies.encode()),
        (b"ratelimit", verdict.state.encode()),
    ]


def _refusal(verdict: Verdict) -> ASGIApp:
    return problem(429, "rate_limited", refusal_of(verdict), headers=retry_after(verdict.reset_seconds))
