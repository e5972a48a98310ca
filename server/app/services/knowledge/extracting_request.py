"""How a model is asked to fill in a form from a part of a document, within what it can hold."""

from collections.abc import Sequence

from app.core.errors import Invalid
from app.core.json_schema import Schema
from app.domain.extracting import Piece, extracting_prompt
from app.services.model import Model
from app.services.prompts import PROMPT_MARGIN_TOKENS, prompt_tokens
from app.services.providers.base import ChatRequest
from app.services.structured import say_schema

REPLY_TOKENS = 4_000
MOST_TEXT_TOKENS = 12_000
"""Of one call: in more text models overlook more."""
LEAST_TEXT_TOKENS = 400
"""A chunk has about 300."""
MENDING_SHARE = 0.3
"""Of the reply, that a second try shows again with what is wrong with it."""


class FormTooLong(Invalid):
    """Beside the schema, the model has no room for a document."""

    code = "schema_too_long"


def extracting_request(
    model: Model, title: str, instructions: str | None, pieces: Sequence[Piece], schema: Schema
) -> ChatRequest:
    """`schema` is that of the answer."""
    form = schema.document["properties"]["value"]
    return ChatRequest(
        model=model.wire_name,
        messages=extracting_prompt(title, instructions, pieces, form),
        max_tokens=_reply_tokens(model),
        temperature=0.0,
    )


def room_for_text(model: Model, schema: Schema, instructions: str | None) -> int:
    """Tokens of a document that one call can show; raise `FormTooLong` if there is no room for a chunk."""
    bare = say_schema(extracting_request(model, "x" * 200, instructions, [], schema), schema)
    taken = prompt_tokens(bare) + PROMPT_MARGIN_TOKENS
    room = model.context_tokens - int(_reply_tokens(model) * (1 + MENDING_SHARE)) - taken
    if room < LEAST_TEXT_TOKENS:
        raise FormTooLong(
            f"{model.name} holds {model.context_tokens} tokens, of which the schema leaves too few for a document:"
            " shorten it, or name another model",
            "schema",
        )
    return min(room, MOST_TEXT_TOKENS)


def _reply_tokens(model: Model) -> int:
    return min(REPLY_TOKENS, model.context_tokens // 4)
