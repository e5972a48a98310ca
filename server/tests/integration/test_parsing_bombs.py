"""Files made to exhaust whoever reads them: each ends within its time and memory, and the next file is read."""

import json
import subprocess
import sys
import zlib

import pytest

from app.config import DocumentSettings, Settings
from app.services.knowledge.parsing.errors import FileDamaged, FileTooComplex, TooManyPages
from app.services.knowledge.parsing.parser import CHILD, Parser, environment
from app.services.knowledge.parsing.wire import Task
from tests.fixtures.files import WORD, deflated, docx_with, pdf_drawing, pdf_of, pdf_of_equal_pages, raw_pdf

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit of memory"),
]
MEMORY_BYTES = 256 * 1024 * 1024
SECONDS = 30

HEAD = f'<?xml version="1.0"?><w:document {WORD}><w:body>'.encode()
TAIL = b"</w:body></w:document>"
TEXT = (b"<w:p><w:r><w:t>", b"</w:t></w:r></w:p>")


def laughs():
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "ha" * 500}">' for n in range(8))
    return docx_with(
        f"<!DOCTYPE d [{entities}]><w:document {WORD}><w:body><w:p><w:r><w:t>&a7;</w:t></w:r></w:p></w:body>"
        "</w:document>"
    )


def nested_forms():
    """Twenty drawings, each of which draws the next one ten times."""
    font = b"/Font<</F1 25 0 R>>"
    kind = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]"
    forms = []
    for number in range(5, 25):
        draws = b"/X Do " * 10 if number < 24 else b"BT /F1 9 Tf (hi) Tj ET"
        inner = b"<</XObject<</X %d 0 R>>%s>>" % (min(number + 1, 24), font)
        forms.append(b"<<%s/Resources%s/Length %d>>stream\n%s\nendstream" % (kind, inner, len(draws), draws))
    return raw_pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>" + font + b">>>>",
        b"<</Length 5>>stream\n/X Do\nendstream",
        *forms,
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )


BOMBS = {
    "word_one_gigabyte_in_one_text": lambda: docx_with([HEAD, TEXT[0], *[b"a" * 10_000_000] * 100, TEXT[1], TAIL]),
    "word_five_million_paragraphs": lambda: docx_with([HEAD, *[b"<w:p/>" * 500_000] * 10, TAIL]),
    "word_a_billion_laughs": laughs,
    "word_100_000_nested": lambda: docx_with([HEAD, b"<w:p>" * 100_000, b"</w:p>" * 100_000, TAIL]),
    "pdf_one_gigabyte_unpacked": lambda: pdf_drawing(deflated(b" ", 1_000_000_000)),
    "pdf_two_layers": lambda: pdf_drawing(
        zlib.compress(deflated(b" ", 5_000_000_000)), filters=b"[/FlateDecode/FlateDecode]"
    ),
    "pdf_a_million_texts": lambda: pdf_drawing(deflated(b"BT /F1 9 Tf 9 9 Td (hello world) Tj ET\n", 1_000_000)),
    "pdf_forms_within_forms": nested_forms,
    "pdf_two_billion_pages": lambda: raw_pdf(
        b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 2000000000>>"
    ),
    "pdf_pages_in_a_circle": lambda: raw_pdf(
        b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>"
    ),
    "pdf_10_000_pages": lambda: pdf_of_equal_pages(10_000, text=b"A line of a page."),
    "html_100_000_nested": lambda: b"<!doctype html>" + b"<div>" * 100_000 + b"x",
    "html_300_000_attributes": lambda: (
        b"<!doctype html><p " + b" ".join(b"a%d=1" % number for number in range(300_000)) + b">x"
    ),
    "html_two_million_brackets": lambda: b"<!doctype html>" + b"<" * 2_000_000,
    "csv_three_million_commas": lambda: b"a,b\n" + b"," * 3_000_000,
    "json_three_million_brackets": lambda: b"[" * 3_000_000,
    "text_without_a_break": lambda: b"a" * 5_000_001,
    "zeros": lambda: b"\x00" * 30_000_000,
}
# Small enough for a quick processor to read whole within the bounds, which is as good as being refused.
MAY_BE_READ = {"html_two_million_brackets", "csv_three_million_commas"}
NAMES = {"csv": "a.csv", "json": "a.json"}
# Starts what its arguments say, and tells how that ended and how much memory it took at most, in bytes.
MEASURE = """
import json, os, subprocess, sys, time
began = time.monotonic()
child = subprocess.Popen(sys.argv[1:], stdin=sys.stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
line = child.stdout.readline()
while child.stdout.read(65536):
    pass
_, status, usage = os.wait4(child.pid, 0)
json.dump(
    {
        "line": line[:1000].decode(),
        "code": os.waitstatus_to_exitcode(status),
        "bytes": usage.ru_maxrss * 1024,
        "seconds": time.monotonic() - began,
    },
    sys.stdout,
)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_within_its_time_and_memory(name, tmp_path):
    file_name = NAMES.get(name.partition("_")[0])
    task = Task(file_name, None, MEMORY_BYTES, cpu_seconds=2, pages=5000, characters=5_000_000)
    original = tmp_path / "original"
    original.write_bytes(task.head() + BOMBS[name]())

    with original.open("rb") as source:
        said = json.loads(
            subprocess.run(
                [sys.executable, "-c", MEASURE, *CHILD],
                stdin=source,
                env=dict(environment()),
                check=True,
                capture_output=True,
                timeout=SECONDS * 2,
            ).stdout
        )

    assert said["bytes"] <= MEMORY_BYTES
    assert said["seconds"] <= SECONDS
    assert said["code"] != 0 or json.loads(said["line"]).get("code") or name in MAY_BE_READ


async def test_after_bombs_a_sound_file_is_read_and_all_slots_are_free(tmp_path):
    parser = Parser(Settings(data_dir=tmp_path, documents=DocumentSettings(document_parse_seconds=3)))
    for name, error in (
        ("pdf_one_gigabyte_unpacked", FileTooComplex),
        ("html_100_000_nested", FileTooComplex),
        ("word_a_billion_laughs", FileDamaged),
        ("pdf_10_000_pages", TooManyPages),
    ):
        with pytest.raises(error):
            await parser.parse(BOMBS[name](), file_name=None, declared=None)

    sound = await parser.parse(pdf_of([["still here"]]), file_name=None, declared=None)

    assert sound.text == "still here"


async def test_ten_thousand_pages_are_read_where_so_many_are_allowed(tmp_path):
    parser = Parser(Settings(data_dir=tmp_path, documents=DocumentSettings(document_pages=10_000)))

    document = await parser.parse(BOMBS["pdf_10_000_pages"](), file_name=None, declared=None)

    assert len(document.page_starts) == 10_000


@pytest.mark.parametrize("kind", ["pdf", "docx"])
async def test_a_file_cut_anywhere_is_refused_in_time(kind, tmp_path):
    parser = Parser(Settings(data_dir=tmp_path))
    pages = [[f"Line {row} of page {page}" for row in range(30)] for page in range(20)]
    words = HEAD + b"".join(b"%sword %d%s" % (TEXT[0], number, TEXT[1]) for number in range(2000)) + TAIL
    whole = pdf_of(pages) if kind == "pdf" else docx_with([words])

    for part in range(1, 8):
        with pytest.raises((FileDamaged, FileTooComplex)):
            await parser.parse(whole[: len(whole) * part // 8], file_name=f"a.{kind}", declared=None)
