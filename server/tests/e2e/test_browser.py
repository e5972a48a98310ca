"""A page in a real browser: its native EventSource and WebSocket lose their connections, and it misses nothing."""

import shutil
from pathlib import Path

import pytest
from playwright.async_api import TimeoutError, async_playwright

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
MOST_MILLISECONDS = 10_000
CHARACTERS_INTO_A_MESSAGE = 20


@pytest.fixture
async def browser():
    """Debian's Chromium, without a window."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def open_page(browser):
    """Our page, as if the server at that address had it. Its connections are real; what it throws fails the test."""
    thrown = []

    def note(error):
        thrown.append(error)

    async def serve(route):
        await route.fulfill(path=HERE / Path(route.request.url).name)

    async def open_at(url):
        page = await browser.new_page(base_url=url)
        # Chromium cannot know that a page that we give it comes from this machine, which alone may connect to it.
        await page.context.grant_permissions(["local-network-access"])
        page.set_default_timeout(MOST_MILLISECONDS)
        page.on("pageerror", note)
        await page.route("**/test-page/*", serve)
        await page.goto("/test-page/page.html")
        await page.unroute_all()
        return page

    yield open_at
    assert not thrown


async def until_every_viewer(page, condition):
    try:
        await page.wait_for_function(f"viewers.every((viewer) => viewer.{condition})")
    except TimeoutError:
        raise AssertionError(f"not every viewer {condition}: {await page.evaluate('viewers')}") from None


async def test_a_page_that_is_cut_off_twice_in_mid_message_misses_nothing_in_either_way(
    arena, owner, client, cutting_proxy, open_page, make_agent, make_discussion
):
    agent = await make_agent(model="openai/fake?tokens=80&delay_ms=50&unicode")
    draft = await make_discussion(status="draft", agents=[agent], limits={"max_turns": 2})
    proxy = await cutting_proxy(arena.url)
    page = await open_page(proxy.url)

    await page.evaluate("follow", {"discussionId": draft.id, "accessToken": owner.access_token})
    (await client.post(f"/api/v1/discussions/{draft.id}/start")).raise_for_status()
    for turn in (1, 2):
        await until_every_viewer(page, f"isWithin({turn}, {CHARACTERS_INTO_A_MESSAGE})")
        assert proxy.cut() >= 2
    await until_every_viewer(page, "hasEnded")

    messages = (await client.get(f"/api/v1/discussions/{draft.id}/messages")).json()["items"]
    said = [{"id": message["id"], "content": message["content"], "spoken": True} for message in messages]
    assert len(said) == 2
    for viewer in await page.evaluate("viewers"):
        assert viewer["messages"] == said
        assert len(set(viewer["ids"])) == len(viewer["ids"])
        assert viewer["seqs"] == list(range(1, viewer["seqs"][-1] + 1))
        assert not {"stream.reset", "stream.lagged"} & set(viewer["types"])
        # It came back within a message each time, not after the end of it.
        assert len(viewer["returns"]) == 2
        assert all("." in returned for returned in viewer["returns"])
