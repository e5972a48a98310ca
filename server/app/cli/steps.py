"""What a command is busy with before it has anything to show, each step with the time it took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from app.cli.live_view import is_watched


class Steps:
    """Several steps may run at once; on a terminal they are shown while they last."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._running: dict[str, float] = {}
        self._told: dict[str, str] = {}
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._render, console=console, transient=True) if is_watched(console) else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal to others; what is done stays to be read."""
        if self._live:
            self._live.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Show `name` as running, then as done with its seconds; a step that fails says nothing, its error will.

        What is given may be called with how far it is.
        """
        began = self._running[name] = time.monotonic()
        try:
            yield partial(self._told.__setitem__, name)
        finally:
            del self._running[name]
            self._told.pop(name, None)
        self._done(name, time.monotonic() - began)

    def busy(self, name: str) -> None:
        """Show `name` as running until `close`, and do not mention it afterwards."""
        self._running[name] = time.monotonic()
        if self._live:
            self._live.start()

    def _done(self, name: str, seconds: float) -> None:
        line = Text("  ")
        if self._live:
            line.append("✓ ", style="green")
        line.append(f"{name:<32}").append(f"{seconds:5.1f} s", style="dim")
        self._console.print(line)

    def _render(self) -> RenderableType:
        rows = Table.grid(padding=(0, 1))
        now = time.monotonic()
        for name, began in list(self._running.items()):
            doing = f"{name} {self._told.get(name, '')}"
            rows.add_row(" ", self._spinner, Text(f"{doing:<32}"), Text(f"{now - began:4.1f} s", style="dim"))
        return rows
