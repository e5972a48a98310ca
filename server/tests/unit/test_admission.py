"""Who is worked on, who waits and who is turned away, when not everybody can be."""

import asyncio

import pytest

from app.core import admission
from app.core.admission import Overloaded, Places
from app.core.requests import LoadClass, RateClass, load_class, rate_class

pytestmark = pytest.mark.anyio

CRITICAL, INTERACTIVE, BULK = LoadClass.CRITICAL, LoadClass.INTERACTIVE, LoadClass.BULK
D = "/api/v1/discussions/019a0000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/healthz", None),
        ("GET", "/readyz", CRITICAL),
        ("POST", f"{D}/pause", CRITICAL),
        ("POST", f"{D}/interrupt", CRITICAL),
        ("POST", f"{D}/stop", CRITICAL),
        ("POST", f"{D}/resume", INTERACTIVE),
        ("POST", f"{D}/messages", INTERACTIVE),
        ("GET", D, INTERACTIVE),
        ("GET", f"{D}/events", BULK),
        ("GET", "/api/v1/auth/me", INTERACTIVE),
        ("", "/api/v1/ws", None),
        ("GET", f"{D}/messages", BULK),
        ("GET", "/api/v1/agents", BULK),
        ("GET", f"{D}/transcript", BULK),
        ("POST", "/api/v1/knowledge/bases/1/documents", BULK),
        ("GET", "/api/v1/admin/audit/export", BULK),
        ("POST", "/api/v1/agents/1/preview", LoadClass.DISTANT),
    ],
)
def test_what_a_request_is_under_load(method, path, wanted):
    assert load_class(method, path) is wanted


def test_a_refresh_is_critical_and_a_login_is_not():
    assert load_class("POST", "/api/v1/auth/token", b"grant_type=refresh_token&refresh_token=x") is CRITICAL
    assert (
        load_class("POST", "/api/v1/auth/token", b"refresh_token=arena_rt_x.-_~&grant_type=refresh_token") is CRITICAL
    )
    assert load_class("POST", "/api/v1/auth/token", b"grant_type=password&username=x") is INTERACTIVE


@pytest.mark.parametrize(
    "form",
    [
        b"grant_type=password&username=grant_type=refresh_token",
        b"grant_type=password&x=1&note=grant_type%3Drefresh_token",
        b"grant_type=password&grant_type=refresh_token",
        b"grant_type=refresh_token&grant_type=password",
        b"grant_type=refresh_token&grant%5Ftype=password",
        b"grant_type=refresh_token&a=b;grant_type=password",
        b"grant_type=refresh_token&\r\n--x\r\nContent-Disposition: form-data; name=grant_type\r\n\r\npassword\r\n--x--",
        b"grant_type=refresh_token&padding=" + b"x" * 100_000,
        b"xgrant_type=refresh_token",
        b"",
    ],
    ids=lambda form: form[:60].decode(),
)
def test_a_login_does_not_pass_for_a_refresh(form):
    assert load_class("POST", "/api/v1/auth/token", form) is INTERACTIVE


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/healthz", None),
        ("GET", "/api/v1/agents", RateClass.READ),
        ("POST", "/api/v1/agents", RateClass.WRITE),
        ("POST", "/api/v1/auth/token", RateClass.AUTH),
        ("GET", "/api/v1/auth/me", RateClass.READ),
        ("GET", "/api/v1/auth/oidc/login", RateClass.AUTH),
        ("GET", "/api/v1/auth/oidc/callback", RateClass.AUTH),
        ("GET", "/api/v1/auth/oidc/issuers", RateClass.READ),
        ("POST", "/api/v1/agents/1/preview", RateClass.EXPENSIVE),
        ("POST", "/api/v1/knowledge/bases/1/documents", RateClass.EXPENSIVE),
        ("GET", "/api/v1/knowledge/bases/1/documents", RateClass.READ),
        ("POST", f"{D}/pause", RateClass.CONTROL),
        ("POST", f"{D}/start", RateClass.WRITE),
    ],
)
def test_what_a_request_counts_as(method, path, wanted):
    assert rate_class(method, path) is wanted


async def test_critical_requests_find_a_place_when_all_others_are_taken():
    places = Places(connections=6, most_waiting=10)
    for kind in (BULK, BULK, INTERACTIVE, INTERACTIVE):
        await places.take(kind)
    waiting = asyncio.create_task(places.take(INTERACTIVE))
    await asyncio.sleep(0)

    async with asyncio.timeout(1):
        for _ in range(6):
            await places.take(CRITICAL)

    assert not waiting.done()
    waiting.cancel()


async def test_lists_never_take_more_than_three_quarters_of_the_places():
    places = Places(connections=6, most_waiting=1)
    for _ in range(3):
        await places.take(BULK)
    waiting = asyncio.create_task(places.take(BULK))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await places.take(BULK)
    await places.take(INTERACTIVE)
    places.give_back(BULK)
    await waiting


async def test_who_is_interactive_goes_before_lists_that_came_earlier_and_each_class_in_its_order():
    places = Places(connections=3, most_waiting=8)
    await places.take(INTERACTIVE)
    order = []

    async def come(name, kind):
        await places.take(kind)
        order.append(name)

    tasks = []
    for name, kind in (("list 1", BULK), ("one 1", INTERACTIVE), ("list 2", BULK), ("one 2", INTERACTIVE)):
        tasks.append(asyncio.create_task(come(name, kind)))
        await asyncio.sleep(0)
    for kind in (INTERACTIVE, INTERACTIVE, INTERACTIVE, BULK):
        places.give_back(kind)
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)

    assert order == ["one 1", "one 2", "list 1", "list 2"]


async def test_a_wait_ends_and_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(admission, "PATIENT_SECONDS", 0.05)
    places = Places(connections=3, most_waiting=8)
    await places.take(INTERACTIVE)

    with pytest.raises(Overloaded):
        await places.take(INTERACTIVE)

    assert places.waiting == 0
    places.give_back(INTERACTIVE)
    await places.take(INTERACTIVE)


async def test_who_leaves_while_waiting_takes_no_place():
    places = Places(connections=3, most_waiting=8)
    await places.take(INTERACTIVE)
    gone, next_one = (asyncio.create_task(places.take(INTERACTIVE)) for _ in range(2))
    await asyncio.sleep(0)

    places.give_back(INTERACTIVE)  # `gone` is let in, and leaves before it knows
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)

    async with asyncio.timeout(1):
        await next_one
    assert places.lines[INTERACTIVE].running == 1


async def test_in_a_lasting_queue_nobody_waits_for_long(monkeypatch):
    monkeypatch.setattr(admission, "STANDING_SECONDS", 0.05)
    monkeypatch.setattr(admission, "IMPATIENT_SECONDS", 0.05)
    places = Places(connections=3, most_waiting=8)
    await places.take(INTERACTIVE)
    first = asyncio.create_task(places.take(INTERACTIVE))
    await asyncio.sleep(0.1)

    async with asyncio.timeout(1):
        with pytest.raises(Overloaded):
            await places.take(INTERACTIVE)
    assert not first.done()
    first.cancel()


async def test_a_late_event_loop_turns_lists_away_first_and_critical_requests_never():
    places = Places(connections=6, most_waiting=8)
    places.lag_seconds = admission.BULK_LAG_SECONDS * 2
    with pytest.raises(Overloaded):
        await places.take(BULK)
    await places.take(INTERACTIVE)
    places.lag_seconds = admission.INTERACTIVE_LAG_SECONDS * 2
    with pytest.raises(Overloaded):
        await places.take(INTERACTIVE)
    await places.take(CRITICAL)


async def crowd(places, kind, count):
    tasks = [asyncio.create_task(places.take(kind)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_a_busy_loop_with_a_crowd_before_it_does_less_at_once():
    places = Places(connections=10, most_waiting=100)
    places.is_busy = True
    tasks = await crowd(places, INTERACTIVE, 60)
    assert places.lines[INTERACTIVE].running == 8  # who came before there was a crowd

    for _ in range(6):
        places.give_back(INTERACTIVE)
        await asyncio.sleep(0)
    assert places.lines[INTERACTIVE].running == 3
    await places.take(CRITICAL)

    places.is_busy = False
    places.give_back(INTERACTIVE)
    await asyncio.sleep(0)
    assert places.lines[INTERACTIVE].running == 8
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_busy_loop_without_a_crowd_uses_all_places():
    places = Places(connections=10, most_waiting=100)
    places.is_busy = True
    tasks = await crowd(places, INTERACTIVE, 12)

    for _ in range(4):
        places.give_back(INTERACTIVE)
        await asyncio.sleep(0)

    assert places.lines[INTERACTIVE].running == 8
    await asyncio.gather(*tasks)


async def test_a_loop_is_busy_while_its_thread_does_nothing_but_work():
    places = Places(connections=10, most_waiting=100)
    watching = asyncio.create_task(places.watch_the_loop())

    async with asyncio.timeout(30):
        while not places.is_busy:
            sum(range(20_000))
            await asyncio.sleep(0)
        while places.is_busy:
            await asyncio.sleep(0.02)

    watching.cancel()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [(b"text/event-stream", None), (b"Text/Event-Stream ", None), (b"application/json", BULK), (b"*/*", BULK)],
)
def test_a_page_of_the_log_is_a_list_and_a_stream_of_it_is_none(accept, kind):
    assert load_class("GET", f"{D}/events", b"", accept) is kind
