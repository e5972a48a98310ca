"""Alive, ready, and described."""

import pytest

from tests.fixtures.routes import PUBLIC

pytestmark = pytest.mark.anyio


async def test_the_process_says_that_it_is_alive(anonymous):
    response = await anonymous.get("/healthz")

    assert (response.status_code, response.json()) == (200, {"status": "alive"})


async def test_readiness_names_each_dependency(anonymous):
    response = await anonymous.get("/readyz")

    assert response.status_code == 200
    assert response.json() == {"status": "ready", "dependencies": {"database": "ok", "cache": "ok"}}


async def test_the_api_describes_itself(anonymous, app):
    response = await anonymous.get("/api/v1/openapi.json")

    assert response.status_code == 200
    assert response.json() == app.openapi()


async def test_every_error_of_every_route_is_described_as_a_problem(document):
    for path, operations in document.paths.items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and path.startswith("/api/"):
                    assert list(answer["content"]) == ["application/problem+json"], (method, path, status)


async def test_every_protected_route_says_that_it_wants_a_token(document):
    for path, operations in document.paths.items():
        for operation in operations.values():
            wants = bool(operation.get("security"))
            assert wants == (path.startswith("/api/") and path not in PUBLIC), path


async def test_every_route_has_a_sentence_and_a_name_of_its_own(document):
    operations = [one for operations in document.paths.values() for one in operations.values()]

    assert all(operation["description"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


async def test_the_page_of_the_document_needs_nothing_from_elsewhere(anonymous):
    page = await anonymous.get("/docs")

    assert page.status_code == 200
    assert "//" not in page.text.replace("<!--", "").replace("http://www.w3.org", "")
