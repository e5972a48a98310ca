"""The Python client of Discussion Arena.

```python
from arena_client import ArenaClient

with ArenaClient("http://127.0.0.1:8000") as arena:
    arena.login("me@company.example", password)
    optimist = arena.agents.create("Optimist", model="local/smollm2-135m", persona="You see what may go well.")
    skeptic = arena.agents.create("Skeptic", model="local/smollm2-135m", persona="You see what may go wrong.")
    discussion = arena.discussions.create("Should we go remote?", [optimist.id, skeptic.id])
    for event in arena.discussions.stream(discussion.id):
        if event.event == "message.delta":
            print(event.data["text"], end="", flush=True)
```

The same with asyncio; whoever is cancelled leaves no connection behind:

```python
from arena_client import AsyncArenaClient

async with AsyncArenaClient("http://127.0.0.1:8000", api_key) as arena:
    async for agent in arena.agents.list():
        print(agent.name)
    async with arena.notifications() as changes:
        async for change in changes:
            print(change.data["title"], change.data["status"])
```
"""

from arena_client.async_client import AsyncArenaClient
from arena_client.async_streams import AsyncEventStream
from arena_client.client import ArenaClient
from arena_client.errors import ArenaError, ArenaProblem, ArenaTimeout, ArenaUnreachable
from arena_client.events import StreamEvent
from arena_client.models import (
    Agent,
    AgentParams,
    CalledTool,
    Citation,
    Discussion,
    Document,
    KnowledgeBase,
    Limits,
    Message,
    NewParticipant,
    NextSpeaker,
    Participant,
    PostedMessage,
    Span,
    Usage,
    User,
    Workspace,
)
from arena_client.streams import EventStream

__all__ = [
    "Agent",
    "AgentParams",
    "ArenaClient",
    "ArenaError",
    "ArenaProblem",
    "ArenaTimeout",
    "ArenaUnreachable",
    "AsyncArenaClient",
    "AsyncEventStream",
    "CalledTool",
    "Citation",
    "Discussion",
    "Document",
    "EventStream",
    "KnowledgeBase",
    "Limits",
    "Message",
    "NewParticipant",
    "NextSpeaker",
    "Participant",
    "PostedMessage",
    "Span",
    "StreamEvent",
    "Usage",
    "User",
    "Workspace",
]
