"""What a call may cost at worst, and how it is made to fit what a limit leaves."""

from collections.abc import Callable

from app.core.errors import Invalid
from app.domain.discussion import EndReason
from app.domain.limits import Left, Spending
from app.services.ai_models import Model
from app.services.prompts import prompt_tokens
from app.services.providers.base import ChatRequest

LEAST_REPLY_TOKENS = 32
LEAST_PROMPT_TOKENS = 128
CLOSING_REPLY_TOKENS, CLOSING_PROMPT_TOKENS = 128, 384
"""Of a short last turn: enough for most personas and what was said last."""
SHRINKS = 6
SHRINK = 0.8

Make = Callable[[int, int | None], ChatRequest]
"""A request with a reply of so many tokens and a prompt of at most so many; None: as the model's context allows."""


class NoRoom(Invalid):
    """Not even a short call fits what the limits leave; `reason` names the limit."""

    code = "no_room"

    def __init__(self, reason: EndReason) -> None:
        super().__init__(f"{reason} leaves no room for a call")
        self.reason = reason


def worst_case(model: Model, request: ChatRequest, more_tokens: int = 0) -> Spending:
    """What the call may use: its whole prompt, as estimated, with so many tokens more, and the longest reply."""
    prompt, reply = prompt_tokens(request) + more_tokens, request.max_tokens or 0
    return Spending(tokens=prompt + reply, cost_usd=model.cost_usd(prompt, reply))


def fit(model: Model, make: Make, reply_tokens: int, left: Left | None) -> ChatRequest:
    """The whole request, or the largest of use that fits what is left; raise `NoRoom` where there is none.

    Never returns one whose worst case is more than what is left.
    """
    whole = make(reply_tokens, None)
    reason = left.lacks(worst_case(model, whole)) if left is not None else None
    if left is None or reason is None:
        return whole
    whole_prompt = prompt_tokens(whole)
    reply_tokens = _shorter(model, left, reply_tokens, whole_prompt)
    room = _prompt_room(model, left, reply_tokens)
    if whole_prompt <= room:
        request = make(reply_tokens, None)
        if left.lacks(worst_case(model, request)) is None:
            return request
    for _ in range(SHRINKS):
        if room < LEAST_PROMPT_TOKENS:
            break
        request = make(reply_tokens, room)
        if left.lacks(worst_case(model, request)) is None:
            return request
        room = int(room * SHRINK)
    raise NoRoom(reason)


def _shorter(model: Model, left: Left, reply_tokens: int, whole_prompt: int) -> int:
    """Halve the reply until the prompt, or one twice as long as it, fits beside it, or it is as short as is of use."""
    while reply_tokens > LEAST_REPLY_TOKENS:
        if _prompt_room(model, left, reply_tokens) >= min(whole_prompt, max(LEAST_PROMPT_TOKENS, 2 * reply_tokens)):
            break
        reply_tokens = max(reply_tokens // 2, LEAST_REPLY_TOKENS)
    return reply_tokens


def _prompt_room(model: Model, left: Left, reply_tokens: int) -> int:
    """The longest prompt that fits beside such a reply."""
    rooms = [] if left.tokens is None else [left.tokens - reply_tokens]
    price = model.cost_usd(1, 0)
    if left.cost_usd is not None and price > 0:
        rooms.append(int((left.cost_usd - model.cost_usd(0, reply_tokens)) / price))
    # Without a price of prompts, what is left of dollars bounds the reply alone.
    return min(rooms, default=LEAST_PROMPT_TOKENS)
