"""`arena openapi`: the API's description as a file."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.config import load_settings
from app.core.errors import StartupFailed
from app.main import create_app


def openapi(
    path: Annotated[Path, typer.Argument(help="The file to write or compare.")],
    check: Annotated[bool, typer.Option("--check", help="Only say whether the file is up to date.")] = False,
) -> None:
    """Write the OpenAPI document made from the code."""
    document = json.dumps(create_app(load_settings()).openapi(), indent=2, ensure_ascii=False) + "\n"
    if not check:
        path.write_text(document, encoding="utf-8")
        print(f"wrote {path}")
    elif not path.exists() or path.read_text(encoding="utf-8") != document:
        raise StartupFailed(f"{path} is not what the code says: run `make openapi` and commit it")
    else:
        print(f"{path} is up to date")
