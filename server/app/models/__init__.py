"""Tables."""

from app.models.agent import Agent, AgentVersion
from app.models.auth import Membership, Session, SocketTicket, User, Workspace
from app.models.base import Base
from app.models.discussion import Discussion, Participant
from app.models.event import DiscussionEvent
from app.models.knowledge import Document, KnowledgeBase
from app.models.message import Message, Turn
from app.models.spending import DailySpending, Reservation

__all__ = [
    "Agent",
    "AgentVersion",
    "Base",
    "DailySpending",
    "Discussion",
    "DiscussionEvent",
    "Document",
    "KnowledgeBase",
    "Membership",
    "Message",
    "Participant",
    "Reservation",
    "Session",
    "SocketTicket",
    "Turn",
    "User",
    "Workspace",
]
