"""What `arena demo` and `arena discuss` share: a wish, a server of our own or another's, and the discussion on it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.cli import panel, papers
from app.cli.conversation import Conversation, ServerRefused, sentence
from app.cli.interruption import in_thread, run_interruptibly
from app.cli.live_view import make_console
from app.cli.local_account import log_in
from app.cli.own_product import own_product
from app.cli.papers import Paper
from app.cli.steps import Steps
from app.config import Settings
from app.engines.stack import Engines
from arena_client import ArenaClient, ArenaError, ArenaProblem, Document


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be discussed, by whom, for how long.

    `base` names the knowledge base that papers are kept in; `reset_agents` undoes changes to built-in agents.
    """

    topic: str
    agents: Sequence[str]
    turns: int
    base: str
    paper: Paper | None = None
    model: str | None = None
    max_tokens: int | None = None
    seed: int | None = None
    reset_agents: bool = False
    transcript: Path | None = None


class Session:
    """One run of a command that holds a discussion."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._console = make_console()
        self._steps = Steps(self._console)
        self._conversation: Conversation | None = None

    def run_here(self, settings: Settings, command: str, variables: Mapping[str, str]) -> None:
        """Bring up the product on that data folder for as long as the discussion lasts."""
        engines = Engines(settings, wait_for_model=False, command=command)
        account = command.rpartition(" ")[2].capitalize()

        login = settings.data_dir / f"{account.lower()}-login.json"

        async def run() -> None:
            with self._steps:
                async with own_product(settings, engines, self._steps, variables) as url:
                    with _refusals_told(), ArenaClient(url) as client:
                        with self._steps.step("account and agents"):
                            self._conversation = await in_thread(partial(self._prepare_here, client, login, account))
                        await self._hold(self._conversation)

        run_interruptibly(run, engines.supervisor, partial(self._farewell, "everything is stopped"))

    def run_there(self, client: ArenaClient) -> None:
        """Hold the discussion on a running server."""

        async def run() -> None:
            with self._steps, _refusals_told(), client:
                self._conversation = await in_thread(partial(self._prepare, client))
                await self._hold(self._conversation)

        run_interruptibly(run, None, partial(self._farewell, "the discussion is stopped"))

    async def _hold(self, conversation: Conversation) -> None:
        self._steps.close()
        self._console.print()
        await conversation.hold(self._console, self._wish.paper.title if self._wish.paper else None)

    def _farewell(self, state: str) -> str:
        saved = self._conversation.saved if self._conversation else None
        return f"{state}; what was said so far is in {saved}" if saved else state

    def _prepare_here(self, client: ArenaClient, login: Path, account: str) -> Conversation:
        log_in(client, login, account)
        _end_leftovers(client)
        return self._prepare(client)

    def _prepare(self, client: ArenaClient) -> Conversation:
        """A draft discussion, with what it needs made or found again."""
        wish = self._wish
        agents = [
            panel.seat(client, handle, wish.model, wish.max_tokens, reset=wish.reset_agents) for handle in wish.agents
        ]
        documents = [self._keep(client, wish.paper)] if wish.paper else []
        discussion = client.discussions.create(
            wish.topic,
            [agent.id for agent in agents],
            document_ids=[document.id for document in documents],
            limits={"max_turns": wish.turns},
            seed=wish.seed,
            on_turn_failure="end",  # nobody is there to resume it
            start=False,
        )
        return Conversation(client, discussion, agents, wish.transcript)

    def _keep(self, client: ArenaClient, paper: Paper) -> Document:
        with self._steps.step("reading the document") as tell:
            return papers.keep(client, self._wish.base, paper, tell)


@contextmanager
def _refusals_told() -> Iterator[None]:
    """Let the command line tell what the server refused, in a sentence."""
    try:
        yield
    except ArenaError as error:
        raise ServerRefused(sentence(error)) from None


def _end_leftovers(client: ArenaClient) -> None:
    """Stop what a run of ours that was killed left running: the local model has only so much time."""
    for status in ("running", "waiting"):
        for discussion in client.discussions.list(status=status):
            with suppress(ArenaProblem):
                client.discussions.stop(discussion.id)
