"""Settings: frozen, one group per concern, every one of them an `ARENA_*` environment variable."""

import os
import re
import shlex
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_data_dir() -> Path:
    """`/var/lib/arena` for root, since PostgreSQL then runs as another user; else the user's own data folder."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/arena")
    return Path(platformdirs.user_data_dir("arena"))


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL such as https://host/v1")
    return url


def listed(text: str | None) -> list[str]:
    """The parts of a comma-separated setting."""
    return [part for part in map(str.strip, (text or "").split(",")) if part]


def _origins(text: str) -> str:
    for origin in listed(text):
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or "*" in origin:
            raise ValueError("must be origins such as https://host or http://host:3000, separated by commas; no `*`")
    return text


def _hosts(text: str) -> str:
    for host in listed(text):
        if not re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+", host):
            raise ValueError("must be hosts such as arena.example, without port, separated by commas; no `*`")
    return text


def _networks(text: str) -> str:
    for network in listed(text):
        ip_network(network)
    return text


def _commands(text: str) -> str:
    for command in listed(text):
        shlex.split(command)
    return text


class _Group(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="ARENA_", frozen=True, extra="ignore", env_ignore_empty=True)


class ServerSettings(_Group):
    """Where the API listens and what it accepts."""

    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port the API listens on; 0 takes a free one.")
    max_body_bytes: int = Field(1024 * 1024, ge=1024, description="Largest request body, in bytes.")
    max_document_bytes: int = Field(
        32 * 1024 * 1024, ge=1024, description="Largest document request, or document fetched, in bytes."
    )
    max_url_bytes: int = Field(16_384, ge=256, le=65_536, description="Longest path and query of a request, in bytes.")
    max_header_bytes: int = Field(32_768, ge=1024, le=1_048_576, description="Most bytes of headers of a request.")
    max_headers: int = Field(100, ge=10, le=10_000, description="Most headers of a request.")
    max_json_depth: int = Field(64, ge=8, le=200, description="Deepest nesting of a JSON body.")
    max_waiting: int = Field(
        1000, ge=1, le=100_000, description="Most requests of a class that wait in an overloaded process."
    )
    max_connections: int = Field(10_000, ge=10, description="Most connections to one process.")
    request_head_seconds: float = Field(10, gt=0, description="A request's head has to arrive within this long.")
    request_body_seconds: float = Field(
        20, gt=0, description="A request's body too, and a second longer for each 500 bytes that came."
    )
    stream_seconds: float = Field(3600, gt=0, description="A live stream ends cleanly after this long.")
    stream_heartbeat_seconds: float = Field(15, gt=0, description="A silent live stream sends a comment this often.")
    stream_stall_seconds: float = Field(
        30, gt=0, description="A live stream whose viewer takes nothing for this long ends."
    )
    streams_per_user: int = Field(
        1000, ge=1, description="Most live streams, sockets and their channels that one person may hold in one process."
    )
    socket_channels: int = Field(500, ge=1, description="Most channels of one WebSocket.")
    socket_auth_seconds: float = Field(5, gt=0, description="A WebSocket that has not said whose it is by then closes.")
    allowed_origins: Annotated[str, AfterValidator(_origins)] | None = Field(
        None,
        description="Comma-separated origins (`https://host[:port]`) whose pages may call this API.",
    )
    allowed_hosts: Annotated[str, AfterValidator(_hosts)] | None = Field(
        None, description="Comma-separated names that this API goes by; requests for another get 421."
    )
    trusted_proxies: Annotated[str, AfterValidator(_networks)] | None = Field(
        None, description="Comma-separated addresses or networks whose `X-Forwarded-For` and `-Proto` are believed."
    )
    public_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None, description="Where people's browsers find the pages; links in mails lead there."
    )
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="What Prometheus shows as bearer token at `/metrics`; unset: open on loopback, else closed.",
    )
    rate_limits: Literal["on", "off"] = Field(
        "on", description="`off`, for benchmarks: no rate limits, no throttled logins, no limit on streams a person."
    )

    @property
    def is_loopback(self) -> bool:
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


class RateSettings(_Group):
    """Requests a minute of each kind: of a session or API key; a user may make twice as many, an address four times."""

    rate_reads: int = Field(3000, ge=1, description="Reading requests.")
    rate_writes: int = Field(1200, ge=1, description="Writing requests.")
    rate_auth: int = Field(120, ge=1, description="Logins, refreshes, registrations and other changes of accounts.")
    rate_expensive: int = Field(300, ge=1, description="Previews, searches, uploads and exports.")
    rate_control: int = Field(1200, ge=1, description="`pause`, `interrupt` and `stop`.")


class LogSettings(_Group):
    """What is logged, and how it looks."""

    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`json`, `console`, or `auto`: colours on a terminal, else JSON."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe level logged.")


class DatabaseSettings(_Group):
    """PostgreSQL, the truth."""

    database_url: SecretStr | None = Field(
        None, description="PostgreSQL 15 or newer with pgvector; unset: the embedded one."
    )
    database_owner_url: SecretStr | None = Field(
        None, description="The same database as whoever owns the tables, for `arena migrate`; unset: the URL above."
    )
    database_pool_size: int = Field(10, ge=1, le=500, description="Connections held per process.")
    database_statement_seconds: float = Field(30, gt=0, description="A statement running longer is ended.")


class RedisSettings(_Group):
    """Valkey or Redis, an accelerator: nothing is lost without it."""

    redis_url: SecretStr | None = Field(None, description="Redis 7 or Valkey; unset: the embedded one.")


class AuthSettings(_Group):
    """Accounts, tokens and the first administrator."""

    secret_key: SecretStr | None = Field(
        None, min_length=32, description="32 characters or more; unset: made once and kept in the data folder."
    )
    secret_key_file: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        None, description="A file that holds it, closed to others; keys on further lines are older ones."
    )
    secret_key_previous: SecretStr | None = Field(
        None, description="Older ones, comma-separated or one a line, which open what they sealed."
    )
    registration: Literal["open", "closed"] | None = Field(
        None, description="Who may register; unset: open on loopback, else closed."
    )
    access_token_seconds: int = Field(600, ge=30, le=86_400, description="Life of an access token.")
    session_days: int = Field(30, ge=1, le=365, description="Longest life of a session, however often refreshed.")
    session_idle_days: int = Field(14, ge=1, le=365, description="A session that was not used for so long is over.")
    admin_email: str | None = Field(None, description="The first administrator's address.")
    admin_password: SecretStr | None = Field(None, description="The first administrator's password; unset: generated.")

    @property
    def session_idle(self) -> timedelta:
        return timedelta(days=self.session_idle_days)


class MailSettings(_Group):
    """Mail to users, such as the right to set a new password."""

    mailer: str = Field(
        "console",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="`console` (standard output), `smtp`, or an installed one (entry points `arena.mailers`).",
    )
    smtp_host: str | None = Field(None, description="The mail server.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its port.")
    smtp_tls: Literal["starttls", "tls", "off"] = Field(
        "starttls", description="`starttls`, `tls` from the first byte (port 465), or `off`."
    )
    smtp_username: str | None = Field(None, description="Who logs in at it; unset: nobody.")
    smtp_password: SecretStr | None = Field(None, description="Their password.")
    smtp_from: str | None = Field(None, description="The address that mails come from.")


class OidcSettings(_Group):
    """Login at an issuer of identities (OpenID Connect)."""

    oidc_issuer: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None, description="The issuer, exactly as it names itself; unset: passwords only."
    )
    oidc_client_id: str | None = Field(None, description="What this installation is called there.")
    oidc_client_secret: SecretStr | None = Field(None, description="Its secret there; unset: a public client.")
    oidc_scopes: str = Field("openid email profile", description="What the issuer is asked to tell of a person.")
    oidc_name: str = Field("Single sign-on", description="What frontends call this login.")
    oidc_registration: Literal["open", "closed"] | None = Field(
        None, description="Whether people who are new get an account; unset: as `ARENA_REGISTRATION`."
    )
    oidc_redirect_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None, description="`/api/v1/auth/oidc/callback` as browsers reach it; unset: below `ARENA_PUBLIC_URL`."
    )
    oidc_return_urls: str | None = Field(
        None, description="Comma-separated addresses of frontends that a login may return to, each to the letter."
    )

    @property
    def is_set(self) -> bool:
        return self.oidc_issuer is not None or self.oidc_client_id is not None

    @property
    def return_urls(self) -> frozenset[str]:
        return frozenset(filter(None, (url.strip() for url in (self.oidc_return_urls or "").split(","))))


class VaultSettings(_Group):
    """HashiCorp Vault, where the secret key may be kept."""

    vault_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None, description="A Vault whose key/value store (version 2) holds the secret key."
    )
    vault_token: SecretStr | None = Field(None, description="What it knows us by.")
    vault_token_file: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        None, description="A file that holds the token instead."
    )
    vault_secret: str | None = Field(None, description="Where the key is, as `mount/path#field`.")
    vault_namespace: str | None = Field(None, description="Vault's namespace, if it has any.")
    vault_ca_file: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        None, description="Certificates that its own is checked against; unset: the system's."
    )


class ModelSettings(_Group):
    """Language models and how long one may take."""

    openai_base_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None, description="An OpenAI-compatible endpoint, `/v1` included; its models are `openai/<name>`."
    )
    openai_api_key: SecretStr | None = Field(None, description="Its key, if it wants one.")
    openai_context_tokens: int = Field(8192, ge=512, description="Context window assumed for its models, in tokens.")
    openai_concurrency: int | None = Field(
        None, ge=1, le=100_000, description="Most calls of it at once, over all workers; unset: no cap."
    )
    openai_requests_per_minute: int | None = Field(
        None, ge=1, le=100_000, description="Most calls of it begun in any minute, over all workers; unset: no cap."
    )
    openai_wait_seconds: float = Field(1800, gt=0, description="Longest that a call of it waits for room.")
    provider_concurrency: int | None = Field(
        None, ge=1, le=100_000, description="Most calls at once of one provider that a workspace brings; unset: no cap."
    )
    provider_requests_per_minute: int | None = Field(
        None, ge=1, le=100_000, description="Most calls of it begun in any minute; unset: no cap."
    )
    local_model: Literal["on", "off"] = Field("on", description="Whether `arena serve` starts the local model.")
    local_model_url: str | None = Field(None, description="A running local model; `arena serve` sets this itself.")
    local_model_key: SecretStr | None = Field(None, description="Its key; `arena serve` sets this itself.")
    answer_cache_seconds: int = Field(
        86_400, ge=0, le=30 * 86_400, description="How long answers of `/ai/chat` are kept that may be; 0: not at all."
    )
    answer_cache_bytes: int = Field(
        262_144, ge=1_024, le=16 * 1024 * 1024, description="Largest such answer that is kept, in bytes."
    )
    assistant_model: str | None = Field(
        None,
        description="Distils memories, summarises, extracts, describes documents; unset: the local model if it runs.",
    )
    model_connect_seconds: float = Field(10, gt=0, description="A model that cannot be reached by then is given up.")
    model_first_token_seconds: float = Field(120, gt=0, description="A model silent that long is given up.")
    model_idle_seconds: float = Field(30, gt=0, description="A model that pauses that long mid-reply is given up.")
    model_total_seconds: float = Field(600, gt=0, description="A reply is given up after this long altogether.")
    model_attempts: int = Field(3, ge=1, le=10, description="How often a failed turn is tried before it is recorded.")
    model_breaker_failures: int = Field(
        5, ge=0, le=1000, description="So many failures in a row, and a model is left alone for a while; 0: never."
    )
    model_breaker_seconds: float = Field(10, gt=0, description="For how long.")
    record: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        None, description="A folder that every exchange with a model is recorded in; unset: none is."
    )
    recordings: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        None, description="The folder that `replay/<name>` plays from; unset: `recordings` in the data folder."
    )
    replay_pace: float = Field(0, ge=0, description="1: a replay takes the time that was recorded; 0: none.")


class VectorSettings(_Group):
    """Where the vectors are that searches by meaning go by."""

    vector_store: Literal["postgresql", "qdrant"] = Field(
        "postgresql", description="`postgresql`, beside all else, or `qdrant` (`pip install discussion-arena[qdrant]`)."
    )
    qdrant_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None, description="Where Qdrant is, such as `http://127.0.0.1:6333`."
    )
    qdrant_api_key: SecretStr | None = Field(None, description="Its key, if it wants one.")
    qdrant_seconds: int = Field(10, ge=1, le=600, description="Qdrant is given up after this long.")


class WorkerSettings(_Group):
    """How a worker drives discussions."""

    worker_concurrency: int = Field(200, ge=1, le=5000, description="Discussions one worker drives at once.")
    worker_documents: int = Field(2, ge=1, le=100, description="Documents one worker takes in at once.")
    worker_assistants: int = Field(
        8, ge=1, le=1000, description="Summaries, extractions and the like that one worker works on at once."
    )
    worker_slice_seconds: float = Field(10, gt=0, description="A driver gives way after this long when others wait.")
    worker_ageing_seconds: float = Field(
        10, gt=0, description="A background discussion that has waited this long waits like an interactive one."
    )
    worker_drain_seconds: float = Field(20, gt=0, description="On SIGTERM a running turn may take this long.")
    lease_seconds: float = Field(3, ge=1, description="A discussion's claim lapses after this long unrenewed.")


class DocumentSettings(_Group):
    """What reading a document may take, and how much of one is kept."""

    document_parse_seconds: float = Field(
        30, ge=1, le=600, description="A file that takes longer to read, or a third of it on a processor, is given up."
    )
    document_parse_bytes: int = Field(
        256 * 1024 * 1024, ge=96 * 1024 * 1024, description="Memory that reading a file may take, in bytes."
    )
    document_pages: int = Field(5000, ge=1, le=100_000, description="Most pages of a file.")
    enrichment: Literal["on", "off"] = Field(
        "on", description="Whether documents get a summary, keywords and the like once they are ready."
    )
    document_characters: int = Field(5_000_000, ge=1000, le=50_000_000, description="Longest text of a document.")


class OutgoingSettings(_Group):
    """Requests that users cause, such as webhooks."""

    outgoing_allow: str | None = Field(
        None, description="Comma-separated `host`, `host:port` or network that they may reach although private."
    )
    outgoing_seconds: float = Field(10, gt=0, le=300, description="One that is not answered by then has failed.")


class ToolSettings(_Group):
    """What models may call in the middle of a turn."""

    tool_seconds: float = Field(15, gt=0, le=600, description="A tool that has not answered by then has failed.")
    tool_result_bytes: int = Field(
        16_384, ge=256, le=1_048_576, description="Most of a tool's result that a model is told, in bytes."
    )
    tool_calls_per_turn: int = Field(8, ge=0, le=100, description="Most calls of tools in a turn.")
    tool_turn_seconds: float = Field(60, gt=0, le=3600, description="Longest that a turn's tools may take together.")
    tool_http_get: Literal["on", "off"] = Field(
        "off", description="Whether agents may read public web pages; what they know may leave in the addresses."
    )
    mcp_commands: Annotated[str, AfterValidator(_commands)] | None = Field(
        None, description="Comma-separated commands, each with its arguments, that workspaces may run as tool servers."
    )


def _originals_url(url: str) -> str:
    parts = urlsplit(url)
    if not ((parts.scheme == "file" and parts.path) or (parts.scheme == "s3" and parts.netloc)):
        raise ValueError("must be file:///folder or s3://bucket/prefix")
    return url


class OriginalSettings(_Group):
    """Where the files are kept that documents were made of."""

    originals_url: Annotated[str, AfterValidator(_originals_url)] | None = Field(
        None, description="`file:///folder` or `s3://bucket/prefix`; unset: in PostgreSQL."
    )
    s3_endpoint: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None, description="The S3-compatible server; unset: Amazon's."
    )
    s3_access_key_id: str | None = Field(None, description="Who we are there.")
    s3_secret_access_key: SecretStr | None = Field(None, description="Our secret there.")
    s3_region: str = Field("us-east-1", description="Its region.")
    document_fetch_seconds: float = Field(
        60, gt=0, le=600, description="A document's URL that has not given all by then has failed."
    )


class BudgetSettings(_Group):
    """What users and workspaces may spend a day (UTC)."""

    user_tokens_per_day: int | None = Field(
        None, ge=1, description="Tokens a day for all discussions that one person opened; unset: no limit."
    )
    user_usd_per_day: float | None = Field(None, gt=0, description="Dollars a day for them; unset: no limit.")
    workspace_tokens_per_day: int | None = Field(
        None, ge=1, description="Tokens a day for all discussions of a workspace; unset: no limit."
    )
    workspace_usd_per_day: float | None = Field(None, gt=0, description="Dollars a day for them; unset: no limit.")


class Settings(BaseModel):
    """All settings of one process, read once at its start."""

    model_config = ConfigDict(frozen=True)

    data_dir: Annotated[Path, AfterValidator(_absolute)]
    server: ServerSettings = Field(default_factory=ServerSettings)
    rates: RateSettings = Field(default_factory=RateSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    mail: MailSettings = Field(default_factory=MailSettings)
    oidc: OidcSettings = Field(default_factory=OidcSettings)
    vault: VaultSettings = Field(default_factory=VaultSettings)
    models: ModelSettings = Field(default_factory=ModelSettings)
    vectors: VectorSettings = Field(default_factory=VectorSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    documents: DocumentSettings = Field(default_factory=DocumentSettings)
    outgoing: OutgoingSettings = Field(default_factory=OutgoingSettings)
    tools: ToolSettings = Field(default_factory=ToolSettings)
    budgets: BudgetSettings = Field(default_factory=BudgetSettings)
    originals: OriginalSettings = Field(default_factory=OriginalSettings)

    @property
    def recordings_dir(self) -> Path:
        return self.models.recordings or self.data_dir / "recordings"

    @property
    def hosts(self) -> frozenset[str] | None:
        """The names that requests may be for, besides this machine's own; None: any.

        Without a list, they are known only where nobody but this machine's own programs can come in.
        """
        server = self.server
        if not server.allowed_hosts and (server.trusted_proxies or not server.is_loopback):
            return None
        urls = [server.public_url, self.oidc.oidc_redirect_url, *listed(server.allowed_origins)]
        names = (urlsplit(url).hostname for url in urls if url)
        return frozenset([*filter(None, names), *listed(server.allowed_hosts)])

    @property
    def registration_open(self) -> bool:
        if self.auth.registration is None:
            return self.server.is_loopback
        return self.auth.registration == "open"

    @property
    def oidc_redirect_url(self) -> str:
        """Where the issuer sends browsers back to."""
        if self.oidc.oidc_redirect_url is not None:
            return self.oidc.oidc_redirect_url
        own = self.server.public_url or f"http://{self.server.host}:{self.server.port}"
        return own.rstrip("/") + "/api/v1/auth/oidc/callback"

    @property
    def oidc_registration_open(self) -> bool:
        if self.oidc.oidc_registration is None:
            return self.registration_open
        return self.oidc.oidc_registration == "open"


class _DataDir(_Group):
    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="Engines' data, keys and logs; default: `/var/lib/arena` for root, else the user's data folder.",
    )


def load_settings() -> Settings:
    """Read the environment; raise `pydantic.ValidationError` naming every malformed variable of a group."""
    return Settings(data_dir=_DataDir().data_dir)
