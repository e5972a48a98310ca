"""What an asynchronous client can do, by kind of resource."""

from arena_client.async_methods import AsyncCaller, method, pages, stream
from arena_client.operations import agents, discussions, knowledge, streams


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
    list_documents = pages(knowledge.list_documents)
    get_document = method(knowledge.get_document)


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
