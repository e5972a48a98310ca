"""An API replica dies: its viewers go on at another, without a gap or a double."""

import httpx2
import pytest

from tests.fixtures.viewer import watching

pytestmark = pytest.mark.anyio


@pytest.fixture
async def doomed(settings, start_api):
    """A replica of the shared installation, in a process that may be killed."""
    return await start_api(settings)


async def test_a_viewer_of_a_killed_replica_goes_on_at_another(
    doomed, owner, client, connect, make_agent, make_discussion
):
    process, there = doomed
    agent = await make_agent(model="openai/fake?tokens=40&delay_ms=40&unicode")
    discussion = await make_discussion(agents=[agent])
    seen = []
    with pytest.raises(httpx2.TransportError):
        async with watching(await connect(owner.access_token, at=there), discussion.id) as viewer:
            seen = viewer.events
            await viewer.until(lambda event: event.type == "message.delta" and event.data["offset"] > 30)
            process.kill()
            await viewer.until("discussion.ended")

    async with watching(client, discussion.id, last_event_id=seen[-1].id, knowing=seen) as viewer:
        await viewer.until_ended()

    assert len(viewer.checker.shown_whole) == 2
