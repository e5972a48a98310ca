"""Mailers: one promise, kept by each."""

import asyncio
import logging
import sys
import time

import pytest

from app.config import MailSettings, Settings
from app.core.errors import StartupFailed
from app.core.mailer import ConsoleMailer, MailFailed, SmtpMailer, make_mailer
from tests.fixtures.mail import smtp_settings, text_of
from tests.fixtures.plugins import write_distribution

pytestmark = pytest.mark.anyio

TEXT = "Grüße aus der Arena.\n\nDas Wort ist geheim-4711.\n"


def smtp(office, **changes):
    return SmtpMailer(MailSettings(**smtp_settings(office, **changes)))


def settings_with(**mail):
    return Settings(data_dir="/nowhere", mail=MailSettings(**mail))


async def test_a_mail_comes_as_it_was_sent(post_office):
    await smtp(post_office).send("ada@arena.example", "Subject, äöü", TEXT)

    [mail] = post_office.mails
    assert (mail["From"], mail["To"], mail["Subject"]) == ("arena@arena.example", "ada@arena.example", "Subject, äöü")
    assert text_of(mail) == TEXT
    assert mail["Date"]
    assert mail["Message-ID"].endswith("@arena.example>")
    assert mail["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("injected", ["ada@arena.example\r\nBcc: all@arena.example", "ada@arena.example\nX: y"])
async def test_an_address_adds_no_header(post_office, injected):
    with pytest.raises(MailFailed):
        await smtp(post_office).send(injected, "Subject", TEXT)

    assert post_office.mails == []


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_mail_goes_over_tls_to_a_server_that_is_trusted(open_post_office, certified, monkeypatch, tls):
    context, trusted = certified
    office = open_post_office(tls=context, tls_from_the_start=tls == "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))

    await smtp(office, smtp_tls=tls, smtp_username="arena", smtp_password="letmein").send("a@b.example", "Hi", TEXT)

    assert office.over_tls == [True]
    assert office.logins == ["\0arena\0letmein"]


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_server_that_cannot_prove_itself_gets_neither_mail_nor_password(open_post_office, certified, tls):
    office = open_post_office(tls=certified[0], tls_from_the_start=tls == "tls")

    with pytest.raises(MailFailed):
        await smtp(office, smtp_tls=tls, smtp_username="arena", smtp_password="letmein").send("a@b.example", "", TEXT)

    assert (office.mails, office.logins) == ([], [])


async def test_a_server_that_offers_no_tls_gets_no_mail(post_office):
    with pytest.raises(MailFailed):
        await smtp(post_office, smtp_tls="starttls").send("a@b.example", "Hi", TEXT)

    assert post_office.mails == []


async def test_a_refusal_is_told_without_the_text(post_office):
    post_office.replies = ["554 no geheim-4711 here"]

    with pytest.raises(MailFailed, match="554") as failed:
        await smtp(post_office).send("a@b.example", "Hi", TEXT)

    assert "geheim" not in str(failed.value)


async def test_a_server_that_is_not_there_is_told_of(open_post_office):
    with pytest.raises(MailFailed):
        await smtp(open_post_office(), smtp_port=1).send("a@b.example", "Hi", TEXT)


async def test_a_mail_server_that_hangs_does_not_hold_up_logins(post_office):
    post_office.pause_seconds = 1.5
    mailer = smtp(post_office)
    sending = [asyncio.create_task(mailer.send("a@b.example", "Hi", TEXT)) for _ in range(40)]
    await asyncio.sleep(0.2)

    async with asyncio.timeout(1):
        await asyncio.to_thread(time.sleep, 0)  # the threads that hash passwords

    for task in sending:
        task.cancel()
    await asyncio.gather(*sending, return_exceptions=True)


async def test_the_console_shows_a_mail_on_standard_output_and_in_no_log(capsys, caplog):
    with caplog.at_level(logging.DEBUG):
        await ConsoleMailer().send("ada@arena.example", "Hello", TEXT)

    shown = capsys.readouterr()
    assert "To: ada@arena.example" in shown.out
    assert "geheim-4711" in shown.out
    assert shown.err == ""
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("mail", "complaint"),
    [
        ({"mailer": "smtp"}, "ARENA_SMTP_HOST"),
        ({"mailer": "smtp", "smtp_host": "mail.example"}, "ARENA_SMTP_FROM"),
        (
            {
                **{"mailer": "smtp", "smtp_host": "mail.example", "smtp_from": "a@b.example", "smtp_tls": "off"},
                **{"smtp_username": "arena", "smtp_password": "letmein"},
            },
            "in the clear",
        ),
        ({"mailer": "pigeon"}, "no such mailer"),
    ],
)
def test_settings_that_send_nothing_are_refused_at_the_start(mail, complaint):
    with pytest.raises(StartupFailed, match=complaint):
        make_mailer(settings_with(**mail))


def test_console_is_the_default():
    assert isinstance(make_mailer(settings_with()), ConsoleMailer)


PIGEON = """
class Pigeon:
    def __init__(self, settings):
        self.port = settings.server.port
        if settings.mail.smtp_host == "a hawk":
            raise RuntimeError("eaten")

    async def send(self, to, subject, text):
        return None
"""


def test_a_mailer_of_another_package_is_made_with_the_settings(tmp_path, monkeypatch):
    folder = write_distribution(tmp_path / "site", group="arena.mailers", pigeon="pigeons_of_this_test:Pigeon")
    (folder / "pigeons_of_this_test.py").write_text(PIGEON)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "pigeons_of_this_test", raising=False)

    pigeon = make_mailer(settings_with(mailer="pigeon"))

    assert (type(pigeon).__name__, pigeon.port) == ("Pigeon", 8000)


def test_a_mailer_that_cannot_be_made_is_told_of_at_the_start(tmp_path, monkeypatch):
    folder = write_distribution(tmp_path / "site", group="arena.mailers", pigeon="pigeons_of_this_test:Pigeon")
    (folder / "pigeons_of_this_test.py").write_text(PIGEON)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "pigeons_of_this_test", raising=False)

    with pytest.raises(StartupFailed, match="eaten"):
        make_mailer(settings_with(mailer="pigeon", smtp_host="a hawk"))
