"""Answers of a given form: asked for, read leniently, held against their schema, and mended once."""

import re
from dataclasses import dataclass, replace
from typing import Any

import orjson

from app.core.errors import DependencyFailed
from app.core.json_schema import Schema
from app.domain.prompt import ChatMessage
from app.domain.usage import NOTHING, Took, Used
from app.services.asking import Answer, ask
from app.services.model import Model
from app.services.providers.base import ChatRequest, ModelError

_FENCED = re.compile(r"```[\w-]*\s*\n(.*?)\n?\s*```", re.DOTALL)
MOST_ECHOED_CHARACTERS = 8_000
"""Of an answer that does not fit, when the model is shown it."""


class AnswerUnfit(DependencyFailed):
    """The model gave no answer of the form that was asked for, twice; `used` is what both took."""

    code = "answer_unfit"

    def __init__(self, detail: str, *, text: str = "", used: Used = NOTHING) -> None:
        super().__init__(detail)
        self.text = text
        self.used = used


@dataclass(frozen=True, slots=True)
class Structured:
    """An answer that fits its schema: its `value`, the `text` it was read from, and what all tries took."""

    value: Any
    text: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    finish_reason: str = "stop"


class _NoJson(ValueError):
    """There is no JSON in the text."""


async def ask_structured(
    model: Model, request: ChatRequest, schema: Schema, seconds: float | None = None
) -> Structured:
    """The model's answer in the schema's form; raise a `ModelError` or `AnswerUnfit`, both saying what was used.

    A model that takes a `response_schema` is given it, another one is told of it in the prompt. An answer that does not
    fit is shown to the model once, with its faults. `seconds` are for each call.
    """
    tries = _Tries(model, schema, seconds)
    answer = await tries.ask(request)
    value, faults = read_answer(answer.text, schema)
    if faults:
        answer = await tries.ask(mending(request, schema, answer.text, faults))
        value, faults = read_answer(answer.text, schema)
    if faults:
        raise AnswerUnfit(
            f"the model's answer does not fit the schema: {'; '.join(faults[:3])}", text=answer.text, used=tries.used
        )
    used = tries.used
    return Structured(
        value, answer.text, used.prompt_tokens, used.completion_tokens, used.cost_usd, answer.finish_reason
    )


def read_answer(text: str, schema: Schema) -> tuple[Any, list[str]]:
    """The value in the text, and what is wrong with it; None and a fault where there is none."""
    try:
        value = _value_in(text)
    except _NoJson:
        return None, ["/: the answer is no JSON"]
    return value, schema.faults(value)


def say_schema(request: ChatRequest, schema: Schema) -> ChatRequest:
    """The request with the schema told in words, in its first system message."""
    told = "Answer with one JSON value and nothing else, that fits this JSON Schema:\n" + _text_of(schema)
    first, *others = request.messages
    if first.role == "system":
        return replace(request, messages=[replace(first, content=f"{first.content}\n\n{told}"), *others])
    return replace(request, messages=[ChatMessage("system", told), *request.messages])


class _Tries:
    """The calls for one answer, and what they took together."""

    def __init__(self, model: Model, schema: Schema, seconds: float | None) -> None:
        self._model = model
        self._schema = schema
        self._seconds = seconds
        self.used = NOTHING

    async def ask(self, request: ChatRequest) -> Answer:
        """Ask with the schema; where the model has just refused to be given one, again with the schema in words."""
        if self._refuses_schemas:
            return await self._call(say_schema(request, self._schema))
        answer = await self._call(replace(request, response_schema=self._schema.document))
        if self._refuses_schemas and read_answer(answer.text, self._schema)[1]:
            return await self._call(say_schema(request, self._schema))
        return answer

    @property
    def _refuses_schemas(self) -> bool:
        return self._model.refuses("response_schema", self._schema.document)

    async def _call(self, request: ChatRequest) -> Answer:
        try:
            answer = await ask(self._model, request, self._seconds)
        except ModelError as error:
            error.used = _sum(self.used, error.used)
            raise
        self.used = _sum(self.used, answer)
        return answer


def mending(request: ChatRequest, schema: Schema, text: str, faults: list[str]) -> ChatRequest:
    """The request again, with the answer that does not fit and its faults."""
    listed = "\n".join(f"- {fault}" for fault in faults)
    wish = (
        f"That does not fit. What is wrong:\n{listed}\nAnswer again with the JSON value alone, that fits this JSON"
        f" Schema:\n{_text_of(schema)}"
    )
    answered = ChatMessage("assistant", text[:MOST_ECHOED_CHARACTERS] or "(nothing)")
    return replace(request, messages=[*request.messages, answered, ChatMessage("user", wish)])


def _text_of(schema: Schema) -> str:
    return orjson.dumps(schema.document).decode()


def _value_in(text: str) -> Any:
    """Read the text as JSON, else what a fence holds, else from the first bracket to the last that can be its end."""
    candidates = [text, *_FENCED.findall(text)]
    for opening, closing in (("{", "}"), ("[", "]")):
        begin, end = text.find(opening), text.rfind(closing)
        if 0 <= begin < end:
            candidates.append(text[begin : end + 1])
    for candidate in candidates:
        try:
            return _storable(orjson.loads(candidate))
        except (orjson.JSONDecodeError, RecursionError):
            continue
    raise _NoJson


def _storable(value: Any) -> Any:
    """Without NUL characters, which PostgreSQL cannot hold."""
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, list):
        return [_storable(one) for one in value]
    if isinstance(value, dict):
        return {name.replace("\x00", ""): _storable(one) for name, one in value.items()}
    return value


def _sum(one: Took, other: Took) -> Used:
    return Used(
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        one.cost_usd + other.cost_usd,
    )
