"""Tables."""

from app.models.agent import Agent, AgentVersion
from app.models.ai import Provider, ToolServer
from app.models.audit import AuditEvent
from app.models.auth import (
    ApiKey,
    Identity,
    LoginCode,
    Membership,
    OidcLogin,
    PasswordReset,
    RecoveryCode,
    Session,
    SigningKey,
    SocketTicket,
    User,
    Workspace,
)
from app.models.base import Base
from app.models.discussion import Discussion, Participant
from app.models.event import DiscussionEvent
from app.models.idempotency import IdempotentRequest
from app.models.knowledge import (
    Chunk,
    ChunkEmbedding,
    Document,
    Extraction,
    KnowledgeBase,
    LooseOriginal,
    OriginalPart,
)
from app.models.memory import DiscussionSummary, Distillation, Memory, MemorySource
from app.models.message import Message, Turn
from app.models.spending import DailySpending, Reservation
from app.models.version import ResourceVersion

__all__ = [
    "Agent",
    "AgentVersion",
    "ApiKey",
    "AuditEvent",
    "Base",
    "Chunk",
    "ChunkEmbedding",
    "DailySpending",
    "Discussion",
    "DiscussionEvent",
    "DiscussionSummary",
    "Distillation",
    "Document",
    "Extraction",
    "IdempotentRequest",
    "Identity",
    "KnowledgeBase",
    "LoginCode",
    "LooseOriginal",
    "Membership",
    "Memory",
    "MemorySource",
    "Message",
    "OidcLogin",
    "OriginalPart",
    "Participant",
    "PasswordReset",
    "Provider",
    "RecoveryCode",
    "Reservation",
    "ResourceVersion",
    "Session",
    "SigningKey",
    "SocketTicket",
    "ToolServer",
    "Turn",
    "User",
    "Workspace",
]
