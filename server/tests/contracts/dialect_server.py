"""A fake provider that speaks a dialect, scripted by the scenarios of the contract."""

from dataclasses import dataclass, replace
from typing import Any

import orjson

from app.services.providers.base import ChatModel
from bench import fake_wire as wire
from bench.fake_behaviour import reply_text
from bench.fake_model import Chat, FakeModelServer, Recorded
from tests.contracts.chat_model import Scenario
from tests.contracts.dialects import Dialect
from tests.contracts.fake_provider import KEY, NAMES


class DialectServer(FakeModelServer):
    """Its models are the scenarios, as names that every protocol can carry."""

    def __init__(self, dialect: type[Dialect]) -> None:
        super().__init__()
        self._dialect = dialect
        self.stream_head = dialect.stream_head

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, head: bytes, body: bytes) -> wire.Answer:
        path = head.split(b" ", 2)[1].decode().partition("?")[0]
        if not path.endswith(self._dialect.path_end):
            return self._refuse(404, f"no such path: {path}")
        request = orjson.loads(body)
        script = NAMES[Scenario(self._dialect.model_of(path, request).removeprefix("fake-"))]
        chat = replace(self.read_chat(script, body), stream=True, max_tokens=self._dialect.max_tokens_of(request))
        chat.wants_usage = not chat.behaviour.no_usage
        lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in lines}
        self.requests.append(Recorded(path, headers, request, script, chat.ordinal))
        if chat.behaviour.status:
            key = f" {KEY}" if chat.behaviour.leak_key else ""
            return self._refuse(chat.behaviour.status, f"Scripted failure.{key}", chat.behaviour.retry_after)
        if chat.behaviour.context_tokens:
            return self._refuse(400, self._dialect.too_long)
        return self.steps(chat)

    def is_to_call(self, behaviour: Any, body: bytes) -> bool:
        return not self._dialect.has_results(orjson.loads(body))

    def chunks(self, chat: Chat) -> wire.Chunks:
        return self._dialect(chat.model, chat.behaviour)

    def _refuse(self, status: int, message: str, retry_after: str = "") -> bytes:
        body, headers = self._dialect.refusal(status, message)
        return wire.json_response(status, body, [*headers, *([("Retry-After", retry_after)] if retry_after else [])])


@dataclass
class DialectSubject:
    model: ChatModel
    server: DialectServer
    secret: str = KEY

    def name_of(self, scenario):
        return f"fake-{scenario}"

    def text_of(self, scenario, ordinal=0):
        return reply_text(NAMES[scenario], ordinal)

    def open_calls(self):
        return self.server.open_connections
