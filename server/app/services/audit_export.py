"""The audit log as files: lines of JSON, or a table that is safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable

import orjson

from app.schemas.audit import AuditEventRead

COLUMNS = tuple(AuditEventRead.model_fields)
# What makes a spreadsheet take a cell for a formula (OWASP, CSV injection).
_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_ndjson(events: Iterable[AuditEventRead]) -> bytes:
    return b"".join(event.model_dump_json().encode() + b"\n" for event in events)


def as_csv(events: Iterable[AuditEventRead]) -> bytes:
    """The rows without the heading (RFC 4180)."""
    return _csv(map(_row, events))


def csv_heading() -> bytes:
    return _csv([COLUMNS])


def _row(event: AuditEventRead) -> list[str]:
    values = event.model_dump(mode="json")
    values["detail"] = orjson.dumps(event.detail).decode()
    return ["" if values[name] is None else safe_cell(str(values[name])) for name in COLUMNS]


def safe_cell(text: str) -> str:
    """The text so that no spreadsheet computes it."""
    return f"'{text}" if text.startswith(_BEGINS_FORMULA) else text


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()
