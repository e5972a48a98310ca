"""Documents from URLs: through the guard of `core/outgoing.py`, which checks each address it connects to."""

from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

from app.config import Settings
from app.core.errors import Invalid
from app.core.outgoing import Answer, Outgoing, Unreachable
from app.services.knowledge.submissions import safe_name

MOST_REDIRECTS = 5
LONGEST_TYPE = 200
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TO_BE_TRIED_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_ACCEPTED = "text/html,application/pdf,text/*;q=0.9,application/json;q=0.9,*/*;q=0.5"


class NotFetchable(Invalid):
    """The URL does not lead to a document; asking again would not help."""

    code = "url_not_fetchable"


class TooLargeToFetch(NotFetchable):
    """What it leads to is larger than a document may be, or does not end."""

    code = "document_too_large"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL led to; `name` is the last part of its address, `declared` the type that it says it is of."""

    body: bytes
    name: str | None
    declared: str | None


class Fetcher:
    """Fetches whole documents, of a bounded size and in a bounded time."""

    def __init__(self, settings: Settings) -> None:
        self._most_bytes = settings.server.max_document_bytes
        seconds = settings.originals.document_fetch_seconds
        bounded = settings.outgoing.model_copy(update={"outgoing_seconds": seconds})
        self._outgoing = Outgoing(bounded, most_bytes=self._most_bytes + 1)

    async def fetch(self, url: str) -> Fetched:
        """What is there; raise `ForbiddenAddress`, `NotFetchable`, or `Unreachable`, which may pass."""
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._outgoing.get(url, {"Accept": _ACCEPTED})
            if answer.status not in REDIRECTS:
                return self._judge(url, answer)
            location = answer.headers.get("Location")
            if not location:
                raise NotFetchable(f"the URL answered {answer.status} and did not say where to go")
            try:
                url = urljoin(url, location)
            except ValueError:
                raise NotFetchable(f"the URL answered {answer.status} and leads to what is no URL") from None
        raise NotFetchable(f"the URL led on more than {MOST_REDIRECTS} times")

    async def close(self) -> None:
        await self._outgoing.close()

    def _judge(self, url: str, answer: Answer) -> Fetched:
        if answer.status in TO_BE_TRIED_AGAIN:
            raise Unreachable(f"the URL answered {answer.status}")
        if answer.status != 200:
            raise NotFetchable(f"the URL answered {answer.status}: check that it can be opened without logging in")
        if len(answer.body) > self._most_bytes:
            raise TooLargeToFetch(f"the document at the URL is larger than {self._most_bytes} bytes, or does not end")
        if not answer.body:
            raise NotFetchable("the URL answered with nothing")
        declared = _printable(answer.headers.get("Content-Type", ""))[:LONGEST_TYPE]
        return Fetched(answer.body, safe_name(unquote(urlsplit(url).path)) or None, declared or None)


def _printable(header: str) -> str:
    """Without what no type is made of: bytes that are no text come as half surrogates, which cannot be written."""
    return "".join(character for character in header if character.isascii() and character.isprintable()).strip()
