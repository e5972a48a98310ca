"""What all wire types share: strictness, text that PostgreSQL can hold, pages and problems."""

import unicodedata
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    model_validator,
)

from app.core.clock import rfc3339

T = TypeVar("T")


def storable(text: str) -> str:
    """The text, if UTF-8 and PostgreSQL have such a one; JSON has more."""
    if "\x00" in text:
        raise ValueError("text must not contain the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("text must not contain half a surrogate pair") from None
    return text


def on_one_line(text: str) -> str:
    # A name with a line break could pass for something else in a transcript or a prompt; so could one that reverses
    # what follows it.
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} or character in _REVERSING for character in text):
        raise ValueError("must be one line without control characters")
    return text


_REVERSING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


Text = Annotated[str, AfterValidator(storable)]
"""Any text that can be kept."""

# On `Text` the lengths would be checked before the trimming.
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(storable),
    AfterValidator(on_one_line),
    Field(json_schema_extra={"pattern": r"\S"}),  # more than blanks
]
"""A name or title: one line of 1 to 200 characters after trimming."""

Moment = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""RFC 3339, UTC."""


def _spelled_out(value: object) -> object:
    # A bare number would be taken for the seconds since 1970.
    if isinstance(value, int | float) or (isinstance(value, str) and "-" not in value[1:]):
        raise ValueError("must be a time as RFC 3339 has it, such as 2026-01-31T12:00:00Z")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_spelled_out)]
"""A time that a caller gives: RFC 3339, in whichever zone."""


class Request(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Change(Request):
    """A request body of which only the fields given change something; `may_be_null` names those that null empties."""

    may_be_null: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _the_others_stay(cls, data: Any) -> Any:
        for name, value in data.items() if isinstance(data, dict) else ():
            if value is None and name not in cls.may_be_null:
                raise ValueError(f"{name} must not be null; leave it out to keep it")
        return data


class Read(BaseModel):
    """A response body."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Page(Read, Generic[T]):
    """A page of a list; `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None = None


class FieldProblem(Read):
    """One fault of a request."""

    loc: list[str | int] = Field(description="Where: `body`, `query`, `path` or `header`, then the path inside.")
    msg: str
    type: str


class Problem(Read):
    """An error (RFC 9457); `code` is stable, `detail` is for people."""

    type: str = Field(examples=["/errors/not_found"])
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None


Json = dict[str, Any]
