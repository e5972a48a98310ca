"""Logs: one JSON object a line, without secrets or anybody's words."""

import io
import json
import logging
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
import structlog

from app.config import LogSettings
from app.core import logging as app_logging
from app.core.logging import configure_logging, log_request
from app.core.request_context import Origin, set_origin

SECRETS = [
    *("password", "new_password", "PASSWORD", "access_token", "refresh_token", "token", "authorization", "cookie"),
    *("api_key", "openai_api_key", "secret_key", "ws_ticket", "content", "message_content", "persona"),
]
HARMLESS = ["prompt_tokens", "completion_tokens", "max_tokens", "first_token_ms", "request_id", "duration_ms", "turn"]


@pytest.fixture
def log_lines(monkeypatch):
    """What was logged as JSON; the configuration of the test run is put back afterwards."""
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    monkeypatch.setattr(app_logging, "_tell_request", None)
    monkeypatch.setattr(sys, "stderr", written)
    configure_logging(LogSettings(log_format="json"), "test")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configured)
    structlog.contextvars.clear_contextvars()


def logger():
    return structlog.stdlib.get_logger("app.test").bind()


def test_a_line_is_a_json_object_with_its_fields(log_lines):
    logger().info("turn_completed", turn=3, duration_ms=1.5)

    [line] = log_lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "turn_completed",
        "level": "info",
        "logger": "app.test",
        "process": "test",
        "turn": 3,
        "duration_ms": 1.5,
    }


def test_a_requests_line_is_what_structlog_would_make_of_it(log_lines):
    user_id, credential_id = uuid4(), uuid4()
    set_origin(Origin("127.0.0.1", "r1", user_id, credential_id))
    fields = {"method": "GET", "route": "/api/v1/agents", "status": 200, "duration_ms": 1.5}
    log_request("info", dict(fields))
    structlog.stdlib.get_logger("arena.request").bind().info("request", **fields)
    set_origin(Origin())

    direct, by_structlog = log_lines()
    assert direct.pop("timestamp") <= by_structlog.pop("timestamp")
    assert direct == by_structlog
    assert (direct["user_id"], direct["credential_id"]) == (str(user_id), str(credential_id))


@pytest.mark.parametrize(("level", "told"), [("INFO", [200, 500]), ("WARNING", [500]), ("ERROR", [500])])
@pytest.mark.usefixtures("log_lines")
def test_a_requests_line_obeys_the_level(capsys, level, told):
    configure_logging(LogSettings(log_format="json", log_level=level), "test")
    log_request("info", {"status": 200})
    log_request("error", {"status": 500})

    assert [json.loads(line)["status"] for line in capsys.readouterr().err.splitlines()] == told


@pytest.mark.usefixtures("log_lines")
def test_a_requests_line_is_for_people_on_a_terminal(capsys):
    configure_logging(LogSettings(log_format="console"), "test")
    set_origin(Origin(request_id="r1", user_id=uuid4(), credential_id=uuid4()))
    log_request("info", {"status": 201})
    set_origin(Origin())
    shown = capsys.readouterr().err
    assert "status=201" in shown
    assert "UUID(" not in shown
    assert "datetime" not in shown


@pytest.mark.parametrize("name", SECRETS)
def test_a_field_that_may_hold_a_secret_or_words_is_blank(log_lines, name):
    logger().warning("something", **{name: "hunter2"})

    [line] = log_lines()
    assert line[name] == "[redacted]"


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_field_is_kept(log_lines, name):
    logger().info("something", **{name: 5})

    assert log_lines()[0][name] == 5


def test_the_standard_librarys_records_come_in_the_same_form(log_lines):
    logging.getLogger("another.library").warning("disk %d%% full", 93)

    [line] = log_lines()
    assert (line["event"], line["logger"], line["level"]) == ("disk 93% full", "another.library", "warning")


def test_an_exception_is_one_line_too(log_lines):
    try:
        int("broken")
    except ValueError:
        logger().exception("it_broke")

    [line] = log_lines()
    assert "ValueError: invalid literal" in line["exception"]


@pytest.mark.parametrize("noisy", ["procrastinate", "procrastinate.worker", "uvicorn.access", "httpx2", "alembic"])
def test_libraries_that_repeat_us_or_show_arguments_are_quiet(log_lines, noisy):
    logging.getLogger(noisy).info("Starting job drive_discussion(discussion_id=…)")

    assert log_lines() == []


def test_a_traceback_on_a_terminal_shows_no_local_variables(log_lines, capsys):
    configure_logging(LogSettings(log_format="console"), "test")
    turn_token = "arena_tt_" + "x" * 20

    try:
        int("none")
    except ValueError:
        logger().exception("unforeseen")

    shown = capsys.readouterr().err
    assert "ValueError: invalid literal" in shown
    assert turn_token not in shown


@pytest.mark.usefixtures("log_lines")
def test_a_terminal_is_told_nothing_to_obey(capsys):
    configure_logging(LogSettings(log_format="console"), "test")

    logger().info("odd", value="\x1b]0;owned\x07", name="\u202egnissim", number=7)
    logging.getLogger("another.library").warning("\x1b[2J gone")

    shown = capsys.readouterr().err
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "\\x1b]0;owned\\x07" in shown
    assert "number=7" in shown


@pytest.mark.parametrize("value", ["\ud800", 2**70, {1: "one"}, {"a", "b"}])
def test_what_is_no_json_is_a_line_all_the_same(log_lines, value):
    logger().info("odd", value=value)

    assert log_lines()[0]["event"] == "odd"


def test_a_line_that_cannot_be_written_fails_nothing(log_lines, monkeypatch):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        configure_logging(LogSettings(log_format="json"), "test")

        logger().warning("something", text="x" * 10_000)
        logger().error("something else")
        with suppress(OSError):
            full.close()
