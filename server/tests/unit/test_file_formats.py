"""What is read of each format: the words that people see, their headings and pages, and nothing that is hidden."""

import json

import pytest

from app.config import Settings
from app.domain.documents import Heading
from app.services.knowledge.chunking import cut
from app.services.knowledge.parsing.errors import (
    FileDamaged,
    FileEncrypted,
    FileHasNoText,
    FileTooComplex,
    TooManyPages,
)
from app.services.knowledge.parsing.parser import Parser
from tests.fixtures.files import WORD, docx_of, paragraph, pdf_of, pdf_of_equal_pages, raw_pdf

pytestmark = pytest.mark.anyio


@pytest.fixture
def parse(tmp_path):
    parser = Parser(Settings(data_dir=tmp_path))

    async def parse(original, file_name=None, declared=None):
        if isinstance(original, str):
            original = original.encode()
        return await parser.parse(original, file_name=file_name, declared=declared)

    return parse


async def test_html_is_what_people_see(parse):
    document = await parse("""<!DOCTYPE html><html><head><title>The &amp; title</title><style>p{}</style></head><body>
        <nav><a href=/>Home</a></nav><h1>One <em>big</em>\n heading</h1><p>A <b>bo</b>ld\n   word<br>and a line</p>
        <script>var x = "<p>no</p>"</script><p style="color: red; DISPLAY : none">hidden</p><p hidden>hidden</p>
        <noscript>no</noscript><!-- no --><h2>Two</h2><ul><li>first<li>second</ul><pre>a\n  b</pre>
        <table><tr><th>Name<th>Age<tr><td><p>Ada</p><td>36</table><p>n&auml;chste</p></body></html>""")

    assert document.media_type == "text/html"
    assert document.title == "The & title"
    assert document.text == (
        "One big heading\n\nA bold word\nand a line\n\nTwo\n\n- first\n- second\n\na\n  b\n\n"
        "Name | Age\nAda | 36\n\nnächste"
    )
    assert document.headings == (Heading(0, 1, "One big heading"), Heading(document.text.index("Two"), 2, "Two"))


async def test_html_in_another_encoding_is_read_by_what_it_declares(parse):
    page = "<html><head><meta charset='iso-8859-7'></head><body><p>Ελληνικά</p></body></html>"

    assert (await parse(page.encode("iso-8859-7"))).text == "Ελληνικά"


async def test_a_pdf_has_its_pages_title_and_outline(parse):
    original = pdf_of(
        [["Money", "The budget is 5 million."], ["More of it."], ["Time", "It ends in May."]],
        title="The plan",
        outline=[("Money", 0, 0), ("Time", 2, 0)],
    )

    document = await parse(original, "plan.bin")

    assert (document.media_type, document.title) == ("application/pdf", "The plan")
    assert [document.text[start:].split("\n")[0] for start in document.page_starts] == ["Money", "More of it.", "Time"]
    assert [(piece.page, piece.heading) for piece in cut(document)] == [(1, "Money"), (2, "Money"), (3, "Time")]
    assert "May" in cut(document)[2].text


async def test_headings_of_a_pdf_without_outline_are_its_large_lines(parse):
    body = [f"Line {number} says what lines say." for number in range(20)]

    document = await parse(
        pdf_of([["Chapter of", "two lines", *body], body], large=frozenset({"Chapter of", "two lines"}))
    )

    assert document.headings == (Heading(0, 1, "Chapter of two lines"),)


async def test_an_empty_page_of_a_pdf_counts(parse):
    document = await parse(pdf_of([["first"], [], ["third"]]))

    assert [(piece.text, piece.page) for piece in cut(document)] == [("first", 1), ("third", 3)]


async def test_a_pdf_that_only_forbids_changes_is_read_and_one_with_a_password_is_refused(parse):
    assert (await parse(pdf_of([["open to read"]], password=""))).text == "open to read"
    with pytest.raises(FileEncrypted, match="remove"):
        await parse(pdf_of([["secret"]], password="letmein"))


async def test_broken_scanned_and_long_pdfs_are_refused(parse, tmp_path):
    sound = pdf_of([["text"] * 30] * 5)
    with pytest.raises(FileDamaged):
        await parse(sound[: len(sound) // 2])
    with pytest.raises(FileDamaged):
        await parse(b"%PDF-1.7\nnothing of the kind")
    with pytest.raises(FileDamaged):
        await parse(raw_pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>"))
    with pytest.raises(FileHasNoText, match="OCR"):
        await parse(pdf_of([[]]))
    with pytest.raises(TooManyPages, match="5,001 pages"):
        await parse(pdf_of_equal_pages(5001))


async def test_a_word_document_is_what_its_readers_see(parse):
    styles = (
        f'<w:styles {WORD}><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
        '<w:style w:styleId="Mine"><w:name w:val="Mine"/><w:basedOn w:val="berschrift1"/></w:style></w:styles>'
    )
    footnotes = f'<w:footnotes {WORD}><w:footnote w:id="2">{paragraph("See there.")}</w:footnote></w:footnotes>'
    listed = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'
    document = await parse(
        docx_of(
            paragraph("Costs", properties='<w:pStyle w:val="berschrift1"/>')
            + "<w:p><w:r><w:t>They </w:t></w:r><w:del><w:r><w:delText>fell</w:delText></w:r></w:del>"
            "<w:ins><w:r><w:t>rose</w:t></w:r></w:ins><w:r><w:tab/><w:t>fast</w:t></w:r>"
            '<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:instrText>PAGE</w:instrText></w:r>'
            "<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r></w:p>"
            + paragraph("one", properties=listed)
            + paragraph("two", properties=listed)
            + paragraph("Times", properties='<w:pStyle w:val="Mine"/>')
            + f"<w:tbl><w:tr><w:tc>{paragraph('Name')}</w:tc><w:tc>{paragraph('Age')}</w:tc></w:tr>"
            f"<w:tr><w:tc>{paragraph('Ada')}{paragraph('Lovelace')}</w:tc><w:tc>{paragraph('36')}</w:tc></w:tr></w:tbl>"
            "<w:p><w:r><mc:AlternateContent><mc:Choice><w:t>once</w:t></mc:Choice><mc:Fallback><w:t>once</w:t>"
            "</mc:Fallback></mc:AlternateContent></w:r></w:p>",
            styles=styles,
            footnotes=footnotes,
        ),
        "report.zip",
    )

    assert document.media_type.endswith("wordprocessingml.document")
    assert document.text == (
        "Costs\n\nThey rose\tfast[2]\n[2] See there.\n\n- one\n- two\n\nTimes\n\nName | Age\nAda Lovelace | 36\n\nonce"
    )
    assert [(heading.level, heading.title) for heading in document.headings] == [(1, "Costs"), (1, "Times")]


async def test_a_csv_is_rows_that_name_their_columns(parse):
    document = await parse('Name;Age;Note\nAda;36;"wrote; a lot"\nAlan;41;\n\nKurt;71;"two\nlines"\n', "people.csv")

    assert document.media_type == "text/csv"
    assert document.text == (
        "Name: Ada\nAge: 36\nNote: wrote; a lot\n\nName: Alan\nAge: 41\n\nName: Kurt\nAge: 71\nNote: two lines"
    )


async def test_a_csv_without_names_numbers_its_columns(parse):
    assert (await parse("1,2\n3,4\n", "a.csv")).text == "column 1: 1\ncolumn 2: 2\n\ncolumn 1: 3\ncolumn 2: 4"


async def test_json_is_a_line_for_each_value_and_its_members_apart(parse):
    document = await parse(
        '{"name": "Plan", "years": [2026, 2027], "team": [{"who": "Ada", "paid": true}, {"who": "Kurt", "left": null}],'
        ' "pi": 3.14159265358979323846, "half": "a\\ud800b\\u0000"}'
    )

    assert document.media_type == "application/json"
    assert document.text == (
        "name: Plan\nyears[0]: 2026\nyears[1]: 2027\n\nteam[0].who: Ada\nteam[0].paid: true\n\nteam[1].who: Kurt\n"
        "pi: 3.14159265358979323846\nhalf: ab"
    )


async def test_lines_of_json_are_read_each_by_itself(parse):
    document = await parse('{"a": 1}\n\n{"a": 2}\n', "events.jsonl")

    assert document.text == "a: 1\n\na: 2"


async def test_json_that_is_none_is_refused_with_its_place_or_read_as_text(parse):
    with pytest.raises(FileDamaged, match="line 2, column 3"):
        await parse('{"a": 1,\n  b}', "a.json")
    with pytest.raises(FileDamaged, match="line 2"):
        await parse('{"a": 1}\n{"a"', "a.jsonl")
    with pytest.raises(FileTooComplex):
        await parse("[" * 100_000 + "]" * 100_000, "deep.json")
    assert (await parse("{braces} are no JSON [at all]")).media_type == "text/plain"


@pytest.mark.parametrize("name", ["a.md", "a.html", "a.csv", "a.json", "a.txt"])
async def test_any_characters_come_out_storable_and_pieces_fit(parse, name):
    characters = "".join(map(chr, [*range(1, 0x3000, 7), 0xFFFE, 0xFFFF, 0x1F600, 0x10FFFF])) * 3
    content = json.dumps({"value": characters}) if name == "a.json" else f"<!doctype html><p>{characters}"
    content = characters if name in {"a.md", "a.csv", "a.txt"} else content

    document = await parse(content.encode("utf-8", "surrogatepass").replace(b"\x00", b""), name)

    assert document.text.encode().decode() == document.text
    assert not set("\x00\r\x07\ufffe") & set(document.text)
    assert all(document.text[slice(*piece.span)] == piece.text for piece in cut(document))
