"""The process that reads one file: told by its standard input, answering on its standard output, and then gone.

What it promises its parent holds whatever the file does to the libraries that read it: before the first byte is looked
at its memory, its time on a processor and what it may write are limited by the kernel, and it dies with its parent;
before a reader is let loose it can open no file and no socket any more. It is told nothing of its parent's environment.
The limit of memory is kept by Linux alone.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from app.services.knowledge.parsing.decoding import decode
from app.services.knowledge.parsing.draft import Draft, is_blank
from app.services.knowledge.parsing.errors import FileHasNoText, FileTooComplex, Unreadable
from app.services.knowledge.parsing.media_types import CSV, DOCX, HTML, JSON, JSON_LINES, MARKDOWN, PDF, media_type_of
from app.services.knowledge.parsing.wire import Task, answer_of, task_of

DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
SIGKILL = 9


class _Reader(NamedTuple):
    """Where the function is that reads a type, and whether it takes text; modules are loaded when they are needed."""

    module: str
    function: str
    takes_text: bool = True


_READERS = {
    MARKDOWN: _Reader("markdown", "read_markdown"),
    HTML: _Reader("html", "read_html"),
    PDF: _Reader("pdf", "read_pdf", takes_text=False),
    DOCX: _Reader("docx", "read_docx", takes_text=False),
    CSV: _Reader("delimited", "read_csv"),
    JSON: _Reader("json_values", "read_json"),
    JSON_LINES: _Reader("json_values", "read_json_lines"),
}
_PLAIN = _Reader("markdown", "read_plain")


def main() -> None:
    """Read a task and a file, answer, and end."""
    source = sys.stdin.buffer
    task = task_of(source.readline())
    _confine(task)
    try:
        answer = _read(source.read(), task)
    except Unreadable as error:
        answer = answer_of({"code": error.code, "detail": error.detail})
    except (MemoryError, RecursionError):
        answer = answer_of({"code": FileTooComplex.code, "detail": None})
    except Exception as error:  # a hostile file makes libraries fail in ways that nobody has listed
        answer = answer_of({"code": Unreadable.code, "detail": None, "fault": _where(error)})
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


def _read(content: bytes, task: Task) -> bytes:
    media_type = media_type_of(content, task.file_name, task.declared)
    reader = _READERS.get(media_type, _PLAIN)
    read: Callable[..., None] = getattr(import_module(f"{__package__}.{reader.module}"), reader.function)
    draft = Draft(task.characters, max_pages=task.pages)
    subject = decode(content, task.declared) if reader.takes_text else content
    seal()
    read(subject, draft)
    text = draft.text
    if is_blank(text):
        raise FileHasNoText("no text is in the file; if it was scanned, run text recognition (OCR) and upload that")
    return answer_of(
        {
            "media_type": media_type,
            "title": draft.title,
            "page_starts": draft.page_starts,
            "headings": draft.headings,
        },
        text,
    )


def _where(error: Exception) -> str:
    """What failed and in which of our lines, without a word of the file."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} at {place}"


if sys.platform == "win32":

    def _confine(task: Task) -> None:
        """Nothing of the kind is there."""

    def seal() -> None:
        """Nothing of the kind is there."""

else:
    import resource

    def _confine(task: Task) -> None:
        if sys.platform == "linux":
            _die_with_parent()
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, 0)
        _limit(resource.RLIMIT_CPU, task.cpu_seconds)
        if sys.platform == "linux":
            _limit(resource.RLIMIT_AS, task.memory_bytes)
            _limit(resource.RLIMIT_NPROC, 0)

    def seal() -> None:
        """Open nothing from now on: no file, no socket."""
        _limit(resource.RLIMIT_NOFILE, 0)

    def _limit(what: int, most: int) -> None:
        """Lower both limits, which cannot be raised again, of what may be limited lower already."""
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))

    def _die_with_parent() -> None:
        import ctypes  # noqa: PLC0415 - not there on each system's build

        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    main()
