"""Where originals are kept: PostgreSQL, a folder, an S3-compatible server."""

import os
import subprocess
import sys
from uuid import uuid4

import pytest

from app.config import OriginalSettings
from app.engines.ports import free_port
from app.services.knowledge.originals import OriginalsAway, _store_of, make_originals
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually

pytest.register_assert_rewrite("tests.contracts.originals")

from tests.contracts.originals import OriginalsContract, read  # noqa: E402 - after the assert rewriting
from tests.factories.corpora import make_workspace  # noqa: E402

pytestmark = pytest.mark.anyio


@pytest.fixture
def workspace_id(shared_database):
    return make_workspace(shared_database)


@pytest.fixture
def other_workspace_id(shared_database):
    return make_workspace(shared_database)


class TestPostgres(OriginalsContract):
    @pytest.fixture
    def store(self, uow):
        return _store_of(OriginalSettings(), uow)


class TestFolder(OriginalsContract):
    @pytest.fixture
    def store(self, uow, tmp_path):
        return _store_of(OriginalSettings(originals_url=f"file://{tmp_path}/originals of documents"), uow)


@pytest.fixture(scope="module")
async def s3(tmp_path_factory):
    """Settings of an S3-compatible server that checks signatures."""
    folder, port = tmp_path_factory.mktemp("s3"), free_port()
    (folder / "bucket").mkdir()
    secret = uuid4().hex
    server = subprocess.Popen(
        [sys.executable, "-m", "nanio", "serve", "--data-dir", str(folder), "--port", str(port), "--host", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NANIO_ACCESS_KEY": "arena", "NANIO_SECRET_KEY": secret},
    )
    settings = OriginalSettings(
        originals_url="s3://bucket/some/prefix",
        s3_endpoint=f"http://127.0.0.1:{port}",
        s3_access_key_id="arena",
        s3_secret_access_key=secret,
    )

    async def answers():
        try:
            await read(_store_of(settings, None), uuid4(), uuid4())
        except OriginalsAway:
            return False
        except LookupError:
            return True
        except Exception as error:
            return type(error).__name__ == "OriginalMissing"

    await eventually(answers, 40, "the S3 server")
    yield settings
    server.terminate()
    server.wait(10)


class TestS3(OriginalsContract):
    @pytest.fixture
    def store(self, uow, s3):
        return _store_of(s3, uow)

    async def test_a_refused_key_is_told_without_it(self, uow, s3, workspace_id):
        store = _store_of(s3.model_copy(update={"s3_secret_access_key": type(s3.s3_secret_access_key)("wrong")}), uow)

        with pytest.raises(OriginalsAway) as refused:
            await store.put(workspace_id, uuid4(), memoryview(b"data"))

        assert "wrong" not in str(refused.value)
        assert "arena" not in str(refused.value)


async def test_what_no_document_came_to_refer_to_is_cleared_away(uow, shared_database, workspace_id):
    originals = make_originals(OriginalSettings(), uow)
    left = await originals.keep(workspace_id, memoryview(b"left over"))
    tied = await originals.keep(workspace_id, memoryview(b"tied"))
    fresh = await originals.keep(workspace_id, memoryview(b"fresh"))
    async with uow(workspace_id) as work:
        await work.originals.tie(tied)
    rows(
        shared_database,
        "UPDATE loose_originals SET since = now() - interval '2 hours' WHERE original_id = ANY(%s)",
        [left, tied],
    )

    await originals.clear_loose()

    held = rows(shared_database, "SELECT original_id FROM original_parts WHERE workspace_id = %s", workspace_id)
    assert {one for (one,) in held} == {tied, fresh}
    loose = rows(shared_database, "SELECT original_id FROM loose_originals WHERE workspace_id = %s", workspace_id)
    assert loose == [(fresh,)]
