"""The parser: a process for each file, which always ends, and says in one sentence what is wrong with the file."""

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.config import DocumentSettings, Settings
from app.services.knowledge.parsing.child import seal
from app.services.knowledge.parsing.errors import (
    FileDamaged,
    FileEmpty,
    FileEncrypted,
    FileHasNoText,
    FileTooComplex,
    UnknownFileType,
    WrongEncoding,
)
from app.services.knowledge.parsing.parser import CHILD, Parser, environment, read_text
from app.services.knowledge.parsing.wire import Task

pytestmark = pytest.mark.anyio


def parser_of(tmp_path, **limits):
    return Parser(Settings(data_dir=tmp_path, documents=DocumentSettings(**limits)))


@pytest.fixture
def parse(tmp_path):
    parser = parser_of(tmp_path)

    async def parse(original, file_name=None, declared=None):
        return await parser.parse(original, file_name=file_name, declared=declared)

    return parse


async def test_plain_text_is_kept_to_the_letter_but_for_line_ends_and_control_characters(parse):
    document = await parse("Größe\r\nzwei\rdrei\x7f\ufeff\u2028vier\n".encode(), "a.txt")

    assert document.text == "Größe\nzwei\ndrei\nvier\n"
    assert (document.media_type, document.page_starts, document.headings) == ("text/plain", None, ())


@pytest.mark.parametrize(
    "encoding",
    ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"],
)
async def test_text_is_read_in_whichever_encoding_it_is(parse, encoding):
    text = "Die Größe der Bäume überrascht, Übermaß ist für Köche schädlich."

    assert (await parse(text.encode(encoding))).text == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("L'été dernier, la séance de l'assemblée a été très animée; où êtes-vous?", "cp1252"),
        ("“Smart quotes” — it’s the year’s first report… €5", "cp1252"),
        ("Det er mange år siden vi så så mange fugler på øya.", "cp1252"),
        ("Wczoraj wieczorem poszedłem na długi spacer po mieście, już późno.", "cp1250"),
        ("A bizottság hosszú vita után jóváhagyta az éves költségvetést, őszintén gyűlés.", "cp1250"),
        ("Komite, enerji politikasına ilişkin uzun bir tartışmanın ardından bütçeyi onayladı.", "cp1254"),
        ("Съешь же ещё этих мягких французских булок, да выпей чаю.", "cp1251"),
        ("Съешь же ещё этих мягких французских булок, да выпей чаю.", "koi8_r"),
        ("日本語の文章を検出するための試験です。カタカナも含みます。", "shift_jis"),
        ("日本語の文章を検出するための試験です。カタカナも含みます。", "euc_jp"),
        ("这是一个用于测试的中文句子。北京是中国的首都，人口很多。", "gb18030"),
    ],
)
async def test_older_encodings_are_told_apart(parse, text, encoding):
    assert (await parse(text.encode(encoding))).text == text


async def test_a_declared_encoding_is_believed_where_the_bytes_are_no_utf_8(parse):
    document = await parse("Ελληνικά".encode("iso8859-7"), declared="text/plain; charset=iso-8859-7")

    assert document.text == "Ελληνικά"


async def test_utf_8_that_was_cut_within_a_character_loses_only_that_one(parse):
    whole = "Über die Größe müßiger Köche. " * 20

    assert (await parse((whole + "ü").encode()[:-1])).text == whole + "\ufffd"


async def test_headings_of_markdown_are_those_that_readers_see(parse):
    text = (
        "---\ntitle: 'The *memo*'\ntags: [a]\n---\n\nIntro\n=====\n\n## A `b` [c](http://d) ##\n\n"
        "```\n# no heading\n```\n\n    # nor this\n\n#nor-this\n\n- item\n---\n\n~~~~\n~~~\n# no\n~~~~\n### Last"
    )

    document = await parse(text.encode(), "memo.md")

    assert document.text == text
    assert document.title == "The *memo*"
    assert [(heading.level, heading.title) for heading in document.headings] == [
        (1, "Intro"),
        (2, "A b c"),
        (3, "Last"),
    ]
    assert text[document.headings[1].start :].startswith("## A `b`")


async def test_the_type_is_told_by_the_content_whatever_the_name_says(parse):
    assert (await parse(b"BMW makes cars.", "cars.bmp")).text == "BMW makes cars."
    assert (await parse(b"%PDF- is how PDFs begin"[1:], "a.pdf")).media_type == "text/plain"
    with pytest.raises(UnknownFileType, match="image/png"):
        await parse(b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", "notes.txt", "text/plain")


@pytest.mark.parametrize(
    ("original", "error", "sentence"),
    [
        (b"", FileEmpty, "empty"),
        (b" \n\t ", FileEmpty, "empty"),
        ("\ufeff\u200b \n".encode(), FileHasNoText, "OCR"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00[Content_Types].xml word/document.xml", FileDamaged, "upload it again"),
        (b"PK\x03\x04broken", UnknownFileType, "ZIP"),
        (b"\x7fELF\x02\x01\x01\x00\x00\x00", UnknownFileType, "cannot be read"),
        (b"{\\rtf1\\ansi hello}", UnknownFileType, "rich text"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + "EncryptedPackage".encode("utf-16-le"), FileEncrypted, "password"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + "WordDocument".encode("utf-16-le"), UnknownFileType, "old Word"),
        (b"\xff\xfea\xd8b\x00", WrongEncoding, "UTF-8"),
    ],
)
async def test_what_cannot_be_read_is_refused_in_a_sentence_with_the_mend(parse, original, error, sentence):
    with pytest.raises(error, match=sentence):
        await parse(original)


async def test_text_over_the_limit_is_refused(tmp_path):
    parser = parser_of(tmp_path, document_characters=1000)

    assert len((await parser.parse(b"a" * 1000, file_name=None, declared=None)).text) == 1000
    with pytest.raises(FileTooComplex, match="1,000 characters"):
        await parser.parse(b"a" * 1001, file_name=None, declared=None)


async def test_text_that_came_as_such_is_read_as_a_file_is():
    document = read_text("# Title\r\n\r\nText", markdown=True, most_characters=100)

    assert (document.text, document.title, document.headings[0].start) == ("# Title\n\nText", "Title", 0)


async def test_a_process_that_takes_too_long_is_ended_and_waited_for(tmp_path, monkeypatch):
    parser = parser_of(tmp_path, document_parse_seconds=1)
    monkeypatch.setattr("app.services.knowledge.parsing.parser.CHILD", (sys.executable, "-c", SLEEPS))

    with pytest.raises(FileTooComplex, match="time or memory"):
        await parser.parse(f"{tmp_path}/pid".encode(), file_name=None, declared=None)

    assert not alive(int((tmp_path / "pid").read_text()))


async def test_a_cancelled_reading_leaves_no_process_behind_and_no_slot_taken(tmp_path, monkeypatch):
    parser = parser_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("app.services.knowledge.parsing.parser.CHILD", (sys.executable, "-c", SLEEPS))
        readings = [
            asyncio.create_task(parser.parse(f"{tmp_path}/pid{number}".encode(), file_name=None, declared=None))
            for number in range(2)
        ]
        while not all((tmp_path / f"pid{number}").exists() for number in range(2)):
            await asyncio.sleep(0.02)
        for reading in readings:
            reading.cancel()
        await asyncio.gather(*readings, return_exceptions=True)

    assert not any(alive(int((tmp_path / f"pid{number}").read_text())) for number in range(2))
    assert (await parser.parse(b"well", file_name=None, declared=None)).text == "well"


async def test_a_process_that_answers_without_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("app.services.knowledge.parsing.parser.CHILD", (sys.executable, "-c", FLOODS))

    with pytest.raises(FileTooComplex):
        await parser_of(tmp_path).parse(b"x" * 1_000_000, file_name=None, declared=None)


async def test_a_process_that_dies_half_way_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("app.services.knowledge.parsing.parser.CHILD", (sys.executable, "-c", "import os; os.abort()"))

    with pytest.raises(FileTooComplex):
        await parser_of(tmp_path).parse(b"x" * 1_000_000, file_name=None, declared=None)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not confined there")
async def test_a_reader_can_open_nothing_and_knows_nothing_of_our_environment(monkeypatch):
    monkeypatch.setenv("ARENA_SECRET_KEY", "s" * 40)
    script = f"from {seal.__module__} import seal; seal()" + OPENS

    said = subprocess.run(
        [sys.executable, "-c", script], check=False, env=environment(), capture_output=True, text=True
    )

    assert said.stdout.split() == ["OSError", "OSError", "unknown"], said.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
async def test_a_reader_dies_with_the_process_that_started_it():
    task = Task(None, None, 256 * 1024 * 1024, cpu_seconds=5, pages=1, characters=1)
    with subprocess.Popen(
        [sys.executable, "-c", STARTS, *CHILD],
        env=dict(environment()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        reader = int(parent.stdout.readline())
        parent.stdin.write(task.head())
        parent.stdin.flush()
        confined = Path(f"/proc/{reader}/limits")
        while not re.search(r"Max processes +0 ", confined.read_text()):
            await asyncio.sleep(0.02)

        parent.kill()
        parent.wait()

        async with asyncio.timeout(10):
            while alive(reader):
                await asyncio.sleep(0.02)


def alive(pid):
    return Path(f"/proc/{pid}").exists() if sys.platform == "linux" else os.kill(pid, 0) is None


STARTS = """
import subprocess, sys, time
print(subprocess.Popen(sys.argv[1:]).pid, flush=True)
time.sleep(60)
"""
SLEEPS = """
import os, sys, time
sys.stdin.buffer.readline()
path = sys.stdin.buffer.read().decode()
with open(path + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(path + ".new", path)
time.sleep(60)
"""
FLOODS = """
import sys
while True:
    sys.stdout.buffer.write(b"x" * 1000000)
"""
OPENS = """
import os
for reach in (lambda: open("/etc/hostname"), lambda: __import__("socket").socket()):
    try:
        reach()
    except (OSError, ImportError) as error:
        print("OSError" if isinstance(error, OSError) else type(error).__name__)
print(os.environ.get("ARENA_SECRET_KEY", "unknown"))
"""


@pytest.mark.parametrize(
    "text",
    [
        "---\ntitle: a" + " " * 1_000_000 + "b\n---\n",
        ("# a" + " " * 990 + "b\n") * 1_000,
        ("# a" + " #" * 490 + "b\n") * 1_000,
        ("#" * 990 + "\n") * 1_000,
    ],
)
def test_no_text_takes_long(text):
    """Texts are read where everything else is done, not in a process of their own."""
    began = time.process_time()

    read_text(text, markdown=True, most_characters=5_000_000)

    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("line", "title"),
    [
        *(("# Plain", "Plain"), ("#  Closed  ##  ", "Closed"), ("## C#", "C#"), ("# a # b #", "a # b"), ("# #", "")),
        *(("---\ntitle: Front\n---\n", "Front"), ('---\ntitle: "Quoted" \n---\n', "Quoted"), ("#none", "")),
    ],
)
def test_a_title_is_told_from_the_signs_around_it(line, title):
    assert (read_text(line + "\n\nText.", markdown=True, most_characters=1_000).title or "") == title
