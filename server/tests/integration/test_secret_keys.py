"""Where the secret key comes from: the environment, a file, Vault, the data folder; and what is said if it does not."""

import os
import re
import subprocess
import sys

import pytest

from app.config import AuthSettings, Settings, VaultSettings
from app.core.errors import StartupFailed
from app.engines import vault as vault_module
from app.engines.secret_keys import as_variables, find_secret_keys
from tests.fixtures.vaults import NAMESPACE, TOKEN

pytestmark = pytest.mark.anyio

NEW, OLD, OLDEST = "n" * 40, "o, with a comma, " + "o" * 40, "x" * 40


@pytest.fixture
def key_file(tmp_path):
    """A file with such content and mode."""

    def write(content, mode=0o600):
        path = tmp_path / "the.key"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def find(tmp_path):
    """The keys, by settings of authentication."""

    async def find(vault=None, **auth):
        settings = Settings(data_dir=tmp_path, auth=AuthSettings(**auth), vault=vault or VaultSettings())
        return list(await find_secret_keys(settings))

    return find


@pytest.fixture
def in_vault(vault):
    """Settings that name the test's Vault."""

    def make(**changes):
        given = {"vault_url": vault.url, "vault_token": TOKEN, "vault_secret": "secret/arena/prod#key", **changes}
        return VaultSettings(**given)

    return make


async def refusal(found) -> str:
    with pytest.raises(StartupFailed) as refused:
        await found
    assert TOKEN not in refused.value.detail
    assert not {NEW, OLD, OLDEST} & set(re.split(r"[,\s]", refused.value.detail))
    return refused.value.detail


async def test_the_key_of_the_environment_is_the_one_and_is_not_written(find, tmp_path):
    assert await find(secret_key=NEW) == [NEW]
    assert list(tmp_path.iterdir()) == []


async def test_without_any_setting_one_is_made_in_the_data_folder(find, tmp_path):
    made = await find()

    assert made == await find()
    assert (tmp_path / "secret.key").read_text().strip() == made[0]


@pytest.mark.parametrize("previous", [f"{OLD}\n{OLDEST}\n", f"{OLD}\n\n  {OLDEST}", f"\n{OLD}\r\n{OLDEST}"])
async def test_older_keys_follow_one_a_line(find, previous):
    assert await find(secret_key=NEW, secret_key_previous=previous) == [NEW, OLD, OLDEST]


async def test_older_keys_may_be_separated_by_commas(find):
    assert await find(secret_key=NEW, secret_key_previous=f"{OLDEST}, {'y' * 40},") == [NEW, OLDEST, "y" * 40]


async def test_a_file_gives_the_key_and_older_ones_on_further_lines(find, key_file):
    path = key_file(f"{NEW}\n{OLD}\n")

    assert await find(secret_key_file=path) == [NEW, OLD]
    assert await find(secret_key_file=path, secret_key_previous=f"{OLDEST}\n{NEW}\n") == [NEW, OLD, OLDEST]


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o620, 0o660, 0o666, 0o601, 0o777])
async def test_a_file_that_others_may_read_or_write_is_refused(find, key_file, mode):
    path = key_file(NEW, mode)

    said = await refusal(find(secret_key_file=path))

    assert f"(mode {mode:04o}): run chmod 600 {path}" in said


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
async def test_a_file_that_only_its_owner_and_group_may_read_will_do(find, key_file, mode):
    assert await find(secret_key_file=key_file(NEW, mode)) == [NEW]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        *(("", "does not hold a secret"), ("\n \n", "there is no secret key"), ("short", "too short")),
        *((f"{NEW}\nshort\n", "too short"), (b"\xff\xfe" * 40, "does not hold a secret")),
        ("x" * 70_000, "does not hold a secret"),
    ],
)
async def test_a_file_that_holds_no_key_is_refused(find, key_file, content, said):
    assert said in await refusal(find(secret_key_file=key_file(content)))


async def test_a_file_that_is_not_there_is_refused(find, tmp_path):
    assert "No such file" in await refusal(find(secret_key_file=tmp_path / "none"))
    assert "Is a directory" in await refusal(find(secret_key_file=tmp_path))


async def test_two_places_at_once_are_refused(find, key_file, in_vault):
    path = key_file(NEW)

    for auth, vault in (
        ({"secret_key": NEW, "secret_key_file": path}, None),
        ({"secret_key": NEW}, in_vault()),
        ({"secret_key_file": path}, in_vault()),
    ):
        assert "set only one of" in await refusal(find(vault, **auth))


async def test_what_is_handed_to_our_own_processes_gives_the_same_keys(tmp_path, monkeypatch, find):
    keys = await find(secret_key=NEW, secret_key_previous=f"{OLD}\n{OLDEST}\n")
    for name, value in as_variables(await find_secret_keys(_settings(tmp_path))).items():
        monkeypatch.setenv(name, value)

    assert list(await find_secret_keys(Settings(data_dir=tmp_path))) == keys


def _settings(folder):
    auth = AuthSettings(secret_key=NEW, secret_key_previous=f"{OLD}\n{OLDEST}\n")
    return Settings(data_dir=folder, auth=auth)


async def test_vault_gives_the_field_of_its_secret(find, vault, in_vault):
    vault.put(key=NEW, other="x")

    assert await find(in_vault()) == [NEW]
    [(address, headers)] = vault.asked
    assert (address, headers["x-vault-token"], headers["x-vault-request"]) == (
        *("/v1/secret/data/arena/prod", TOKEN),
        "true",
    )


async def test_vaults_version_before_is_an_older_key_until_it_is_destroyed(find, vault, in_vault):
    for key in (OLDEST, OLD, NEW):
        vault.put(key=key)

    assert await find(in_vault()) == [NEW, OLD]
    vault.destroy(2)
    assert await find(in_vault()) == [NEW]


async def test_vault_may_hold_a_list_and_the_environment_still_older_ones(find, vault, in_vault):
    vault.put(unrelated="x")
    vault.put(key=[NEW, OLD])

    assert await find(in_vault(), secret_key_previous=OLDEST) == [NEW, OLD, OLDEST]


async def test_vaults_token_may_come_from_a_file_and_go_to_a_namespace(find, vault, in_vault, key_file):
    vault.put(key=NEW)
    vault.namespace = NAMESPACE
    token = key_file(f"{TOKEN}\n")

    assert await find(in_vault(vault_token=None, vault_token_file=token, vault_namespace=NAMESPACE)) == [NEW]
    assert "refuses the token" in await refusal(find(in_vault()))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((403, b'{"errors":["permission denied"]}'), "refuses the token"),
        ((404, b'{"errors":[]}'), "no such secret"),
        ((400, b"{}"), "of version 2"),
        ((429, b"{}"), "standby"),
        ((501, b"{}"), "not initialised"),
        ((503, b'{"errors":["Vault is sealed"]}'), "sealed"),
        ((500, b"oops " + TOKEN.encode()), "it answered 500"),
        ((307, b"http://127.0.0.1:1/elsewhere"), "it answered 307"),
        ((200, b"no JSON " + NEW.encode()), "no JSON"),
        ((200, b"[" * 100_000), "no JSON"),
        ((200, b"\xff"), "no JSON"),
        ((200, b"[]"), "version 2"),
        ((200, b'{"data":{"key":"of version 1"}}'), "version 2"),
        ((200, b'{"data":{"data":null}}'), "version 2"),
        ((200, b'{"data":{"data":{"another":"x"}}}'), "no field 'key'"),
        ((200, b'{"data":{"data":{"key":5}}}'), "no field 'key'"),
        ((200, b'{"data":{"data":{"key":["x",5]}}}'), "no field 'key'"),
        ((200, b'{"data":{"data":{"key":"short"}}}'), "too short"),
        ((200, b'{"data":{"data":{"key":[]}}}'), "there is no secret key"),
    ],
)
async def test_what_vault_answers_wrongly_is_one_clear_sentence(find, vault, in_vault, answer, said):
    vault.put(key=NEW)
    vault.answer = answer

    assert said in await refusal(find(in_vault()))
    assert len(vault.asked) == 1, "nothing is asked of where a redirect leads"


async def test_a_vault_that_does_not_answer_is_given_up(find, vault, in_vault, monkeypatch):
    monkeypatch.setattr(vault_module, "ANSWER_SECONDS", 0.3)
    vault.answer = (0, b"")

    assert "answer" in await refusal(find(in_vault()))
    assert "cannot be reached" in await refusal(find(in_vault(vault_url="http://127.0.0.1:1")))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        *(({"vault_secret": None}, "mount/path#field"), ({"vault_secret": "secret#key"}, "mount/path#field")),
        *(({"vault_secret": "secret/arena"}, "mount/path#field"), ({"vault_secret": "a/b#"}, "mount/path#field")),
        *(({"vault_token": None}, "ARENA_VAULT_TOKEN"), ({"vault_token": "a\nb"}, "printable")),
        ({"vault_token_file": "/nowhere"}, "either ARENA_VAULT_TOKEN or ARENA_VAULT_TOKEN_FILE"),
        ({"vault_token": None, "vault_token_file": "/nowhere/token"}, "No such file"),
    ],
)
async def test_settings_of_vault_that_will_not_do_are_one_clear_sentence(find, vault, in_vault, changes, said):
    assert said in await refusal(find(in_vault(**changes)))
    assert vault.asked == []


def test_a_process_that_vault_refuses_says_so_and_shows_no_token(vault, in_vault, shared_database, tmp_path):
    vault.answer = (403, b"{}")
    environment = {
        **os.environ,
        "ARENA_DATA_DIR": str(tmp_path),
        "ARENA_DATABASE_URL": shared_database,
        "ARENA_REDIS_URL": "redis://127.0.0.1:1/0",
        "ARENA_VAULT_URL": vault.url,
        "ARENA_VAULT_TOKEN": TOKEN,
        "ARENA_VAULT_SECRET": "secret/arena/prod#key",
    }

    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "api"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"arena: the secret key cannot be read from Vault at 127.0.0.1:\d+ .*\n", done.stderr)
