"""Accounts and sessions."""

from arena_client.models import User
from arena_client.request import Request, bare, fetch, submit
from arena_client.tokens import Tokens
from arena_client.wire import json_object


def register(email: str, password: str, display_name: str) -> Request[User]:
    """Make an account, where the server allows it; `login` is a step of its own."""
    return submit(User, "/auth/register", {"email": email, "password": password, "display_name": display_name})


def login(email: str, password: str) -> Request[Tokens]:
    """Trade a password for tokens."""
    form = {"grant_type": "password", "username": email, "password": password}
    return Request(
        "POST", "/auth/token", lambda answer: Tokens.granted(json_object(answer)), form=form, is_anonymous=True
    )


def logout() -> Request[None]:
    """End the session: its tokens, its streams and its sockets."""
    return bare("POST", "/auth/logout")


def me() -> Request[User]:
    """The account we act as."""
    return fetch(User, "/auth/me")
