"""Reading public pages, against real sockets."""

import time

import pytest

from app.config import OutgoingSettings
from app.services.tools.base import ToolFailed
from app.services.tools.http_get import MOST_BYTES, MOST_TEXT_BYTES, HttpGet
from app.services.tools.plain_html import text_of
from tests.fixtures.scripted_server import PREFIX, Reply, Stream

pytestmark = pytest.mark.anyio


@pytest.fixture
async def make_http_get():
    made = []

    def make(allow: str | None = "127.0.0.1", seconds: float = 2) -> HttpGet:
        made.append(HttpGet(OutgoingSettings(outgoing_allow=allow, outgoing_seconds=seconds)))
        return made[-1]

    yield make
    for tool in made:
        await tool.close()


@pytest.fixture
def page(server):
    """Answer at `/page`."""

    def answer(body: bytes, kind: str | None = "text/html; charset=utf-8", status: int = 200, **headers: str) -> str:
        declared = {} if kind is None else {"Content-Type": kind}
        server.only("GET", "/page", Reply(body, status, {**declared, **headers}))
        return f"{server.url}{PREFIX}/page"

    return answer


async def read(tool, url):
    return (await tool.call({"url": url})).text


async def test_a_page_is_read_as_text_and_nothing_is_sent_but_its_address(server, make_http_get, page):
    url = page("<title>T</title><script>evil()</script><h1>Mörike</h1><p>One &amp; two".encode())

    assert await read(make_http_get(), url) == f"{url}\n\nT\nMörike\n\nOne & two"
    [asked] = server.asked
    assert (asked.method, asked.body, "cookie" in asked.headers) == ("GET", b"", False)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        ("naïve".encode("latin-1"), "text/plain; charset=ISO-8859-1", "naïve"),
        (b"plain <b>", "text/plain; charset=no-such-thing", "plain <b>"),
        (b"\xff\xfeodd", "text/plain", "\ufffd\ufffdodd"),
        (b"text", "text/plain; charset=base64", "text"),
        (b"<feed/>", "application/atom+xml", "<feed/>"),
    ],
)
async def test_text_is_read_in_whichever_encoding(make_http_get, page, body, kind, text):
    url = page(body, kind)

    assert await read(make_http_get(), url) == f"{url}\n\n{text}"


@pytest.mark.parametrize(
    ("kind", "status", "headers", "told"),
    [
        ("image/png", 200, {}, "only text"),
        ("", 200, {}, "only text"),
        ("text/html", 404, {}, "status 404"),
        ("text/html", 200, {"Content-Encoding": "gzip"}, "compressed"),
    ],
)
async def test_what_cannot_be_read_is_told(make_http_get, page, kind, status, headers, told):
    with pytest.raises(ToolFailed, match=told):
        await read(make_http_get(), page(b"body", kind, status, **headers))


async def test_a_private_address_is_not_reached_directly_or_by_a_redirect(server, make_http_get, page):
    url = page(b"secret")
    server.on("GET", "/away", Reply(b"", 302, {"Location": url.replace("127.0.0.1", "127.0.0.2")}))
    server.on("GET", "/file", Reply(b"", 302, {"Location": "file:///etc/passwd"}))
    server.on("GET", "/broken", Reply(b"", 302, {"Location": "http://[::1"}))

    with pytest.raises(ToolFailed, match="not a public address"):
        await read(make_http_get(None), url)
    assert server.asked == []
    for path in ("/away", "/file", "/broken"):
        with pytest.raises(ToolFailed):
            await read(make_http_get(), f"{server.url}{PREFIX}{path}")
    assert server.of("/page") == []


async def test_redirects_are_followed_and_an_endless_chain_is_given_up(server, make_http_get, page):
    url = page(b"there")
    server.on("GET", "/moved", Reply(b"", 301, {"Location": "page"}))
    server.on("GET", "/round", Reply(b"", 307, {"Location": f"{PREFIX}/round"}))

    assert await read(make_http_get(), f"{server.url}{PREFIX}/moved") == f"{url}\n\nthere"
    with pytest.raises(ToolFailed, match="more than 5 times"):
        await read(make_http_get(), f"{server.url}{PREFIX}/round")


async def test_a_server_that_never_ends_is_cut_in_size_and_in_time(server, make_http_get, page):
    server.on("GET", "/silent", Stream([], "hold"))
    url = page(b"x" * 1_000_000, "text/plain")

    text = await read(make_http_get(), url)
    assert MOST_TEXT_BYTES < len(text) < MOST_TEXT_BYTES + 200
    assert text.endswith("left out]")
    with pytest.raises(ToolFailed, match=r"within 0\.2 s"):
        await read(make_http_get(seconds=0.2), f"{server.url}{PREFIX}/silent")


@pytest.mark.parametrize(
    "url", ["", "no url", "ftp://x.example/", "http://user:word@x.example/", "http://[::1/", "http://x\r\ny.example"]
)
async def test_what_is_no_url_of_the_web_is_refused(make_http_get, url):
    with pytest.raises(ToolFailed):
        await read(make_http_get(), url)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a < b <b>bold</b>", "a < b bold"),
        ("<STYLE>p {}</Style>x<!-- no -->y<br>z", "xy\nz"),
        ("<p>one</p>\n\n\n<p>two</p>", "one\n\ntwo"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("İ<script>x</script><b>ok</b>", "i̇ok"),
        ("seen<script>never closed", "seen"),
        ("seen<a href='", "seen"),
        ("&lt;b&gt;", "<b>"),
        ("<?php x ?><!DOCTYPE html>t", "t"),
    ],
)
def test_html_is_read_as_people_see_it(html, text):
    assert text_of(html) == text


@pytest.mark.parametrize(
    "piece", ["<", "<!--", "<div>", "</", "<script>", "<a ", "&", "&#", "\n ", "<p>\n", "</script", "<!", "İ", " \t"]
)
def test_no_page_takes_long_to_read(piece):
    began = time.process_time()
    text_of(piece * (MOST_BYTES // len(piece)))

    assert time.process_time() - began < 3
