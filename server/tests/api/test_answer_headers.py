"""What every answer tells a browser, whom a browser lets read it, and whose word is taken for who asks."""

import pytest
from pydantic import ValidationError

from app.config import ServerSettings

pytestmark = pytest.mark.anyio

JSON_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE = "https://app.example.org"


def is_guarded(response):
    headers = response.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"] == JSON_POLICY
    return headers


async def test_every_answer_has_the_headers_that_guard_browsers(client, anonymous):
    for http, path, status, kept in (
        (anonymous, "/healthz", 200, "no-store"),
        (anonymous, "/api/v1/agents", 401, "no-store"),
        (anonymous, "/nothing", 404, "no-store"),
        (client, "/api/v1/agents", 200, "private, no-cache"),
        (client, "/api/v1/agents?limit=x", 422, "no-store"),
        (client, "/api/v1/openapi.json", 200, "private, no-cache"),
        (client, "/api/v1/auth/me", 200, "no-store"),
        (client, "/api/v1/auth/sessions", 200, "no-store"),
    ):
        response = await http.get(path)

        assert response.status_code == status
        assert is_guarded(response)["Cache-Control"] == kept, path
        assert len(response.headers.get_list("X-Request-ID")) == 1
        assert "Strict-Transport-Security" not in response.headers


async def test_a_stream_has_them_too(client, make_discussion):
    made = await make_discussion()
    async with client.stream(
        "GET", f"/api/v1/discussions/{made.id}/events", headers={"Accept": "text/event-stream"}
    ) as response:
        assert is_guarded(response)["Cache-Control"] == "no-store"


async def test_what_has_an_etag_may_be_kept_by_its_reader_and_is_still_answered_with_304(client, make_agent):
    agent = await make_agent()
    address = f"/api/v1/agents/{agent.id}"

    first = await client.get(address)
    again = await client.get(address, headers={"If-None-Match": first.headers["ETag"]})

    assert (first.status_code, again.status_code) == (200, 304)
    for response in (first, again):
        assert is_guarded(response)["Cache-Control"] == "private, no-cache"


async def test_the_page_of_the_document_runs_its_own_scripts_only(anonymous):
    page = await anonymous.get("/docs")

    policy = page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in policy
    assert "script-src 'self' 'sha256-" in policy
    assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0]
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/static-offline-docs/{asset}" in page.text
        assert (await anonymous.get(f"/static-offline-docs/{asset}")).status_code == 200


async def test_pages_of_no_other_origin_are_let_in_unless_one_is_named(client):
    response = await client.get("/api/v1/agents", headers={"Origin": PAGE})
    asked = await client.options("/api/v1/agents", headers={"Origin": PAGE, "Access-Control-Request-Method": "GET"})

    for answer in (response, asked):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.fixture
async def opened(make_arena, connect):
    return await connect(at=make_arena(server={"allowed_origins": f"{PAGE}, http://localhost:3000"}))


async def test_pages_of_a_named_origin_may_call_and_read_our_headers(opened):
    response = await opened.get("/api/v1/agents", headers={"Origin": PAGE})

    assert response.status_code == 401
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert "Origin" in response.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert {"ETag", "RateLimit", "Retry-After", "X-Request-ID"} <= set(
        response.headers["Access-Control-Expose-Headers"].split(", ")
    )


async def test_a_preflight_is_answered_once_for_hours(opened):
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,if-match"}

    response = await opened.options("/api/v1/agents", headers={"Origin": PAGE, **asked})
    refused = await opened.options("/api/v1/agents", headers={"Origin": "https://evil.example", **asked})

    assert response.status_code == 200
    assert int(response.headers["Access-Control-Max-Age"]) >= 3600
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert refused.status_code == 400
    assert "Access-Control-Allow-Origin" not in refused.headers


@pytest.mark.parametrize("given", ["*", "https://*.example.org", "example.org", "https://a.example/path", "null"])
def test_an_origin_that_is_none_is_refused_at_the_start(given):
    with pytest.raises(ValidationError):
        ServerSettings(allowed_origins=given)


FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7, 203.0.113.9"}


async def test_nobody_is_believed_about_who_they_are_unless_named(anonymous):
    response = await anonymous.get("/healthz", headers=FORWARDED)

    assert "Strict-Transport-Security" not in response.headers


async def test_a_named_proxy_is_believed_that_the_request_came_encrypted(make_arena, connect):
    http = await connect(at=make_arena(server={"trusted_proxies": "10.0.0.0/8, 127.0.0.1"}))

    response = await http.get("/healthz", headers=FORWARDED)

    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize("given", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.0/99"])
def test_a_proxy_that_is_no_address_or_network_is_refused_at_the_start(given):
    with pytest.raises(ValidationError):
        ServerSettings(trusted_proxies=given)
