"""What an asynchronous client can do, by kind of resource."""

import asyncio
from collections.abc import Callable

from arena_client.async_methods import AsyncCaller, method, pages, stream
from arena_client.models import Document
from arena_client.operations import agents, discussions, knowledge, streams
from arena_client.patience import pauses


class AsyncAgents(AsyncCaller):
    """Agents of the workspace."""

    create = method(agents.create)
    list = pages(agents.list_all)
    get = method(agents.get)
    update = method(agents.update)


class AsyncKnowledge(AsyncCaller):
    """Knowledge bases and their documents."""

    create_base = method(knowledge.create_base)
    list_bases = pages(knowledge.list_bases)
    add_document = method(knowledge.add_document)
    add_file = method(knowledge.add_file)
    add_url = method(knowledge.add_url)
    list_documents = pages(knowledge.list_documents)
    get_document = method(knowledge.get_document)

    async def wait_until_ready(
        self, document_id: str, *, seconds: float = 600, on_progress: Callable[[Document], object] | None = None
    ) -> Document:
        """The document when it is read, or has failed, which its `status` says; raise `ArenaTimeout`.

        `on_progress` is called with the document each time it is looked at.
        """
        for pause in pauses(seconds, f"document {document_id} is not read"):
            document = await self.get_document(document_id)
            if on_progress is not None:
                on_progress(document)
            if document.status in {"ready", "failed"}:
                return document
            await asyncio.sleep(pause)
        raise AssertionError("the pauses end by themselves")


class AsyncDiscussions(AsyncCaller):
    """Discussions: open, follow, take part, steer, read."""

    create = method(discussions.create)
    list = pages(discussions.list_all)
    get = method(discussions.get)
    start = method(discussions.start)
    pause = method(discussions.pause)
    resume = method(discussions.resume)
    interrupt = method(discussions.interrupt)
    stop = method(discussions.stop)
    update = method(discussions.update)
    fork = method(discussions.fork)
    join = method(discussions.join)
    leave = method(discussions.leave)
    messages = pages(discussions.messages)
    post_message = method(discussions.post_message)
    transcript = method(discussions.transcript)
    stream = stream(streams.discussion)
