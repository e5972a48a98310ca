"""Reading a page of the public web, by the guarded way out alone.

Each address, that of every redirect too, is checked when it is connected to (`core/outgoing.py`), so that nothing
private is reached; nothing but the address is sent. But the address is the model's: one that a document has talked it
into may carry out what the model knows. That is why an operator has to switch this tool on.
"""

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from app.config import OutgoingSettings
from app.core.errors import ArenaError
from app.core.outgoing import Answer, Outgoing
from app.services.providers.base import ToolSpec
from app.services.tools.arguments import faults_by
from app.services.tools.base import Arguments, Found, ToolFailed
from app.services.tools.plain_html import text_of

MOST_BYTES = 256 * 1024
MOST_TEXT_BYTES = 32 * 1024
MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "User-Agent": "DiscussionArena (+http_get)",
    "Accept": "text/html, text/plain, text/*;q=0.9, application/json;q=0.9, */*;q=0.1",
}
_CHARSETS = re.compile(
    r"utf-?8|utf-?16(-?[lb]e)?|utf-?32(-?[lb]e)?|us-ascii|ascii|latin-?1|iso-8859-([1-9]|1[013-6])|windows-125[0-8]"
    r"|cp125[0-8]|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis|euc-(jp|kr)"
)
"""Those whose decoders take linear time, which some of Python's do not."""
_TEXTUAL = ("application/json", "application/xml", "application/xhtml+xml", "application/javascript")


class HttpGet:
    """Gives the text of a page, not its looks."""

    name = "http_get"
    spec = ToolSpec(
        name,
        "Reads a public web page or text file, and answers with its text. Cannot log in, send forms or run scripts.",
        {
            "type": "object",
            "properties": {
                "url": {"type": "string", "maxLength": 2_048, "description": "Such as https://example.org/page."}
            },
            "required": ["url"],
            "additionalProperties": False,
        },
    )
    faults = staticmethod(faults_by(spec.parameters))

    def __init__(self, settings: OutgoingSettings) -> None:
        self._outgoing = Outgoing(settings, most_bytes=MOST_BYTES)

    async def call(self, arguments: Arguments) -> Found:
        url, answer = await self._follow(arguments["url"].strip())
        if not 200 <= answer.status < 300:
            raise ToolFailed(f"{_host(url)} answered with status {answer.status}")
        # A page made to be slow takes half a second, which no other turn should wait for.
        return Found(f"{url}\n\n{await asyncio.to_thread(_readable, answer)}")

    async def close(self) -> None:
        await self._outgoing.close()

    async def _follow(self, url: str) -> tuple[str, Answer]:
        """The first answer that leads nowhere else, and its address."""
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._get(url)
            target = answer.headers.get("Location") if answer.status in _REDIRECTS else None
            if target is None:
                return url, answer
            url = _joined(url, target)
        raise ToolFailed(f"the page leads on to others more than {MOST_REDIRECTS} times")

    async def _get(self, url: str) -> Answer:
        try:
            return await self._outgoing.get(url, _HEADERS)
        except ArenaError as error:
            raise ToolFailed(error.detail) from None


def _joined(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError:
        raise ToolFailed(f"{_host(url)} leads on to something that is no URL") from None


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the server"


def _readable(answer: Answer) -> str:
    """Its text, cut to what is kept; raise `ToolFailed` for what is none."""
    kind, charset = _content_type(answer.headers)
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ToolFailed("the page comes compressed although that was not asked for")
    if not (kind.startswith("text/") or kind in _TEXTUAL or kind.endswith(("+json", "+xml"))):
        raise ToolFailed(f"only text can be read, and this is {kind[:100]!r}")
    text = _decoded(answer.body, charset)
    if kind in {"text/html", "application/xhtml+xml"}:
        text = text_of(text)
    kept = text.encode(errors="replace")[:MOST_TEXT_BYTES].decode(errors="ignore")
    is_whole = len(kept) == len(text) and len(answer.body) < MOST_BYTES
    return kept if is_whole else f"{kept}\n[the rest of the page is left out]"


def _decoded(body: bytes, charset: str) -> str:
    return body.decode(charset if _CHARSETS.fullmatch(charset) else "utf-8", errors="replace")


def _content_type(headers: Mapping[str, str]) -> tuple[str, str]:
    """The media type and the encoding that are declared; what is not declared is taken for bytes, and UTF-8."""
    kind, *parameters = headers.get("Content-Type", "application/octet-stream").lower().split(";")
    charsets = (
        value.strip(" \"'") for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "charset"
    )
    return kind.strip(), next(charsets, "utf-8") or "utf-8"
