"""`arena discuss`: a panel on a topic of one's own, on this machine or on a running server."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from app.cli import panel
from app.cli.conversation import sentence, transcript_file
from app.cli.papers import read_paper
from app.cli.session import Session, Wish
from app.config import Settings, load_settings
from app.core.errors import StartupFailed
from app.engines import data_folder
from arena_client import ArenaClient, ArenaError

TOKEN_VARIABLE = "ARENA_TOKEN"  # noqa: S105  its name


def discuss(
    topic: Annotated[str, typer.Argument(help="The question to discuss.", show_default=False)],
    agents: Annotated[
        str, typer.Option(help=f"Handles of your agents, or built-in personas ({', '.join(panel.BUILT_IN)}).")
    ] = ",".join(panel.DEFAULT),
    document: Annotated[
        Path | None, typer.Option(help="A file that it is about: text, Markdown, PDF, Word, HTML …", show_default=False)
    ] = None,
    turns: Annotated[int, typer.Option(help="How many turns the discussion has.", min=1, max=10_000)] = 6,
    model: Annotated[
        str | None, typer.Option(help="The built-in personas' model, such as openai/<name>.", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Their longest reply, in tokens.", min=1, max=32_000, show_default=False)
    ] = None,
    url: Annotated[str | None, typer.Option(help="A running server; else one is started here.")] = None,
    email: Annotated[str | None, typer.Option(help="Your account on that server.", show_default=False)] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read its password from stdin.")] = False,
    output: Annotated[Path | None, typer.Option(help="Where to write the transcript.", show_default=False)] = None,
) -> None:
    """Let a panel of agents discuss TOPIC, live, and keep the transcript.

    --agents takes handles, separated by commas. A built-in persona becomes an agent of the workspace when it is first
    asked for; an agent of yours goes before a built-in persona of the same handle.

    Without --url, the product is started on this machine for as long as the discussion lasts, on the data folder that
    `arena serve` uses, and the transcript goes to ARENA_DATA_DIR/transcripts. With --url, the discussion is held on a
    running server: log in with ARENA_TOKEN (an access token or API key) in the environment, or with --email; the
    password is asked for, or read with --password-stdin. Ctrl-C ends the discussion.
    """
    settings = load_settings()
    wish = Wish(
        topic=topic.strip(),
        agents=_handles(agents),
        turns=turns,
        base="Discussed documents",
        paper=read_paper(document) if document else None,
        model=model,
        max_tokens=max_tokens,
        transcript=_writable(output),
    )
    if not wish.topic:
        raise StartupFailed("the topic is empty: say what is to be discussed")
    if url is not None:
        Session(wish).run_there(_log_in(url, email, password_stdin))
        return
    _refuse_beside_a_server(settings)
    transcript = wish.transcript or transcript_file(settings.data_dir / "transcripts", wish.topic)
    Session(replace(wish, transcript=transcript)).run_here(settings, "arena discuss", {})


def _handles(agents: str) -> tuple[str, ...]:
    handles = tuple(name.strip().lstrip("@").lower() for name in agents.split(",") if name.strip())
    if not handles:
        raise StartupFailed(f"--agents names nobody: give handles such as {','.join(panel.DEFAULT)}")
    if len(set(handles)) < len(handles):
        raise StartupFailed("--agents names somebody twice: each agent has one seat")
    return handles


def _writable(output: Path | None) -> Path | None:
    """`output`, refused before anything is started if it cannot be written at the end."""
    if output is None:
        return None
    if output.is_dir():
        raise StartupFailed(f"the transcript cannot be written to {output}: it is a folder")
    place = output if output.exists() else output.absolute().parent
    if not os.access(place, os.W_OK):
        raise StartupFailed(f"the transcript cannot be written to {output}: {place} is missing or not writable")
    return output


def _refuse_beside_a_server(settings: Settings) -> None:
    holder = data_folder.find_holder(settings.data_dir)
    if holder is not None and holder.command == "arena serve":
        address = f"http://{settings.server.host}:{settings.server.port}"
        raise StartupFailed(
            f"`arena serve` (pid {holder.pid}) is running on {settings.data_dir}: hold the discussion there, "
            f"with --url {address} (or the URL that it printed) and --email"
        )


def _log_in(url: str, email: str | None, password_stdin: bool) -> ArenaClient:
    """A client of that server; asks for what it is not given, where there is somebody to ask."""
    if not url.startswith(("http://", "https://")):
        raise StartupFailed(f"--url must begin with http:// or https://, as in http://{url.partition('://')[2] or url}")
    token = os.environ.get(TOKEN_VARIABLE)
    if token and not email:
        return ArenaClient(url, token)
    if email is None and not sys.stdin.isatty():
        raise StartupFailed(f"who are you on {url}? Set {TOKEN_VARIABLE}, or give --email and --password-stdin")
    address = email or typer.prompt("Email")
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else _ask_password()
    client = ArenaClient(url)
    try:
        client.login(address, password)
    except ArenaError as error:
        client.close()
        raise StartupFailed(f"cannot log in to {url}: {sentence(error)}") from None
    return client


def _ask_password() -> str:
    if not sys.stdin.isatty():
        raise StartupFailed("there is nobody to ask for the password: give it on stdin, with --password-stdin")
    password: str = typer.prompt("Password", hide_input=True)
    return password
