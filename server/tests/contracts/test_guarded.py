"""The breakers, the caps and the recorder in front of a model change nothing of what it promises."""

import pytest

from app.services.providers.breaker import Breakers
from app.services.providers.caps import Caps
from app.services.providers.guarded import GuardedModel
from app.services.providers.openai_compatible import OpenAICompatibleModel
from app.services.providers.recording import Recorder, RecordingModel
from bench.fake_model import FakeModelServer

pytest.register_assert_rewrite("tests.contracts.chat_model")

from tests.contracts.chat_model import ChatModelContract  # noqa: E402 - after the assert rewriting
from tests.contracts.fake_provider import KEY, Subject  # noqa: E402

pytestmark = pytest.mark.anyio


@pytest.fixture
async def subject(timeouts, tmp_path):
    async with FakeModelServer() as server:
        inner = OpenAICompatibleModel(server.base_url, KEY, timeouts)
        recorded = RecordingModel(inner, "openai", 8192, Recorder(tmp_path))
        model = GuardedModel(recorded, Breakers("openai", 5, 10), Caps("openai", None, concurrency=50))
        yield Subject(model, server)
        await model.close()


class TestContract(ChatModelContract):
    """Every promise of the port."""
