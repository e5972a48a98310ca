"""A chat model behind its provider's circuit breakers and caps."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from app.services.providers.base import ChatModel, ChatRequest, Finished, TextDelta, on_begin
from app.services.providers.breaker import Breakers
from app.services.providers.caps import Caps


class GuardedModel:
    """Fails at once with `ModelCircuitOpen` while the breaker is open, and with `ModelBusy` if no slot comes free."""

    def __init__(self, inner: ChatModel, breakers: Breakers, caps: Caps) -> None:
        self._inner = inner
        self._breakers = breakers
        self._caps = caps

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        self._breakers.refuse(request.model)  # before it waits for a slot that it may not use
        async with self._caps.slot():
            begin = on_begin.get()
            if begin is not None:
                begin()
            with self._breakers.watching(request.model) as call:
                async with aclosing(self._inner.stream(request)) as items:
                    item = await anext(items)
                    call.answered()
                    yield item
                    async for item in items:
                        yield item
                call.succeeded()

    async def close(self) -> None:
        await self._inner.close()
