"""Mail to users: to standard output, by SMTP, or by a class of an installed package (entry points `arena.mailers`)."""

import asyncio
import smtplib
import ssl
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from importlib.metadata import entry_points
from typing import Protocol

from app.config import MailSettings, Settings
from app.core.errors import StartupFailed

GROUP = "arena.mailers"
SMTP_SECONDS = 10.0
SMTP_THREADS = 2
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class MailFailed(Exception):
    """The mail was not accepted; `str` says why without its text."""


class Mailer(Protocol):
    """What sends mail. A class of another package is made with the whole `Settings`."""

    async def send(self, to: str, subject: str, text: str) -> None:
        """Return when the mail is in others' hands; raise `MailFailed`. The text holds secrets: never log it."""


class ConsoleMailer:
    """Shows mails on standard output.

    Not in the logs, which are on standard error: these are kept and shipped, and the text holds a secret.
    """

    async def send(self, to: str, subject: str, text: str) -> None:
        lines = [f"To: {to}", f"Subject: {subject}", "", *text.splitlines()]
        block = "\n".join(f"  {line}".rstrip() for line in lines)
        sys.stdout.write(f"\nA mail (ARENA_MAILER=smtp would send it):\n\n{block}\n\n")
        sys.stdout.flush()


class SmtpMailer:
    """Hands mails to an SMTP server (RFC 5321), over TLS unless that is turned off.

    On threads of its own: a server that hangs must not take those on which passwords are hashed.
    """

    def __init__(self, settings: MailSettings) -> None:
        if not settings.smtp_host or not settings.smtp_from:
            raise StartupFailed("ARENA_MAILER=smtp needs ARENA_SMTP_HOST and ARENA_SMTP_FROM")
        if settings.smtp_username and settings.smtp_tls == "off" and settings.smtp_host not in _LOOPBACK:
            raise StartupFailed("ARENA_SMTP_TLS=off would send ARENA_SMTP_PASSWORD in the clear; leave one of them out")
        self._settings = settings
        self._host, self._from = settings.smtp_host, settings.smtp_from
        self._threads = ThreadPoolExecutor(SMTP_THREADS, "smtp")

    async def send(self, to: str, subject: str, text: str) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._deliver, to, subject, text)

    def _deliver(self, to: str, subject: str, text: str) -> None:
        try:
            message = _message(self._from, to, subject, text)
            with self._connected() as server:
                self._log_in(server)
                server.send_message(message)
        except smtplib.SMTPResponseException as error:
            raise MailFailed(f"the mail server answered {error.smtp_code}") from None
        except (smtplib.SMTPException, OSError, ValueError, MessageError) as error:
            raise MailFailed(f"the mail was not sent: {type(error).__name__}") from None

    def _connected(self) -> smtplib.SMTP:
        port, tls = self._settings.smtp_port, self._settings.smtp_tls
        if tls == "tls":
            return smtplib.SMTP_SSL(self._host, port, timeout=SMTP_SECONDS, context=ssl.create_default_context())
        server = smtplib.SMTP(self._host, port, timeout=SMTP_SECONDS)
        if tls == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server

    def _log_in(self, server: smtplib.SMTP) -> None:
        if self._settings.smtp_username:
            password = self._settings.smtp_password
            server.login(self._settings.smtp_username, password.get_secret_value() if password else "")


def _message(sender: str, to: str, subject: str, text: str) -> EmailMessage:
    """The mail; the library refuses a line break in a header, so that nobody adds headers by an address."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"], message["Message-ID"] = formatdate(localtime=False), make_msgid(domain=sender.rpartition("@")[2])
    # Away messages need not answer (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message


def make_mailer(settings: Settings) -> Mailer:
    """The one that `ARENA_MAILER` names; raise `StartupFailed` if there is none such."""
    name = settings.mail.mailer
    if name == "console":
        return ConsoleMailer()
    if name == "smtp":
        return SmtpMailer(settings.mail)
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        raise StartupFailed(f"ARENA_MAILER={name}: there is no such mailer; console and smtp are built in")
    try:
        factory: Callable[[Settings], Mailer] = found[0].load()
        return factory(settings)
    except Exception as error:  # it is anybody's
        raise StartupFailed(f"ARENA_MAILER={name}: it cannot be made ({type(error).__name__}: {error})") from error
