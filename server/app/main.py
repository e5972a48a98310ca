"""The API process: wiring and lifespan only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.config import ServerSettings, Settings, listed
from app.core.access_tokens import TokenSigner
from app.core.admission import Admission, Places
from app.core.background import running
from app.core.bodies import Bodies
from app.core.cache import make_cache, make_channels
from app.core.cross_origin import allow_origins
from app.core.database import make_engine
from app.core.door import Door
from app.core.entity_tags import EntityTags
from app.core.error_handlers import install_error_handlers
from app.core.failures import Failures
from app.core.guards import UnexpectedErrors
from app.core.hosts import Hosts
from app.core.key_ring import KeyRing
from app.core.mailer import make_mailer
from app.core.monitoring import RequestMonitor
from app.core.oidc import OidcClient
from app.core.oidc_issuer import way_to_issuer
from app.core.outgoing import Outgoing
from app.core.queue import make_queue
from app.core.rate_limit import RateLimiter
from app.core.requests import DOCUMENTS, PREFIX
from app.core.sealing import Sealer
from app.core.turn_tokens import TurnTokens
from app.core.webhooks import WebhookSigner
from app.dependencies import Services
from app.engines.secret_keys import find_secret_keys
from app.routes import (
    account,
    admin,
    agents,
    ai,
    api_keys,
    auth,
    discussion,
    docs,
    documents,
    extractions,
    forks,
    formats,
    health,
    knowledge,
    lifecycle,
    memories,
    messages,
    metrics,
    notifications,
    oidc,
    participants,
    providers,
    search,
    sessions,
    socket,
    stream,
    tool_servers,
    totp,
    usage,
    well_known,
    workspaces,
)
from app.routes.openapi import install_openapi
from app.routes.rate_limits import RateLimits
from app.routes.repeated import RepeatedReads
from app.services.administration import AdministrationService
from app.services.agents import AgentService
from app.services.ai_models import make_catalog
from app.services.answer_cache import AnswerCache
from app.services.api_keys import ApiKeyService
from app.services.assistant_model import Assistants
from app.services.audit import AuditService
from app.services.auth import AuthService
from app.services.callers import Callers
from app.services.chat import ChatService
from app.services.discussion_diff import DiscussionDiffs
from app.services.discussion_floor import DiscussionFloor
from app.services.discussion_forks import DiscussionForks
from app.services.discussion_lifecycle import DiscussionLifecycle
from app.services.discussion_seats import DiscussionSeats
from app.services.discussions import DiscussionService
from app.services.downloads import Downloads
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.embeddings import EmbeddingService
from app.services.health import HealthService
from app.services.idempotency import Idempotency
from app.services.interrupted_turns import InterruptedTurns
from app.services.kept_answers import KeptAnswers, ResourceStamps
from app.services.knowledge.bases import KnowledgeService
from app.services.knowledge.documents import DocumentService
from app.services.knowledge.extractions import ExtractionService
from app.services.knowledge.originals import make_originals
from app.services.knowledge.passages import PassageService
from app.services.knowledge.reranking import Reranking
from app.services.knowledge.search import KnowledgeSearch
from app.services.last_seen import LastSeen
from app.services.live.bus import LiveBus
from app.services.live.hub import Hub
from app.services.live.notices import Notices
from app.services.live.streams import OpenStreams
from app.services.log_ends import LogEnds
from app.services.log_reader import UnitOfWorkLogReader, UnitOfWorkRightsReader, UnitOfWorkStatusReader
from app.services.login_throttle import LoginThrottle
from app.services.members import MemberService
from app.services.memory.memories import MemoryService
from app.services.message_pages import MessagePages
from app.services.messages import MessageService
from app.services.model_listing import ModelListing
from app.services.model_providers import ModelProviders
from app.services.oidc_login import OidcLogins
from app.services.password_proofs import PasswordProofs
from app.services.passwords import PasswordService
from app.services.profiles import ProfileService
from app.services.provider_trials import ProviderTrials
from app.services.request_limits import RequestLimits
from app.services.second_factor import SecondFactors
from app.services.sessions import SessionService
from app.services.side_calls import SideCalls
from app.services.signing_keys import SigningKeys
from app.services.stream_access import StreamAccess
from app.services.tools.tool_servers import ToolServers
from app.services.transcripts import TranscriptService
from app.services.unit_of_work import UnitOfWorkFactory
from app.services.usage import UsageService
from app.services.vector_stores import make_vector_store
from app.services.viewings import Viewings
from app.services.workspaces import WorkspaceService


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application; nothing connects before its lifespan starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _services(settings) as services, running(lag=app.state.places.watch_the_loop):
            app.state.services = services
            yield

    app = FastAPIOffline(
        title="Discussion Arena",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # `routes/docs.py`
        redoc_url=None,
        redirect_slashes=False,
        openapi_url=f"{PREFIX}/openapi.json",
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it would tell addresses, and so tokens
    )
    limits = settings.server
    # Routes are tried one after the other: those first that are asked for most.
    discussions = (messages, stream, discussion, lifecycle, participants, forks, formats)
    accounts = (auth, account, sessions, totp, api_keys, oidc, workspaces, admin)
    others = (
        notifications,
        socket,
        agents,
        memories,
        knowledge,
        documents,
        extractions,
        search,
        usage,
        ai,
        providers,
        tool_servers,
        docs,
        well_known,
    )
    for module in (*discussions, health, metrics, *accounts, *others):
        app.router.routes += module.router.routes  # FastAPI asks those of routers that it includes twice
    install_error_handlers(app)
    install_openapi(app)
    app.state.door = door_of(limits)
    _install_guards(app, settings)
    return app


def _install_guards(app: FastAPI, settings: Settings) -> None:
    """The layers around the routes. The last one added is the outermost."""
    limits = settings.server
    app.add_middleware(RepeatedReads)
    app.add_middleware(EntityTags)
    if limits.rate_limits == "on":
        app.add_middleware(RateLimits)
    places = app.state.places = Places(settings.database.database_pool_size, limits.max_waiting)
    app.add_middleware(Admission, places=places)
    app.add_middleware(
        Bodies,
        default_bytes=limits.max_body_bytes,
        larger=[(DOCUMENTS, limits.max_document_bytes)],
        max_depth=limits.max_json_depth,
    )
    app.add_middleware(UnexpectedErrors)
    if limits.allowed_origins:
        allow_origins(app, listed(limits.allowed_origins))
    if settings.hosts is not None:
        app.add_middleware(Hosts, ours=settings.hosts)
    app.add_middleware(RequestMonitor)
    if limits.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=listed(limits.trusted_proxies))


def door_of(limits: ServerSettings) -> Door:
    """What uvicorn's protocol lets in (`core/door.py`)."""
    return Door(
        head_seconds=limits.request_head_seconds,
        body_seconds=limits.request_body_seconds,
        url_bytes=limits.max_url_bytes,
        head_bytes=limits.max_header_bytes,
        headers=limits.max_headers,
        connections=limits.max_connections,
        gateways=frozenset(listed(limits.trusted_proxies)),
    )


@asynccontextmanager
async def _services(settings: Settings) -> AsyncIterator[Services]:
    engine = make_engine(settings.database, "api")
    cache = make_cache(settings.redis)
    channels, followed = make_channels(settings.redis), make_channels(settings.redis)
    bus = LiveBus(cache, channels)
    uow = UnitOfWorkFactory(engine, make_queue(settings.database, "api"), bus.announce, settings.auth.session_idle)
    secret_keys = await find_secret_keys(settings)
    sealer = Sealer(secret_keys)
    keys = KeyRing(SigningKeys(uow, sealer).load)
    outgoing = Outgoing(settings.outgoing)
    models = make_catalog(settings, uow, sealer, outgoing.guard, cache)
    side_calls = SideCalls(uow, settings.budgets)
    embedding_models, vectors = EmbeddingCatalog(settings.models, models), make_vector_store(settings, uow)
    to_issuer = way_to_issuer(settings.oidc, settings.outgoing)
    oidc_client = OidcClient(settings, to_issuer) if settings.oidc.is_set else None
    discussions, messages = DiscussionService(uow, models), MessageService(uow, TurnTokens(secret_keys))
    ends, stamps = LogEnds(uow), ResourceStamps(uow)
    hub = Hub(followed, bus, UnitOfWorkLogReader(uow))
    notices = Notices(UnitOfWorkStatusReader(uow))
    signer = TokenSigner(keys, secret_keys, settings.auth.access_token_seconds)
    last_seen = LastSeen(uow)
    callers = Callers(uow, signer, last_seen)
    throttle = LoginThrottle(Failures(cache), is_on=settings.server.rate_limits == "on")
    proofs = PasswordProofs(uow, throttle)
    second_factors = SecondFactors(uow, sealer, proofs)
    passwords = PasswordService(uow, callers, proofs, make_mailer(settings), settings.server.public_url)
    most_streams = settings.server.streams_per_user if settings.server.rate_limits == "on" else None
    streams = OpenStreams(UnitOfWorkRightsReader(uow), most_streams, callers.forget)
    auth_service = AuthService(uow, signer, callers, proofs, second_factors, settings)
    services = Services(
        settings=settings,
        auth=auth_service,
        oidc=OidcLogins(uow, auth_service, proofs, oidc_client, sealer, settings),
        profiles=ProfileService(uow, callers, proofs),
        passwords=passwords,
        sessions=SessionService(uow, callers),
        second_factors=second_factors,
        callers=callers,
        api_keys=ApiKeyService(uow, callers),
        workspaces=WorkspaceService(uow, callers, settings.budgets),
        members=MemberService(uow),
        administration=AdministrationService(uow),
        audit=AuditService(uow),
        downloads=Downloads(),
        request_limits=RequestLimits(RateLimiter(cache), settings.rates, is_on=settings.server.rate_limits == "on"),
        throttle=throttle,
        signing_keys=keys,
        agents=AgentService(uow, models, outgoing, WebhookSigner(secret_keys), settings.tools),
        discussions=discussions,
        lifecycle=DiscussionLifecycle(uow, bus, hub, InterruptedTurns(models, settings.budgets)),
        seats=DiscussionSeats(uow, models),
        forks=DiscussionForks(uow, models),
        diffs=DiscussionDiffs(uow, messages),
        floor=DiscussionFloor(uow),
        messages=messages,
        pages=MessagePages(uow, ends),
        transcripts=TranscriptService(discussions, messages),
        knowledge=KnowledgeService(uow, embedding_models, models),
        documents=DocumentService(uow, make_originals(settings.originals, uow), outgoing),
        extractions=ExtractionService(uow, models, Assistants(settings.models, models)),
        passages=PassageService(uow, KnowledgeSearch(uow, embedding_models, vectors), models, Reranking(side_calls)),
        memories=MemoryService(uow, embedding_models),
        providers=ModelProviders(uow, sealer, outgoing, models),
        embeddings=EmbeddingService(embedding_models),
        model_list=ModelListing(models),
        chats=ChatService(models, side_calls, AnswerCache(cache, settings.models)),
        trials=ProviderTrials(uow, models),
        tool_servers=ToolServers(uow, sealer, outgoing, settings.tools),
        usage=UsageService(uow, settings.budgets),
        viewings=Viewings(uow, callers, bus, hub),
        stream_access=StreamAccess(uow, signer, callers),
        streams=streams,
        hub=hub,
        notices=notices,
        health=HealthService(uow, cache),
        kept=KeptAnswers(cache, stamps),
        idempotency=Idempotency(uow, secret_keys, sealer),
    )
    try:
        await keys.begin()
        watchers = {"live_bus": bus.run, "hub": hub.run, "notices": notices.run, "streams": streams.run}
        async with running(**watchers, signing_keys=keys.run, last_seen=last_seen.run):
            yield services
    finally:
        makers = (side_calls, services.tool_servers, models, vectors, embedding_models)
        for held in (passwords, keys, hub, ends, stamps, *makers, outgoing, oidc_client, to_issuer):
            if held is not None:
                await held.close()
        for connections in (cache, channels, followed):
            await connections.aclose()
        await engine.dispose()
