"""The form that an agent's messages are to have, where it has a `response_schema`."""

from dataclasses import dataclass, replace
from typing import Any

from app.core.json_schema import Schema, compile_schema
from app.domain.context import estimate_tokens
from app.domain.prompt import Prompt
from app.domain.usage import Used
from app.services.model import Model
from app.services.prompts import sources_shown
from app.services.providers.base import ChatRequest, ModelError
from app.services.structured import MOST_ECHOED_CHARACTERS, mending, read_answer, say_schema

ROOM_TOKENS = 200
"""For the words around a schema and what is wrong with an answer."""


class DoesNotFitSchema(ModelError):
    """The message is not of the form that its agent asks for; `text` is what was said."""

    code = "does_not_fit_schema"

    def __init__(self, text: str, faults: list[str], used: Used) -> None:
        super().__init__(f"the message does not fit the agent's response_schema: {'; '.join(faults[:3])}")
        self.text = text
        self.faults = faults
        self.used = used


@dataclass(slots=True)
class Structure:
    """The form of one agent's messages; `unfit` is the one of the open turn that is to be mended."""

    schema: Schema
    tokens: int
    unfit: DoesNotFitSchema | None = None

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Structure":
        schema = compile_schema(document)
        return cls(schema, estimate_tokens(str(document)) + ROOM_TOKENS)

    @property
    def room(self) -> int:
        """Tokens that it adds to a prompt at most."""
        echoed = estimate_tokens(self.unfit.text[:MOST_ECHOED_CHARACTERS]) + self.tokens if self.unfit else 0
        return self.tokens + echoed

    def wanted_of(self, model: Model, request: ChatRequest) -> ChatRequest:
        """The request with the form, and with what is to be mended."""
        if self.unfit is not None:
            mended = mending(request, self.schema, self.unfit.text, self.unfit.faults)
            request = replace(mended, messages=Prompt(mended.messages, sources_shown(request)))
        if model.refuses("response_schema", self.schema.document):
            return self.in_words(request)
        return replace(request, response_schema=self.schema.document)

    def in_words(self, request: ChatRequest) -> ChatRequest:
        """For a model that takes no schema."""
        told = say_schema(replace(request, response_schema=None), self.schema)
        return replace(told, messages=Prompt(told.messages, sources_shown(request)))

    def parse(self, text: str, used: Used) -> Any:
        """The value of a message; raise `DoesNotFitSchema`."""
        value, faults = read_answer(text, self.schema)
        if faults:
            raise DoesNotFitSchema(text, faults, used)
        return value
