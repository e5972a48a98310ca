"""The `arena` command: one module per command, imported only when it runs, so that each process stays small."""

import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from pydantic import ValidationError

from app.core.errors import ArenaError

SERVING, ACCOUNTS, KEYS, AUDIT = "Commands", "user", "keys", "audit"
GROUPS = {
    ACCOUNTS: "Accounts.",
    KEYS: "Keys of access tokens, and what the secret key seals.",
    AUDIT: "The audit log.",
}
# name: (module, function, group, whether --help shows it)
COMMANDS: dict[str, tuple[str, str, str, bool]] = {
    "serve": ("serve", "serve", SERVING, True),
    "demo": ("demo", "demo", SERVING, True),
    "discuss": ("discuss", "discuss", SERVING, True),
    "doctor": ("doctor", "doctor", SERVING, True),
    "api": ("api", "api", SERVING, True),
    "worker": ("worker", "worker", SERVING, True),
    "migrate": ("migrate", "migrate", SERVING, True),
    "openapi": ("openapi", "openapi", SERVING, False),
    "check-migrations": ("check_migrations", "check_migrations", SERVING, False),
    "user create": ("users", "create", ACCOUNTS, True),
    "user list": ("accounts", "list_accounts", ACCOUNTS, True),
    "user disable": ("accounts", "disable", ACCOUNTS, True),
    "user enable": ("accounts", "enable", ACCOUNTS, True),
    "audit prune": ("audit", "prune", AUDIT, True),
    "user bootstrap": ("users", "bootstrap", ACCOUNTS, False),
    "keys list": ("keys", "list_keys", KEYS, True),
    "keys rotate": ("keys", "rotate", KEYS, True),
    "keys reseal": ("keys", "reseal", KEYS, True),
}


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command line, with only the command asked for when it is clear which that is."""
    options: dict[str, Any] = {"no_args_is_help": True, "add_completion": False, "pretty_exceptions_enable": False}
    app = typer.Typer(
        name="arena", help="Discussion Arena: discussions between LLM agents, humans and external programs.", **options
    )
    targets = {SERVING: app}
    app.callback()(_keep_subcommands)
    for group, sentence in GROUPS.items():
        targets[group] = typer.Typer(help=sentence, **options)
        targets[group].callback()(_keep_subcommands)
        app.add_typer(targets[group], name=group)
    asked = {" ".join(arguments[:1]), " ".join(arguments[:2])} & set(COMMANDS)
    for name in asked or COMMANDS:
        module, function, group, is_shown = COMMANDS[name]
        command = getattr(import_module(f"app.cli.{module}"), function)
        targets[group].command(name.rpartition(" ")[2], hidden=not is_shown)(command)
    return app


def _keep_subcommands() -> None:
    """Without a callback Typer makes a lone command the program itself."""


def run() -> None:
    """Run the command; an expected failure is one sentence on stderr and exit code 1."""
    try:
        command_line = build(sys.argv[1:])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        command_line()
    except ArenaError as error:
        print(f"arena: {error.detail}", file=sys.stderr)
        sys.exit(1)
    except ValidationError as error:
        for fault in error.errors():
            name = "ARENA_" + "_".join(str(part) for part in fault["loc"]).upper()
            print(f"arena: {name}: {fault['msg'].removeprefix('Value error, ')}", file=sys.stderr)
        sys.exit(1)
