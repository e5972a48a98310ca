"""Documents from URLs: what is fetched, what is refused, and what never takes more than its bounds."""

import itertools
import time

import pytest

from app.core.outgoing import Unreachable
from app.core.public_addresses import ForbiddenAddress
from app.services.knowledge.fetching import Fetcher, NotFetchable, TooLargeToFetch
from tests.fixtures.scripted_server import PREFIX, Reply, ScriptedServer, Stream

pytestmark = pytest.mark.anyio


@pytest.fixture
def site():
    with ScriptedServer() as server:
        yield server


@pytest.fixture
async def fetcher(make_settings_like):
    bounds = {"server": {"max_document_bytes": 100_000}, "originals": {"document_fetch_seconds": 1}}
    fetcher = Fetcher(make_settings_like(**bounds))
    yield fetcher
    await fetcher.close()


def at(site, path="/doc"):
    return site.url + PREFIX + path


async def test_a_document_comes_with_its_name_and_type(site, fetcher):
    site.on("GET", "/my%20notes.md", Reply(b"# Notes", headers={"Content-Type": "text/markdown; charset=utf-8"}))

    found = await fetcher.fetch(at(site, "/my%20notes.md"))

    assert (found.body, found.name) == (b"# Notes", "my notes.md")
    assert found.declared == "text/markdown; charset=utf-8"


async def test_redirects_are_followed_each_to_an_address_that_is_checked(site, fetcher):
    site.on("GET", "/old", Reply(status=301, headers={"Location": at(site, "/new")}))
    site.on("GET", "/new", Reply(status=302, headers={"Location": "last"}))
    site.on("GET", "/last", Reply(b"here"))
    site.on("GET", "/trap", Reply(status=307, headers={"Location": "http://10.0.0.1/metadata"}))
    site.on("GET", "/file", Reply(status=302, headers={"Location": "file:///etc/passwd"}))

    assert (await fetcher.fetch(at(site, "/old"))).body == b"here"
    for path in ("/trap", "/file"):
        with pytest.raises(ForbiddenAddress):
            await fetcher.fetch(at(site, path))


async def test_a_circle_of_redirects_ends(site, fetcher):
    site.only("GET", "/doc", Reply(status=302, headers={"Location": at(site)}))

    with pytest.raises(NotFetchable, match="more than 5 times"):
        await fetcher.fetch(at(site))

    assert len(site.of("/doc")) == 6


async def test_what_never_ends_is_cut_by_its_size(site, fetcher):
    site.on("GET", "/doc", Stream(itertools.repeat(b"x" * 10_000)))

    with pytest.raises(TooLargeToFetch):
        await fetcher.fetch(at(site))


async def test_what_stays_silent_is_cut_by_its_time(site, fetcher):
    site.on("GET", "/doc", Stream([b"It was "], then="hold"))
    began = time.monotonic()

    with pytest.raises(Unreachable):
        await fetcher.fetch(at(site))

    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("status", "kind"), [(404, NotFetchable), (403, NotFetchable), (503, Unreachable)])
async def test_an_answer_that_is_no_document_says_whether_to_try_again(site, fetcher, status, kind):
    site.on("GET", "/doc", Reply(status=status))

    with pytest.raises(kind, match=str(status)):
        await fetcher.fetch(at(site))


async def test_nothing_is_no_document(site, fetcher):
    site.on("GET", "/doc", Reply(b""))

    with pytest.raises(NotFetchable):
        await fetcher.fetch(at(site))


@pytest.mark.parametrize("location", ["http://[", "//[x]/", "http://a]/"])
async def test_a_redirect_to_what_is_no_url_is_refused(site, fetcher, location):
    site.on("GET", "/doc", Reply(status=302, headers={"Location": location}))

    with pytest.raises((NotFetchable, ForbiddenAddress)):
        await fetcher.fetch(at(site))


async def test_of_a_type_only_what_can_be_written_is_kept(site, fetcher):
    site.on("GET", "/doc", Reply(b"x", headers={"Content-Type": "text/plain; charset=\xff\xe9x"}))

    assert (await fetcher.fetch(at(site))).declared == "text/plain; charset=x"
