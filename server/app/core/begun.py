"""Coroutines begun without a task: most sends are done at once, and a task's turn costs more than the send."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any

_DONE = object()


def begin(coroutine: Coroutine[Any, Any, object]) -> "Begun | None":
    """Run the coroutine until it is done (None) or waits for something; then some task has to await what is given."""
    try:
        waited_for = coroutine.send(None)
    except StopIteration:
        return None
    return Begun(coroutine, waited_for)


class Begun:
    """What is left of a coroutine. It goes on as if the task that awaits it had run it from the start (PEP 492)."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], waited_for: object) -> None:
        self._coroutine = coroutine
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, Any, None]:
        waited_for = self._waited_for
        while True:
            try:
                answer = yield waited_for
            except BaseException as error:
                waited_for = self._step(self._coroutine.throw, error)
            else:
                waited_for = self._step(self._coroutine.send, answer)
            if waited_for is _DONE:
                return

    @staticmethod
    def _step(go_on: Callable[[Any], object], argument: object) -> object:
        try:
            return go_on(argument)
        except StopIteration:
            return _DONE

    def close(self) -> None:
        """Give it up."""
        self._coroutine.close()
