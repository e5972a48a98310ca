"""What `help` and `inspect` show of methods that are made of operations."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args

C = TypeVar("C", bound=Callable[..., Any])

_SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)


def like(operation: Callable[..., Any], gives: Any = None) -> Callable[[C], C]:
    """Show a method as `operation` is, with a `self` before.

    The type it gives is what the operation is about (the T of a `Request[T]`), in `gives` if that is a container.
    """
    signature = inspect.signature(operation)
    about = get_args(signature.return_annotation)
    shown_type = gives if not about else about[0] if gives is None else gives[about[0]]
    parameters = [_SELF, *signature.parameters.values()]
    shown = signature.replace(parameters=parameters, return_annotation=shown_type)

    def dress(call: C) -> C:
        call.__name__, call.__doc__ = operation.__name__, operation.__doc__
        call.__signature__ = shown  # type: ignore[attr-defined]
        return call

    return dress
