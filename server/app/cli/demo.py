"""`arena demo`: three small agents discuss a memo, on an installation of their own."""

import os
from pathlib import Path
from typing import Annotated

import typer

from app.cli import panel
from app.cli.conversation import transcript_file
from app.cli.papers import read_paper
from app.cli.session import Session, Wish
from app.config import Settings, load_settings
from app.core.errors import StartupFailed

MEMO = "remote-work-memo.md"
RECORDINGS = "recordings"
RECORDED_TURNS = 6
RECORDED_MAX_TOKENS = 90
TOPIC = "Should we work from home for good?"
TOPIC_OF_A_DOCUMENT = "What is to be thought of this document, and what should be done?"


def demo(
    turns: Annotated[int, typer.Option(help="How many turns the discussion has.", min=1, max=10_000)] = RECORDED_TURNS,
    document: Annotated[
        Path | None, typer.Option(help="A text or Markdown file to discuss instead of the memo.", show_default=False)
    ] = None,
    topic: Annotated[str | None, typer.Option(help="The question to discuss.", show_default=False)] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest reply, in tokens.", min=1, max=1000)] = RECORDED_MAX_TOKENS,
    seed: Annotated[int | None, typer.Option(help="Makes the replies repeatable.", min=0, show_default=False)] = None,
    recorded: Annotated[bool, typer.Option("--recorded", help="Play a recording of the model; starts none.")] = False,
) -> None:
    """Watch three agents of different minds discuss a memo, live. Needs no key, no container and no network.

    Starts PostgreSQL, Valkey, a language model, the API and a worker, opens a discussion over the API, shows it, writes
    its transcript, and stops everything; Ctrl-C does so at any moment. The model has 135 million parameters and runs on
    your processor: expect more spirit than wisdom.

    With --recorded the discussion goes as it was once recorded, at that pace (ARENA_REPLAY_PACE=0: at once).

    Everything is kept in ARENA_DATA_DIR/demo and never touches another installation. A second run finds it there and
    starts faster. What the processes log is in ARENA_DATA_DIR/demo/logs.
    """
    settings = demo_settings(load_settings(), local_model="off" if recorded else "on")
    variables = {"ARENA_REGISTRATION": "open"}
    if recorded:
        if document or topic or seed is not None or turns > RECORDED_TURNS or max_tokens != RECORDED_MAX_TOKENS:
            raise StartupFailed(
                f"only the memo, in {RECORDED_TURNS} turns or fewer, is recorded: leave out the other options"
            )
        variables |= {
            "ARENA_RECORDINGS": str(_example(RECORDINGS)),
            "ARENA_REPLAY_PACE": os.environ.get("ARENA_REPLAY_PACE") or "1",
        }
    question = topic or (TOPIC_OF_A_DOCUMENT if document else TOPIC)
    wish = Wish(
        topic=question,
        agents=panel.DEFAULT,
        turns=turns,
        base="Demo",
        paper=read_paper(document or _example(MEMO)),
        model=panel.RECORDED_MODEL if recorded else panel.LOCAL_MODEL,
        max_tokens=max_tokens,
        seed=seed,
        reset_agents=True,
        transcript=transcript_file(settings.data_dir / "transcripts", question),
    )
    Session(wish).run_here(settings, "arena demo", variables)


def demo_settings(settings: Settings, *, local_model: str = "on") -> Settings:
    """The same, but in a folder of its own and on engines of its own, whatever servers the environment names."""
    return settings.model_copy(
        update={
            "data_dir": settings.data_dir / "demo",
            "database": settings.database.model_copy(update={"database_url": None}),
            "redis": settings.redis.model_copy(update={"redis_url": None}),
            "models": settings.models.model_copy(update={"local_model": local_model}),
        }
    )


def _example(name: str) -> Path:
    """What is called so in `examples/`: inside the package where it was installed, beside it in a clone."""
    installed = Path(__file__).parents[1] / "examples" / name
    return installed if installed.exists() else Path(__file__).parents[3] / "examples" / name
