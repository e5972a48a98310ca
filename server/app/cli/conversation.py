"""One discussion in the terminal, from its first turn to its transcript."""

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil
from rich.console import Console
from rich.text import Text

from app.cli.interruption import in_thread
from app.cli.live_follow import Follower, Tally
from app.cli.live_view import make_view
from app.core.errors import ArenaError
from arena_client import Agent, ArenaClient, ArenaProblem, Discussion
from arena_client import ArenaError as ClientError

LAST_WORD_SECONDS = 3.0
SLUG_CHARACTERS = 48


class DiscussionFailed(ArenaError):
    """A discussion ended before its time."""

    code = "discussion_failed"


class ServerRefused(ArenaError):
    """The server, or the way to it, did not let us."""

    code = "server_refused"


class Conversation:
    """A draft discussion that is started, shown, and written to a file; ended early, it is stopped on the server."""

    def __init__(
        self, client: ArenaClient, discussion: Discussion, agents: Sequence[Agent], transcript: Path | None
    ) -> None:
        self._client = client
        self._discussion = discussion
        self._agents = agents
        self._transcript = transcript
        self.saved: Path | None = None

    async def hold(self, console: Console, paper_title: str | None) -> None:
        """Show it to its end; raise `DiscussionFailed` if that comes of a failure."""
        self._introduce(console, paper_title)
        stream = self._client.discussions.stream(self._discussion.id)
        colors = {agent.handle: agent.color for agent in self._agents}
        view = make_view(console, self._discussion.limits.get("max_turns") or 0)
        follower = Follower(self._discussion, colors, view)

        def watch() -> None:
            with view:
                self._client.discussions.start(self._discussion.id)
                follower.follow(stream)

        try:
            await in_thread(watch, stream.close)
        except BaseException:
            await self._break_off()
            raise
        await in_thread(self._save)
        self._conclude(console, follower.tally)

    def _introduce(self, console: Console, paper_title: str | None) -> None:
        lines = [("Topic", self._discussion.topic)]
        if paper_title:
            lines.append(("Document", paper_title))
        for name, words in lines:
            console.print(Text(f"{name:<10}", style="bold").append(words, style="not bold"))
        panel = Text("Panel     ", style="bold")
        for number, agent in enumerate(self._agents):
            panel.append(", " if number else "", style="not bold")
            panel.append(f"{agent.name} (@{agent.handle})", style=f"not bold {agent.color or ''}")
        console.print(panel)

    def _conclude(self, console: Console, tally: Tally) -> None:
        console.print()
        if tally.turns:
            console.print(_summary(tally))
        if self.saved:
            console.print(Text("Transcript: ").append(str(self.saved), style="bold"), soft_wrap=True)
        if tally.end_reason == "failed":
            raise DiscussionFailed(f"the discussion failed: {tally.failure or 'no reason was given'}")

    async def _break_off(self) -> None:
        """Stop it on the server, and keep what was said so far."""
        for step in (self._stop, self._save):
            with suppress(ClientError, OSError, TimeoutError):
                async with asyncio.timeout(LAST_WORD_SECONDS):
                    await in_thread(step)

    def _stop(self) -> None:
        self._client.discussions.stop(self._discussion.id)

    def _save(self) -> None:
        if self._transcript is None:
            return
        text = self._client.discussions.transcript(self._discussion.id)
        self._transcript.parent.mkdir(parents=True, exist_ok=True)
        self._transcript.write_text(text, encoding="utf-8")
        self.saved = self._transcript


def _summary(tally: Tally) -> str:
    words = [f"{tally.turns} turns"]
    if tally.tokens:
        words.append(f"{tally.tokens} tokens at {tally.tokens_per_second:.1f} tokens/s")
    if tally.first_text_at:
        since_start = time.time() - psutil.Process().create_time()
        words.append(f"first words {since_start - (time.monotonic() - tally.first_text_at):.1f} s after the start")
    return ", ".join(words)


def transcript_file(folder: Path, topic: str) -> Path:
    """A new file's path, named by the time and the topic."""
    slug = re.sub(r"[^a-z0-9]+", "-", topic.lower()).strip("-")[:SLUG_CHARACTERS].strip("-")
    # nosemgrep: a-moment-has-its-zone - what the clock on the wall says
    return folder / f"{datetime.now():%Y-%m-%d-%H%M%S}-{slug or 'discussion'}.md"


def sentence(error: ClientError) -> str:
    """What a person should read of a client's error."""
    if isinstance(error, ArenaProblem):
        return f"{error.detail} ({error.code}, request {error.request_id})"
    return str(error)
