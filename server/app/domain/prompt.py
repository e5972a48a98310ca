"""The messages a model is given."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a prompt. Other participants' words are always `user`."""

    role: Role
    content: str
