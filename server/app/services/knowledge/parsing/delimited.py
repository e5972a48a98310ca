"""CSV: each row a paragraph of `column: value` lines, so that a row that is found says what it is about."""

import csv
import io
from itertools import islice

from app.services.knowledge.parsing.draft import Draft, clean, on_one_line

DELIMITERS = ",;\t|"
SAMPLE_ROWS = 50
SAMPLE_CHARACTERS = 64 * 1024


def read_csv(text: str, draft: Draft) -> None:
    """Write all rows under the names of the first if those are names; text without columns as it is."""
    text = clean(text)
    csv.field_size_limit(max(len(text), 1))
    delimiter = _delimiter(text)
    if delimiter is None:
        draft.write(text)
        return
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    first = [on_one_line(cell) for cell in next(rows, [])]
    if _are_names(first):
        names = first
    else:
        names = []
        _write_row(first, names, draft)
    for row in rows:
        _write_row(row, names, draft)
    if not draft.length:
        draft.write(text)


def _delimiter(text: str) -> str | None:
    """What parts rows into the most columns, nearly all rows into as many; None if nothing does."""
    sample = text[:SAMPLE_CHARACTERS]
    if len(text) > SAMPLE_CHARACTERS:
        sample = sample.rpartition("\n")[0] or sample
    best, most = None, 1
    for delimiter in DELIMITERS:
        rows = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, skipinitialspace=True)
        widths = [len(row) for row in islice(rows, SAMPLE_ROWS) if row]
        width = max(set(widths), key=widths.count, default=1)
        if width > most and widths.count(width) * 10 >= len(widths) * 7:
            best, most = delimiter, width
    return best


def _are_names(row: list[str]) -> bool:
    return bool(row) and all(row) and len(set(row)) == len(row) and not any(map(_is_number, row))


def _is_number(cell: str) -> bool:
    return bool(cell) and not cell.strip("0123456789.,+-%€$ ")


def _write_row(row: list[str], names: list[str], draft: Draft) -> None:
    lines = []
    for number, cell in enumerate(row):
        if value := on_one_line(cell):
            name = names[number] if number < len(names) else f"column {number + 1}"
            lines.append(f"{name}: {value}")
    draft.block("\n".join(lines))
