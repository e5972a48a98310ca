"""Settings of the login at an issuer: those that do not go together are told of before anybody is served."""

from pathlib import Path

import pytest

from app.config import AuthSettings, OidcSettings, OutgoingSettings, ServerSettings, Settings
from app.core.errors import StartupFailed
from app.core.oidc import OidcClient, check_oidc
from app.core.oidc_issuer import way_to_issuer
from app.core.public_addresses import ForbiddenAddress

pytestmark = pytest.mark.anyio

ISSUER = "https://issuer.example/realm"


def settings_of(*, server=None, auth=None, **oidc) -> Settings:
    return Settings(
        data_dir=Path("/nowhere"),
        server=ServerSettings(**(server or {})),
        auth=AuthSettings(**(auth or {})),
        oidc=OidcSettings(**({"oidc_issuer": ISSUER, "oidc_client_id": "arena"} | oidc)),
    )


def client_of(settings: Settings) -> OidcClient:
    return OidcClient(settings, way_to_issuer(settings.oidc, settings.outgoing))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"oidc_client_id": None}, "ARENA_OIDC_CLIENT_ID"),
        ({"oidc_issuer": None}, "ARENA_OIDC_ISSUER"),
        ({"oidc_scopes": "email"}, "ARENA_OIDC_SCOPES"),
        ({"oidc_redirect_url": "http://arena.example/callback"}, "ARENA_OIDC_REDIRECT_URL"),
        ({"server": {"public_url": "http://arena.example"}}, "ARENA_OIDC_REDIRECT_URL"),
        ({"server": {"host": "0.0.0.0"}}, "ARENA_OIDC_REDIRECT_URL"),
        ({"oidc_redirect_url": "http://127.1/callback"}, "ARENA_OIDC_REDIRECT_URL"),
        ({"oidc_redirect_url": "http://127.evil.example/callback"}, "ARENA_OIDC_REDIRECT_URL"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_told(change, told):
    with pytest.raises(StartupFailed, match=told):
        client_of(settings_of(**change))
    with pytest.raises(StartupFailed, match=told):
        check_oidc(settings_of(**change))


def test_without_an_issuer_there_is_nothing_to_check():
    check_oidc(settings_of(oidc_issuer=None, oidc_client_id=None, server={"host": "0.0.0.0"}))


@pytest.mark.parametrize(
    ("change", "address", "is_secure"),
    [
        ({}, "http://127.0.0.1:8000/api/v1/auth/oidc/callback", False),
        ({"server": {"public_url": "https://arena.example/"}}, "https://arena.example/api/v1/auth/oidc/callback", True),
        ({"oidc_redirect_url": "https://api.example/back"}, "https://api.example/back", True),
        ({"oidc_redirect_url": "http://localhost:3000/back"}, "http://localhost:3000/back", False),
        ({"oidc_redirect_url": "http://[::1]:3000/back"}, "http://[::1]:3000/back", False),
    ],
    ids=str,
)
def test_browsers_come_back_over_tls_or_stay_on_their_machine(change, address, is_secure):
    client = client_of(settings_of(**change))

    assert (client.redirect_url, client.is_secure) == (address, is_secure)


@pytest.mark.parametrize(
    ("issuer", "reached", "not_reached"),
    [
        ("http://127.0.0.1:9000/realm", "http://127.0.0.1:9000/token", "http://127.0.0.1:9001/token"),
        ("https://10.0.0.7/realm", "https://10.0.0.7/token", "http://10.0.0.7/token"),
        ("http://[::1]:9000", "http://[::1]:9000/token", "http://[::1]/token"),
        ("http://localhost:9000", "http://localhost:9000/token", "http://localhost:9001/token"),
    ],
)
async def test_of_what_is_private_only_the_issuer_itself_can_be_reached(issuer, reached, not_reached):
    way = way_to_issuer(OidcSettings(oidc_issuer=issuer), OutgoingSettings(outgoing_allow="192.168.7.7:80"))

    await way.check_url(reached)
    await way.check_url("http://192.168.7.7/")
    for address in (not_reached, "http://169.254.169.254/", "http://192.168.7.8/"):
        with pytest.raises(ForbiddenAddress):
            await way.check_url(address)
    await way.close()


async def test_who_may_be_reached_for_the_issuer_may_not_be_for_others():
    settings = OutgoingSettings()
    way = way_to_issuer(OidcSettings(oidc_issuer="http://127.0.0.1:9000"), settings)

    assert settings.outgoing_allow is None
    await way.close()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (None, set()),
        ("", set()),
        (" https://a.example/x , ,https://b.example", {"https://a.example/x", "https://b.example"}),
    ],
)
def test_return_urls_are_separated_by_commas(written, read):
    assert OidcSettings(oidc_return_urls=written).return_urls == read
