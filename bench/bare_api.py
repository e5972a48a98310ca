"""Bare FastAPI routes: what ours are held against.

One gives the bytes of a file, one what our `GET /formats` gives. No account, no database, no limits, no log: the
framework, and uvicorn with our settings.
"""

import argparse
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response

from app.cli.api import PROTOCOLS
from app.schemas.base import Page
from app.schemas.policies import FormatRead
from app.services.formats import list_formats


def make_app(folder: Path) -> FastAPI:
    app = FastAPI(openapi_url=None)
    bodies = {path.stem: path.read_bytes() for path in folder.glob("*.json")}

    @app.get("/bare/formats")
    async def formats() -> Page[FormatRead]:
        return list_formats()

    @app.get("/bare/{name}")
    async def give(name: str, limit: int = 50) -> Response:
        return Response(bodies[name], media_type="application/json")

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="Bare FastAPI routes, beside ours.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    config = {**PROTOCOLS, "http": "httptools"}
    uvicorn.run(
        make_app(options.folder),
        port=options.port,
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        **config,
    )


if __name__ == "__main__":
    main()
