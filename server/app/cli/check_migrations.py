"""`arena check-migrations`: whether the migrations make exactly the tables that the code declares."""

import asyncio
import os
import tempfile
from pathlib import Path

from alembic import command
from alembic.util import CommandError

from app.cli.migrate import alembic_config
from app.config import DatabaseSettings, RedisSettings, Settings
from app.core.errors import StartupFailed
from app.engines.stack import Engines


def check_migrations() -> None:
    """Run `alembic check` on a fresh embedded database, after going up, down and up again."""
    with tempfile.TemporaryDirectory(prefix="arena-check-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        asyncio.run(_check(Path(folder) / "data"))
    print("the migrations go up and down and match the tables in the code")


async def _check(data_dir: Path) -> None:
    # Whatever database the environment names is not ours to take down.
    settings = Settings(
        data_dir=data_dir, database=DatabaseSettings(database_url=None), redis=RedisSettings(redis_url=None)
    )
    async with Engines(settings, model=False) as environment:
        os.environ.update(environment)
        try:
            for target in ("upgrade", "downgrade", "upgrade", "check"):
                await asyncio.to_thread(_run, target)
        except CommandError as error:
            raise StartupFailed(f"the migrations and the tables in the code differ: {error}") from None


def _run(target: str) -> None:
    config = alembic_config()
    if target == "upgrade":
        command.upgrade(config, "head")
    elif target == "downgrade":
        command.downgrade(config, "base")
    else:
        command.check(config)
