"""Providers that a workspace brings: their keys go in, and never come out."""

import pytest

from app.core.derived_keys import SecretKeys
from app.core.sealing import SealBroken, Sealer
from tests.factories.providers import PROVIDER_KEY
from tests.fixtures.arena import SECRET_KEY
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

PROVIDERS = "/api/v1/ai/providers"
OTHER_KEY = "gsk-another-key-of-25-chars"
COMPATIBLE = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:1/v1"}


def address_of(provider):
    return f"{PROVIDERS}/{provider['id']}"


async def test_a_provider_is_made_read_changed_and_deleted(client):
    response = await client.post(PROVIDERS, json={"name": "Claude", "kind": "anthropic", "api_key": PROVIDER_KEY})
    made = response.json()

    assert response.status_code == 201
    assert response.headers["Location"] == address_of(made)
    assert {name: made[name] for name in ("name", "kind", "base_url", "has_key", "key_hint")} == {
        **{"name": "Claude", "kind": "anthropic", "base_url": None, "has_key": True, "key_hint": "WXYZ"}
    }
    assert (await client.get(address_of(made))).json() == made
    assert (await client.get(PROVIDERS)).json() == {"items": [made], "next_cursor": None}
    changed = (await client.patch(address_of(made), json={"name": "Opus", "api_key": OTHER_KEY})).json()
    assert (changed["name"], changed["key_hint"], changed["id"]) == ("Opus", "hars", made["id"])
    assert (await client.delete(address_of(made))).status_code == 204
    problem(await client.get(address_of(made)), 404, "not_found")


@pytest.mark.parametrize("kind", ["openai_compatible", "anthropic", "google", "bedrock", "mistral", "groq"])
async def test_every_kind_is_known_and_no_other(client, make_provider, kind):
    made = await make_provider(kind=kind, base_url="http://127.0.0.1:1/v1")

    assert (made["kind"], made["base_url"]) == (kind, "http://127.0.0.1:1/v1")
    body = {"name": "Other", "kind": f"{kind}2", "api_key": PROVIDER_KEY}
    problem(await client.post(PROVIDERS, json=body), 422, "validation_failed")


async def test_the_key_is_in_no_answer(client, make_provider):
    made = await make_provider()
    answers = [
        await client.get(PROVIDERS),
        await client.get(address_of(made)),
        await client.patch(address_of(made), json={"name": "Other"}),
        await client.patch(address_of(made), json={"api_key": PROVIDER_KEY}),
        await client.post(PROVIDERS, json={"name": "Other", "kind": "groq", "api_key": PROVIDER_KEY}),  # 409
        await client.post(PROVIDERS, json={"name": "Third", "kind": "groq", "api_key": PROVIDER_KEY}),
        await client.post(PROVIDERS, json={"name": "Fourth", "kind": PROVIDER_KEY, "api_key": PROVIDER_KEY}),
        await client.post(PROVIDERS, json={"name": "Fifth", "kind": "groq", "api_key": [PROVIDER_KEY]}),
        await client.post(PROVIDERS, json={"name": "Sixth", "kind": "groq", "api_key": f"{PROVIDER_KEY}\n"}),
        await client.patch(address_of(made), json={"api_key": {"key": PROVIDER_KEY}}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 409, 201, 422, 422, 422, 422]
    for answer in answers:
        assert PROVIDER_KEY not in answer.text + str(answer.headers)
        assert answer.status_code >= 400 or answer.headers["Cache-Control"] == "no-store"


async def test_of_a_short_key_not_even_the_end_is_shown(make_provider):
    made = await make_provider(api_key="only-19-characters!")

    assert (made["has_key"], made["key_hint"]) == (True, None)


async def test_the_key_is_sealed_for_its_row_and_column_alone(make_provider, sql):
    made = await make_provider()
    [(sealed, row)] = sql("SELECT api_key_sealed, p::text FROM providers p WHERE id = %s", made["id"])
    sealer = Sealer(SecretKeys([SECRET_KEY]))

    assert PROVIDER_KEY not in row
    assert sealer.unseal(sealed, f"providers.api_key_sealed:{made['id']}").decode() == PROVIDER_KEY
    for place in ("providers.api_key_sealed:other", f"users.totp_secret_sealed:{made['id']}"):
        with pytest.raises(SealBroken):
            sealer.unseal(sealed, place)


async def test_a_key_whose_secret_key_is_gone_is_still_listed_and_can_be_replaced(client, make_provider, sql):
    made = await make_provider()
    foreign = Sealer(["the secret key of quite another installation"])
    sealed = foreign.seal(PROVIDER_KEY.encode(), f"providers.api_key_sealed:{made['id']}")
    sql("UPDATE providers SET api_key_sealed = %s WHERE id = %s", sealed, made["id"])

    read = (await client.get(address_of(made))).json()
    assert (read["has_key"], read["key_hint"]) == (True, None)
    assert (await client.patch(address_of(made), json={"api_key": OTHER_KEY})).json()["key_hint"] == "hars"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        *(("http://10.0.0.1/v1", "forbidden_address"), ("http://169.254.169.254/latest", "forbidden_address")),
        *(("https://user:password@models.example/v1", "forbidden_address"), ("http://[::1]/v1", "forbidden_address")),
        *(("http://localhost/v1", "forbidden_address"), ("file:///etc/passwd", "validation_failed")),
        *(("models.example", "validation_failed"), ("https://models.example/" + "x" * 2048, "validation_failed")),
    ],
)
async def test_an_address_that_users_may_not_have_the_server_reach_is_refused(
    client, owner, make_provider, rows_of, url, code
):
    made = await make_provider(**COMPATIBLE)
    before = rows_of(owner)
    body = {"name": "Other", "kind": "openai_compatible", "base_url": url, "api_key": PROVIDER_KEY}

    for response in (
        await client.post(PROVIDERS, json=body),
        await client.patch(address_of(made), json={"base_url": url, "api_key": PROVIDER_KEY}),
    ):
        refusal = problem(response, 422, code)
        assert [fault["loc"] for fault in refusal["errors"]] == [["body", "base_url"]]

    assert rows_of(owner) == before


async def test_a_key_that_is_kept_is_not_sent_to_another_address(client, make_provider):
    """Who may change the address could otherwise have the key sent to themselves."""
    made = await make_provider(**COMPATIBLE)
    other = {"base_url": "http://127.0.0.1:2/v1"}

    refusal = problem(await client.patch(address_of(made), json=other), 422, "api_key_needed")

    assert refusal["errors"][0]["loc"] == ["body", "api_key"]
    assert (await client.get(address_of(made))).json() == made
    changed = await client.patch(address_of(made), json={**other, "api_key": OTHER_KEY})
    assert (changed.json()["base_url"], changed.json()["key_hint"]) == ("http://127.0.0.1:2/v1", "hars")
    same = {"base_url": "http://127.0.0.1:2/v1", "name": "The-same-address"}
    assert (await client.patch(address_of(made), json=same)).status_code == 200
    without = await client.patch(address_of(made), json={"base_url": "http://127.0.0.1:3/v1", "api_key": None})
    assert (without.json()["has_key"], without.json()["key_hint"]) == (False, None)


async def test_only_an_openai_compatible_provider_needs_no_key_and_it_needs_an_address(client, make_provider):
    keyless = await make_provider("Own", **COMPATIBLE, api_key=None)
    keyed = await make_provider("Claude")

    assert (keyless["has_key"], keyless["key_hint"]) == (False, None)
    moved = await client.patch(address_of(keyless), json={"base_url": "http://127.0.0.1:2/v1"})
    assert moved.status_code == 200
    problem(await client.patch(address_of(keyless), json={"base_url": None}), 422, "base_url_needed")
    problem(await client.patch(address_of(keyed), json={"api_key": None}), 422, "api_key_needed")
    for body in ({"kind": "openai_compatible", "api_key": PROVIDER_KEY}, {"kind": "groq"}):
        problem(await client.post(PROVIDERS, json={"name": "Other", **body}), 422, "validation_failed")


async def test_two_providers_of_one_name_clash_and_nothing_is_written(client, owner, make_provider, rows_of):
    await make_provider("Claude")
    other = await make_provider("Groq", kind="groq")
    before = rows_of(owner)

    body = {"name": "Claude", "kind": "groq", "api_key": PROVIDER_KEY}
    problem(await client.post(PROVIDERS, json=body), 409, "provider_name_taken")
    problem(await client.patch(address_of(other), json={"name": "Claude"}), 409, "provider_name_taken")

    assert rows_of(owner) == before


@pytest.mark.parametrize(
    "body",
    [
        *({"name": ""}, {"name": None}, {"name": "x" * 201}, {"name": "a\nb"}, {"kind": "groq"}, {"id": "x"}),
        *(
            {"api_key": ""},
            {"api_key": "x" * 4097},
            {"api_key": "schlüssel"},
            {"api_key": " key"},
            {"api_key": "a\x00"},
        ),
        *({"api_key": "a\r\nX-Header: b"}, {"workspace_id": "x"}, {"has_key": False}, {"api_key_sealed": "x"}),
    ],
)
async def test_what_will_not_do_is_refused_and_changes_nothing(client, owner, make_provider, rows_of, body):
    made = await make_provider()
    before = rows_of(owner)

    problem(await client.patch(address_of(made), json=body), 422, "validation_failed")

    assert rows_of(owner) == before


@pytest.mark.parametrize(
    ("role", "status"), [("viewer", 403), ("member", 403), ("moderator", 403), ("admin", 200), ("owner", 200)]
)
async def test_only_administrators_see_and_change_them(colleague, make_provider, role, status):
    made = await make_provider()
    person = await colleague(role)

    for response in (
        await person.http.get(PROVIDERS),
        await person.http.get(address_of(made)),
        await person.http.patch(address_of(made), json={"name": "Theirs"}),
    ):
        assert response.status_code == status, response.text
    body = {"name": "New", "kind": "groq", "api_key": PROVIDER_KEY}
    assert (await person.http.post(PROVIDERS, json=body)).status_code == (201 if status == 200 else 403)
    assert (await person.http.delete(address_of(made))).status_code == (204 if status == 200 else 403)


async def test_a_workspace_has_so_many_and_no_more(client, make_provider, monkeypatch):
    monkeypatch.setattr("app.services.model_providers.MOST_PROVIDERS", 2)
    await make_provider("One")
    await make_provider("Two")

    body = {"name": "Three", "kind": "anthropic", "api_key": PROVIDER_KEY}
    problem(await client.post(PROVIDERS, json=body), 422, "too_many_providers")
