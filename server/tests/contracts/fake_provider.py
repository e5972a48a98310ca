"""The fake model server as the provider behind a `ChatModel` under test."""

from dataclasses import dataclass
from urllib.parse import quote

from app.services.providers.base import ChatModel
from bench.fake_behaviour import reply_text, written
from bench.fake_model import FakeModelServer
from tests.contracts.chat_model import CALLS, Scenario

KEY = "sk-very-secret-0123456789"
NAMES = {
    Scenario.PLAIN: "fake",
    Scenario.SLOW: "fake?tokens=10&delay_ms=30",
    Scenario.CUT: "fake?tokens=10&unicode&split_utf8",
    Scenario.UNSTORABLE: "fake?tokens=5&nul&surrogates",
    Scenario.EMPTY: "fake?empty",
    Scenario.BLANK: "fake?whitespace",
    Scenario.NO_USAGE: "fake?no_usage",
    Scenario.CUT_SHORT: "fake?tokens=9",
    Scenario.UNAUTHORIZED: "fake?status=401&leak_key",
    Scenario.UNKNOWN_MODEL: "fake?status=404",
    Scenario.REJECTED: "fake?status=400",
    Scenario.CONTEXT_EXCEEDED: "fake?context_tokens=1",
    Scenario.OUTGROWN: "fake?error_after=2&code=context_length_exceeded",
    Scenario.OVERLOADED: "fake?status=503&retry_after=7",
    Scenario.RATE_LIMITED: "fake?status=429&retry_after=7",
    Scenario.UNAVAILABLE: "fake?status=503",
    Scenario.FAILS_ONCE: "fake?fail_times=1",
    Scenario.MALFORMED: "fake?malformed=2",
    Scenario.DISCONNECTS: "fake?disconnect_after=3",
    Scenario.FAILS_MIDWAY: "fake?error_after=2",
    Scenario.SILENT: "fake?hang_first",
    Scenario.FALLS_SILENT: "fake?hang_after=2",
    Scenario.ENDLESS: "fake?endless&token_bytes=4000",
    Scenario.ENDLESS_SLOW: "fake?endless&delay_ms=10",
    Scenario.CALLS: f"fake?calls={quote(written(CALLS))}&call_words=2&call_bytes=5",
}


@dataclass
class Subject:
    model: ChatModel
    server: FakeModelServer
    secret: str = KEY

    def name_of(self, scenario):
        return NAMES[scenario]

    def text_of(self, scenario, ordinal=0):
        return reply_text(NAMES[scenario], ordinal)

    def open_calls(self):
        return self.server.open_connections
