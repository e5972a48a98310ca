"""Tables."""

from app.models.agent import Agent, AgentVersion
from app.models.ai import Provider
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
from app.models.knowledge import Document, KnowledgeBase
from app.models.message import Message, Turn
from app.models.spending import DailySpending, Reservation

__all__ = [
    "Agent",
    "AgentVersion",
    "ApiKey",
    "AuditEvent",
    "Base",
    "DailySpending",
    "Discussion",
    "DiscussionEvent",
    "Document",
    "IdempotentRequest",
    "Identity",
    "KnowledgeBase",
    "LoginCode",
    "Membership",
    "Message",
    "OidcLogin",
    "Participant",
    "PasswordReset",
    "Provider",
    "RecoveryCode",
    "Reservation",
    "Session",
    "SigningKey",
    "SocketTicket",
    "Turn",
    "User",
    "Workspace",
]
