"""Collections in BEIR's form (Thakur et al., 2021): documents, queries, and which documents are relevant to which."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FORM = "a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/test.tsv"
Qrels = Mapping[str, Mapping[str, int]]


class BadCollection(Exception):
    """Says which file, which line, and what is wrong with it."""


@dataclass(frozen=True)
class Collection:
    """`corpus`: title and text of each document; `qrels`: how relevant which documents are to each query."""

    corpus: Mapping[str, tuple[str, str]]
    queries: Mapping[str, str]
    qrels: Qrels


def read_collection(folder: Path) -> Collection:
    """Queries that no document is relevant to are left out, and documents without a word. Raise `BadCollection`."""
    qrels = _read_qrels(folder / "qrels" / "test.tsv")
    corpus = {key: (line["title"], line["text"]) for key, line in _read_texts(folder / "corpus.jsonl")}
    queries = {key: line["text"] for key, line in _read_texts(folder / "queries.jsonl") if key in qrels}
    if lacking := qrels.keys() - queries.keys():
        raise BadCollection(f"{folder / 'queries.jsonl'} lacks the query {min(lacking)!r}, which qrels/test.tsv judges")
    if not qrels or not corpus:
        raise BadCollection(f"{folder}: there is nothing to find: {'no document' if qrels else 'no relevant document'}")
    return Collection({key: words for key, words in corpus.items() if any(map(str.strip, words))}, queries, qrels)


def _read_texts(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The `_id` of each line, with its `title` and `text`, which are empty where they are missing."""
    seen = set()
    for number, row in _rows(path):
        try:
            line = json.loads(row)
            key, found = line["_id"], {name: line.get(name) or "" for name in ("title", "text")}
        except (ValueError, TypeError, LookupError, AttributeError):
            raise BadCollection(f"{path}, line {number}: this is no JSON object with an _id: {row[:60]!r}") from None
        if not all(isinstance(each, str) for each in (key, *found.values())):
            raise BadCollection(f"{path}, line {number}: _id, title and text must be strings")
        if key in seen:
            raise BadCollection(f"{path}, line {number}: the _id {key!r} was there before")
        seen.add(key)
        yield key, {name: _storable(text) for name, text in found.items()}


def _read_qrels(path: Path) -> Qrels:
    qrels: dict[str, dict[str, int]] = {}
    for number, row in _rows(path):
        columns = row.split("\t")
        if number == 1 and columns[-1:] == ["score"]:
            continue
        try:
            query, document, relevance = columns[0], columns[1], int(columns[2])
        except (ValueError, IndexError):
            raise BadCollection(
                f"{path}, line {number}: query, document and a whole number, with tabs between, not {row[:60]!r}"
            ) from None
        if relevance > 0:
            qrels.setdefault(query, {})[document] = relevance
    return qrels


def _rows(path: Path) -> Iterator[tuple[int, str]]:
    """Those that are not empty, with their numbers."""
    try:
        with path.open(encoding="utf-8", newline="\n") as rows:
            for number, row in enumerate(rows, start=1):
                if row.strip():
                    yield number, row.rstrip("\r\n")
    except OSError as error:
        raise BadCollection(f"{path}: {error.strerror or error}; {FORM}") from None
    except UnicodeDecodeError as error:
        raise BadCollection(f"{path} is not UTF-8: {error.reason}") from None


def _storable(text: str) -> str:
    """Without what no database keeps: NUL and halves of characters."""
    return text.encode(errors="replace").decode().replace("\0", " ")
