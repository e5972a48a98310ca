"""What routes are given: services, the caller, and the permissions they ask for."""

from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.security.utils import get_authorization_scheme_param
from pydantic import TypeAdapter, ValidationError
from starlette.requests import HTTPConnection

from app.config import Settings
from app.core.errors import Invalid, Unauthenticated
from app.core.key_ring import KeyRing
from app.core.visits import Visit
from app.domain.permissions import Permission, Role
from app.schemas.base import Text
from app.services.administration import AdministrationService
from app.services.agents import AgentService
from app.services.api_keys import ApiKeyService
from app.services.audit import AuditService
from app.services.auth import AuthService
from app.services.callers import Actor, Callers, CurrentUser
from app.services.chat import ChatService
from app.services.discussion_diff import DiscussionDiffs
from app.services.discussion_floor import DiscussionFloor
from app.services.discussion_forks import DiscussionForks
from app.services.discussion_lifecycle import DiscussionLifecycle
from app.services.discussion_seats import DiscussionSeats
from app.services.discussions import DiscussionService
from app.services.downloads import Downloads
from app.services.embeddings import EmbeddingService
from app.services.health import HealthService
from app.services.idempotency import Idempotency
from app.services.kept_answers import KeptAnswers
from app.services.knowledge.bases import KnowledgeService
from app.services.knowledge.documents import DocumentService
from app.services.knowledge.extractions import ExtractionService
from app.services.knowledge.passages import PassageService
from app.services.live.hub import Hub
from app.services.live.notices import Notices
from app.services.live.streams import OpenStreams
from app.services.login_throttle import LoginThrottle
from app.services.members import MemberService
from app.services.memory.memories import MemoryService
from app.services.message_pages import MessagePages
from app.services.messages import MessageService
from app.services.model_listing import ModelListing
from app.services.model_providers import ModelProviders
from app.services.oidc_login import OidcLogins
from app.services.passwords import PasswordService
from app.services.profiles import ProfileService
from app.services.provider_trials import ProviderTrials
from app.services.request_limits import RequestLimits
from app.services.second_factor import SecondFactors
from app.services.sessions import SessionService
from app.services.stream_access import StreamAccess
from app.services.tools.tool_servers import ToolServers
from app.services.transcripts import TranscriptService
from app.services.usage import UsageService
from app.services.viewings import Viewings
from app.services.workspaces import WorkspaceService


@dataclass(frozen=True, slots=True)
class Services:
    """The API process's services, made once in `main`."""

    settings: Settings
    auth: AuthService
    profiles: ProfileService
    passwords: PasswordService
    sessions: SessionService
    second_factors: SecondFactors
    callers: Callers
    api_keys: ApiKeyService
    workspaces: WorkspaceService
    members: MemberService
    administration: AdministrationService
    audit: AuditService
    downloads: Downloads
    request_limits: RequestLimits
    throttle: LoginThrottle
    oidc: OidcLogins
    signing_keys: KeyRing
    agents: AgentService
    discussions: DiscussionService
    lifecycle: DiscussionLifecycle
    seats: DiscussionSeats
    forks: DiscussionForks
    diffs: DiscussionDiffs
    floor: DiscussionFloor
    messages: MessageService
    pages: MessagePages
    transcripts: TranscriptService
    knowledge: KnowledgeService
    passages: PassageService
    memories: MemoryService
    documents: DocumentService
    extractions: ExtractionService
    providers: ModelProviders
    tool_servers: ToolServers
    embeddings: EmbeddingService
    model_list: ModelListing
    chats: ChatService
    trials: ProviderTrials
    usage: UsageService
    viewings: Viewings
    stream_access: StreamAccess
    streams: OpenStreams
    hub: Hub
    notices: Notices
    health: HealthService
    idempotency: Idempotency
    kept: KeptAnswers


def services_of(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


def _service(name: str) -> Any:
    async def get(connection: HTTPConnection) -> Any:
        return getattr(services_of(connection), name)

    return Depends(get)


async def get_settings(connection: HTTPConnection) -> Settings:
    return services_of(connection).settings


ServerConfig = Annotated[Settings, Depends(get_settings)]
Auth = Annotated[AuthService, _service("auth")]
Profiles = Annotated[ProfileService, _service("profiles")]
Passwords = Annotated[PasswordService, _service("passwords")]
Sessions = Annotated[SessionService, _service("sessions")]
Factors = Annotated[SecondFactors, _service("second_factors")]
Throttle = Annotated[LoginThrottle, _service("throttle")]
WhoIsCalling = Annotated[Callers, _service("callers")]
OidcLogin = Annotated[OidcLogins, _service("oidc")]
ApiKeys = Annotated[ApiKeyService, _service("api_keys")]
Workspaces = Annotated[WorkspaceService, _service("workspaces")]
Members = Annotated[MemberService, _service("members")]
Administration = Annotated[AdministrationService, _service("administration")]
Sent = Annotated[Downloads, _service("downloads")]
AuditLog = Annotated[AuditService, _service("audit")]
SigningKeyRing = Annotated[KeyRing, _service("signing_keys")]
Agents = Annotated[AgentService, _service("agents")]
Discussions = Annotated[DiscussionService, _service("discussions")]
Lifecycle = Annotated[DiscussionLifecycle, _service("lifecycle")]
Seats = Annotated[DiscussionSeats, _service("seats")]
Forks = Annotated[DiscussionForks, _service("forks")]
Diffs = Annotated[DiscussionDiffs, _service("diffs")]
Floor = Annotated[DiscussionFloor, _service("floor")]
Messages = Annotated[MessageService, _service("messages")]
Transcripts = Annotated[TranscriptService, _service("transcripts")]
Search = Annotated[PassageService, _service("passages")]
Knowledge = Annotated[KnowledgeService, _service("knowledge")]
Memories = Annotated[MemoryService, _service("memories")]
Documents = Annotated[DocumentService, _service("documents")]
ToolServerService = Annotated[ToolServers, _service("tool_servers")]
Extractions = Annotated[ExtractionService, _service("extractions")]
Providers = Annotated[ModelProviders, _service("providers")]
ModelList = Annotated[ModelListing, _service("model_list")]
Chat = Annotated[ChatService, _service("chats")]
Trials = Annotated[ProviderTrials, _service("trials")]
Embeddings = Annotated[EmbeddingService, _service("embeddings")]
DailyUsage = Annotated[UsageService, _service("usage")]
Admission = Annotated[Viewings, _service("viewings")]
Access = Annotated[StreamAccess, _service("stream_access")]
Streams = Annotated[OpenStreams, _service("streams")]
StatusNotices = Annotated[Notices, _service("notices")]
Live = Annotated[Hub, _service("hub")]
Health = Annotated[HealthService, _service("health")]
Kept = Annotated[KeptAnswers, _service("kept")]

_ID = TypeAdapter(UUID)
WorkspaceHeader = Annotated[UUID | None, Header(description="default: the personal workspace")]
StreamTokenParameter = Annotated[
    Text | None,
    Query(max_length=1_000, description="Of `POST /auth/stream-token`, for clients that cannot set headers."),
]


def bearer_of(connection: HTTPConnection) -> str | None:
    """The token of the `Authorization` header."""
    scheme, token = get_authorization_scheme_param(connection.headers.get("Authorization"))
    return token if scheme.lower() == "bearer" and token else None


class BadWorkspaceHeader(Invalid):
    """`X-Workspace-ID` holds no id."""

    where = ("header", "x-workspace-id")


def workspace_of(connection: HTTPConnection) -> UUID | None:
    """The workspace that the header names; None: the personal one. Raise `BadWorkspaceHeader`."""
    given = connection.headers.get("X-Workspace-ID")
    if given is None:
        return None
    try:
        return _ID.validate_strings(given)
    except ValidationError:
        raise BadWorkspaceHeader("X-Workspace-ID must be an id") from None


async def get_current_user(connection: HTTPConnection) -> CurrentUser:
    token = bearer_of(connection)
    if token is None:
        raise Unauthenticated("an access token is needed: `Authorization: Bearer …`")
    return await services_of(connection).callers.identify(token)


class Declared:
    """A dependency that lets in only who has the permission; the OpenAPI document shows it.

    Every route has one, or is listed as open to everybody: a test walks them all.
    """

    def __init__(self, permission: Permission | None) -> None:
        """`permission` None: whoever is known."""
        self.permission = permission

    def check(self, caller: Actor | CurrentUser) -> None:
        """Raise `Forbidden` unless the caller has the permission."""
        if self.permission is not None:
            caller.require(self.permission)

    takes_nobody = False
    """Whether it also lets in who shows no credential, which the service then looks at."""

    async def caller_of(self, request: Request, user: CurrentUser) -> Actor | CurrentUser:
        """Who would be asked for the permission by this request; raise `NotFound` or `Invalid` as the route would."""
        return user


class Require(Declared):
    """Gives the caller in the workspace that the request is about, if they may.

    `of_others` is what the service asks for besides where the thing is somebody else's. All is in one dependency that
    reads headers itself: each further dependency or parameter costs a request as much as its authentication does.
    """

    def __init__(self, permission: Permission, *, of_others: Permission | None = None) -> None:
        super().__init__(permission)
        self.of_others = of_others

    async def caller_of(self, request: Request, user: CurrentUser) -> Actor | CurrentUser:
        return await services_of(request).callers.in_workspace(user, workspace_of(request))

    async def __call__(self, connection: HTTPConnection) -> Actor:
        user = await get_current_user(connection)
        actor = await services_of(connection).callers.in_workspace(user, workspace_of(connection))
        self.check(actor)
        return actor


def declared_by(dependant: Dependant) -> Declared | None:
    """What a route asks for; None: it is open to everybody."""
    for needed in dependant.dependencies:
        if isinstance(needed.call, Declared):
            return needed.call
        found = declared_by(needed)
        if found is not None:
            return found
    return None


class RequireIn(Declared):
    """Gives the caller in the workspace of the address, whatever the header says, if they may."""

    async def caller_of(self, request: Request, user: CurrentUser) -> Actor | CurrentUser:
        try:
            workspace_id = UUID(request.path_params["workspace_id"])
        except ValueError:
            raise Invalid("this is no id") from None
        return await services_of(request).callers.in_workspace(user, workspace_id)

    async def __call__(
        self, workspace_id: UUID, user: Annotated[CurrentUser, Depends(get_current_user)], callers: WhoIsCalling
    ) -> Actor:
        actor = await callers.in_workspace(user, workspace_id)
        self.check(actor)
        return actor


class RequireInUnlessOneself(Declared):
    """The same, but asks whoever the address names for no role: only that the credential is not too narrow."""

    async def __call__(
        self,
        workspace_id: UUID,
        user_id: UUID,
        user: Annotated[CurrentUser, Depends(get_current_user)],
        callers: WhoIsCalling,
    ) -> Actor:
        actor = await callers.in_workspace(user, workspace_id)
        # An owner's role allows whatever there is to ask for, so that only the scopes count.
        self.check(replace(actor, role=Role.OWNER) if user_id == actor.user_id else actor)
        return actor


class RequireCaller(Declared):
    """Gives the caller, whoever it is and however narrow the credential."""

    def __init__(self) -> None:
        super().__init__(None)

    async def __call__(self, user: Annotated[CurrentUser, Depends(get_current_user)]) -> CurrentUser:
        return user


class RequireOfAccount(Declared):
    """Gives the caller, if they may do what belongs to no workspace, or to any of theirs."""

    async def __call__(self, user: Annotated[CurrentUser, Depends(get_current_user)]) -> CurrentUser:
        self.check(user)
        return user


class RequireToSpeak(Declared):
    """Gives who speaks; None where a turn token, which the service checks, is all that is shown."""

    takes_nobody = True

    async def caller_of(self, request: Request, user: CurrentUser) -> Actor | CurrentUser:
        return await services_of(request).callers.in_workspace(user, workspace_of(request))

    async def __call__(
        self,
        request: Request,
        callers: WhoIsCalling,
        x_workspace_id: WorkspaceHeader = None,
    ) -> Actor | None:
        if "authorization" not in request.headers and await _shows_turn_token(request):
            return None
        actor = await callers.in_workspace(await get_current_user(request), x_workspace_id)
        self.check(actor)
        return actor


async def _shows_turn_token(request: Request) -> bool:
    # The framework has read the body before. One that is not declared as JSON it has not parsed, and it will refuse it.
    try:
        document = await request.json()
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("turn_token"), str)


Caller = Annotated[CurrentUser, Depends(RequireCaller())]
ManagesAccount = Annotated[CurrentUser, Depends(RequireOfAccount(Permission.ACCOUNT_MANAGE))]
MaySpeak = Annotated[Actor | None, Depends(RequireToSpeak(Permission.DISCUSSIONS_WRITE))]
ReadsAgents = Annotated[Actor, Depends(Require(Permission.AGENTS_READ))]
WritesAgents = Annotated[Actor, Depends(Require(Permission.AGENTS_WRITE))]
UsesModels = Annotated[Actor, Depends(Require(Permission.MODELS_USE))]
ReadsDiscussions = Annotated[Actor, Depends(Require(Permission.DISCUSSIONS_READ))]
WritesDiscussions = Annotated[Actor, Depends(Require(Permission.DISCUSSIONS_WRITE))]
ControlsDiscussions = Annotated[
    Actor, Depends(Require(Permission.DISCUSSIONS_WRITE, of_others=Permission.DISCUSSIONS_CONTROL))
]
ReadsKnowledge = Annotated[Actor, Depends(Require(Permission.KNOWLEDGE_READ))]
WritesKnowledge = Annotated[Actor, Depends(Require(Permission.KNOWLEDGE_WRITE))]
ManagesProviders = Annotated[Actor, Depends(Require(Permission.PROVIDERS_MANAGE))]
ListsWorkspaces = Annotated[CurrentUser, Depends(RequireOfAccount(Permission.WORKSPACE_READ))]
CreatesWorkspaces = Annotated[CurrentUser, Depends(RequireOfAccount(Permission.WORKSPACES_CREATE))]
ReadsWorkspace = Annotated[Actor, Depends(RequireIn(Permission.WORKSPACE_READ))]
ManagesWorkspace = Annotated[Actor, Depends(RequireIn(Permission.WORKSPACE_MANAGE))]
ManagesOrLeaves = Annotated[Actor, Depends(RequireInUnlessOneself(Permission.WORKSPACE_MANAGE))]
DeletesWorkspace = Annotated[Actor, Depends(RequireIn(Permission.WORKSPACE_DELETE))]
ReadsAudit = Annotated[Actor, Depends(RequireIn(Permission.AUDIT_READ))]
Administers = Annotated[CurrentUser, Depends(RequireOfAccount(Permission.INSTALLATION_MANAGE))]


async def get_visit(request: Request) -> Visit:
    return Visit.of(request.headers.get("user-agent"), request.client.host if request.client else None)


FromWhere = Annotated[Visit, Depends(get_visit)]

Limit = Annotated[int, Query(ge=1, le=200, description="Items a page.")]
Cursor = Annotated[Text | None, Query(max_length=200, description="`next_cursor` of the page before.")]
SearchText = Annotated[Text | None, Query(max_length=200, description="Looked for as it is, in whatever case.")]


class BadETag(Invalid):
    """`If-Match` holds no ETag of ours."""

    code = "bad_etag"
    where = ("header", "if-match")


async def get_expected_version(if_match: Annotated[str | None, Header()] = None) -> int | None:
    """The version an `If-Match` header names; None without one or for `*`."""
    if if_match is None or if_match.strip() == "*":
        return None
    version = if_match.strip().removeprefix("W/").strip('"').partition("-")[0]
    if not version.isascii() or not version.isdigit() or len(version) > 9:
        raise BadETag("If-Match must be an ETag that this API gave")
    return int(version)


ExpectedVersion = Annotated[int | None, Depends(get_expected_version)]
IfNoneMatch = Annotated[str | None, Header()]
