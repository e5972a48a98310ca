"""`arena doctor`: one line per check, what was found, and how to mend what is not well."""

import asyncio
from contextlib import nullcontext

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.doctor_engines import check_engines
from app.cli.doctor_machine import Finding, check_machine
from app.config import Settings, load_settings
from app.core.logging import configure_logging
from app.engines.data_folder import FolderLock, find_holder

SIGNS = {"ok": ("✓ ok", "green"), "fail": ("✗ fail", "bold red"), "note": ("· note", "dim")}
FOLDER_CHECK = "Data folder"


def doctor() -> None:
    """Check everything that `arena serve` needs and say how to mend what is missing; exit code 1 if anything is."""
    settings = load_settings()
    quiet = settings.log.model_copy(update={"log_level": "ERROR"})
    configure_logging(quiet, "doctor")
    findings = asyncio.run(examine(settings))
    Console().print(_table(findings))
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(1)


async def examine(settings: Settings) -> list[Finding]:
    """Return all findings; engines are not asked where the data folder is of no use to them."""
    findings = check_machine(settings)
    if any(finding.check == FOLDER_CHECK and finding.state == "fail" for finding in findings):
        return [*findings, Finding("Engines", "note", "not checked: they need the data folder")]
    running = find_holder(settings.data_dir) is not None
    with nullcontext() if running else FolderLock(settings.data_dir, "arena doctor"):
        return [*findings, *await check_engines(settings, running=running)]


def _table(findings: list[Finding]) -> Table:
    table = Table(title="arena doctor", title_justify="left")
    table.add_column("Check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("Found", overflow="fold")
    table.add_column("How to mend it", overflow="fold")
    for finding in findings:
        sign, style = SIGNS[finding.state]
        table.add_row(finding.check, Text(sign, style=style), Text(finding.found), Text(finding.mend))
    return table
