"""A discussion in the terminal: with colours and a progress bar, or as plain lines where nobody watches."""

import sys
import time
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from app.cli.live_follow import Said, Seat, View

REFRESHES_PER_SECOND = 15
WIDEST = 100
BAR_WIDTH = 28
CHARACTERS_PER_TOKEN = 4.6  # of English prose, until the first message tells


class ShownView(View, Protocol):
    """A view that holds the terminal while it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def make_console() -> Console:
    """Standard output; characters that its encoding lacks become question marks rather than an error."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="replace")
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def is_watched(console: Console) -> bool:
    """Whether a person sees this and the terminal can be drawn on."""
    return console.is_terminal and not console.is_dumb_terminal


def make_view(console: Console, turns: int) -> ShownView:
    return RichView(console, turns) if is_watched(console) else PlainView(console, turns)


class PlainView:
    """Lines for logs and pipes: no control codes, each word written when it comes."""

    def __init__(self, console: Console, turns: int) -> None:
        self._out = console.file
        self._turns = turns
        self._is_fresh = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def turn_begins(self, seat: Seat, turn: int) -> None:
        self._write(f"\n[{turn}/{self._turns}] {seat.name} (@{seat.handle}):\n")
        self._is_fresh = True

    def text(self, piece: str) -> None:
        self._write(piece.lstrip() if self._is_fresh else piece)
        self._is_fresh = self._is_fresh and not piece.strip()

    def turn_begins_again(self, seat: Seat, turn: int, reason: str) -> None:
        self._write(f"\n(interrupted: {reason}; the turn begins again)\n")
        self.turn_begins(seat, turn)

    def turn_ends(self, seat: Seat, turn: int, said: Said) -> None:
        self._write(f"\n  ({figures(said)})\n" if figures(said) else "\n")

    def aside(self, seat: Seat, text: str) -> None:
        self._write(f"\n{seat.name} (@{seat.handle}), aside:\n{text.strip()}\n")

    def failed(self, detail: str) -> None:
        self._write(f"\nThe turn failed: {detail}\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class RichView:
    """What was said scrolls away above; below it, who is speaking and how far the discussion is."""

    def __init__(self, console: Console, turns: int) -> None:
        self._console = console
        self._turns = turns
        self._seat: Seat | None = None
        self._turn = 0
        self._text = ""
        self._text_since = 0.0
        self._characters_per_token = CHARACTERS_PER_TOKEN
        self._spinner = Spinner("dots")
        self._live = Live(
            get_renderable=self._render,
            console=console,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def turn_begins(self, seat: Seat, turn: int) -> None:
        self._seat, self._turn, self._text = seat, turn, ""

    def text(self, piece: str) -> None:
        if not self._text:
            self._text_since = time.monotonic()
        self._text += piece

    def turn_begins_again(self, seat: Seat, turn: int, reason: str) -> None:
        self._console.print(Text(f"interrupted: {reason}; the turn begins again", style="yellow"))
        self.turn_begins(seat, turn)

    def turn_ends(self, seat: Seat, turn: int, said: Said) -> None:
        if said.tokens and said.text:
            self._characters_per_token = len(said.text) / said.tokens
        self._seat, self._text = None, ""
        self._console.print(self._box(seat, turn, Text(said.text.strip()), figures(said)))

    def aside(self, seat: Seat, text: str) -> None:
        self._console.print(self._box(seat, None, Text(text.strip()), ""))

    def failed(self, detail: str) -> None:
        self._seat = None
        self._console.print(Text(f"The turn failed: {detail}", style="red"))

    def _box(self, seat: Seat, turn: int | None, content: RenderableType, subtitle: str) -> Panel:
        title = Text(f" {seat.name} ", style=f"bold {seat.color}")
        title.append(f"turn {turn}/{self._turns} " if turn else "aside ", style="dim")
        return Panel(
            content,
            title=title,
            title_align="left",
            subtitle=Text(f" {subtitle} ", style="dim") if subtitle else None,
            subtitle_align="right",
            border_style=seat.color,
            padding=(0, 1),
            width=min(self._console.width, WIDEST),
        )

    def _render(self) -> RenderableType:
        seat = self._seat
        if seat is None:
            return self._status("")
        if not self._text.strip():
            self._spinner.update(text=Text("reads and thinks …", style="dim"))
            return Group(self._box(seat, self._turn, self._spinner, ""), self._status(""))
        said = Said(self._text, round(len(self._text) / self._characters_per_token), self._seconds())
        return Group(self._box(seat, self._turn, self._last_lines(), ""), self._status(figures(said)))

    def _seconds(self) -> float:
        return time.monotonic() - self._text_since

    def _last_lines(self) -> Text:
        """The end of the text, as much as the screen holds; all of it is printed once it is complete."""
        text = Text(self._text.strip())
        lines = text.wrap(self._console, min(self._console.width, WIDEST) - 4)
        room = max(3, self._console.height - 5)
        return Text("\n").join(lines[-room:])

    def _status(self, words: str) -> RenderableType:
        done = self._turn if self._seat is None else self._turn - 1
        row = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=self._turns, completed=done, width=BAR_WIDTH)
        row.add_row(bar, Text(f"{done}/{self._turns} turns"), Text(words, style="dim"))
        return row


def figures(said: Said) -> str:
    """`41 tokens, 38.2 tokens/s`, as far as it is known."""
    if not said.tokens:
        return ""
    speed = f", {said.tokens_per_second:.1f} tokens/s" if said.seconds >= 0.05 else ""
    return f"{said.tokens} tokens{speed}"
