"""Built-in personas, and the agents made of them."""

from dataclasses import dataclass

from app.core.errors import StartupFailed
from arena_client import Agent, AgentParams, ArenaClient

LOCAL_MODEL = "local/smollm2-135m"
RECORDED_MODEL = "replay/demo"
"""The local model, as it spoke in the demo that was recorded."""


@dataclass(frozen=True, slots=True)
class Persona:
    """A way of looking at things: short, and a task rather than a character, so that a small model can follow too."""

    handle: str
    name: str
    persona: str
    color: str


BUILT_IN = {
    persona.handle: persona
    for persona in (
        Persona(
            "optimist",
            "Optimist",
            "You are hopeful. Name one thing that gets better, and who gains by it.",
            "#10b981",
        ),
        Persona(
            "skeptic",
            "Skeptic",
            "You have doubts. Name one thing that may go wrong, and who pays for it.",
            "#ef4444",
        ),
        Persona(
            "pragmatist",
            "Pragmatist",
            "You are practical. Name one thing to do first, and how to see whether it works.",
            "#3b82f6",
        ),
        Persona(
            "economist",
            "Economist",
            "You count. Name what it costs, what it brings, and what else the money could do.",
            "#f59e0b",
        ),
        Persona(
            "engineer",
            "Engineer",
            "You build things. Say how it would work in practice, and where it would break first.",
            "#8b5cf6",
        ),
        Persona(
            "newcomer",
            "Newcomer",
            "You are new here. Ask the simple question that nobody asks any more, and say why it matters to you.",
            "#06b6d4",
        ),
        Persona(
            "ethicist",
            "Ethicist",
            "You look for what is fair. Name who is left out or worse off, and what they are owed.",
            "#ec4899",
        ),
        Persona(
            "historian",
            "Historian",
            "You remember. Tell of a time when something like this was tried, and what came of it.",
            "#a16207",
        ),
    )
}
DEFAULT = ("optimist", "skeptic", "pragmatist")
LOCAL_MAX_TOKENS = 90
MAX_TOKENS = 400


def seat(client: ArenaClient, handle: str, model: str | None, max_tokens: int | None, *, reset: bool) -> Agent:
    """The workspace's agent of that handle as it is, or one made of the built-in persona and kept up to date.

    With `reset`, an agent that has the handle of a built-in persona becomes that again.
    """
    agent = find(client, handle)
    persona = BUILT_IN.get(handle)
    if persona is None and agent is None:
        raise StartupFailed(
            f"there is no agent @{handle} in the workspace, and no built-in persona of that name: "
            f"there are {', '.join(BUILT_IN)}"
        )
    if agent is not None and (persona is None or not (reset or agent.persona == persona.persona)):
        if model is not None and model != agent.model:
            raise StartupFailed(f"@{handle} is an agent of yours on {agent.model}: --model is for built-in personas")
        return agent
    assert persona is not None
    return _keep(client, agent, persona, model or (agent and agent.model) or LOCAL_MODEL, max_tokens)


def find(client: ArenaClient, handle: str) -> Agent | None:
    return next((agent for agent in client.agents.list(q=handle) if agent.handle == handle), None)


def _keep(client: ArenaClient, agent: Agent | None, persona: Persona, model: str, max_tokens: int | None) -> Agent:
    """Make the agent, or change what differs: each change is a new version of it."""
    params = params_for(model, max_tokens)
    if agent is None:
        return client.agents.create(
            persona.name,
            handle=persona.handle,
            persona=persona.persona,
            model=model,
            params=params,
            color=persona.color,
        )
    has_params = all(agent.params.get(name) == value for name, value in params.items())
    if has_params and (agent.persona, agent.model, agent.color) == (persona.persona, model, persona.color):
        return agent
    return client.agents.update(agent.id, persona=persona.persona, model=model, params=params, color=persona.color)


def params_for(model: str, max_tokens: int | None) -> AgentParams:
    """A small model needs to be kept short, and from the one answer it gives most readily; larger ones know how."""
    if model in {LOCAL_MODEL, RECORDED_MODEL}:
        return AgentParams(temperature=0.7, top_p=0.9, max_tokens=max_tokens or LOCAL_MAX_TOKENS)
    return AgentParams(max_tokens=max_tokens or MAX_TOKENS)
