"""Where requests that users cause may go: names are resolved here, and only addresses that may be reached come out.

Always holds: what `addresses` and `resolve` give was checked for the very connection that asks for it. Whoever connects
goes to one of these and looks nothing up again. Use one guard from one event loop.
"""

import socket
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from app.core.errors import UpstreamFailed
from app.core.name_look_ups import NameLookUps, NotFoundInTime
from app.core.public_addresses import Allowance, ForbiddenAddress, address_in, is_local_name

DEFAULT_PORTS = {"http": 80, "https": 443}


class Unreachable(UpstreamFailed):
    """Nobody answered at that address, or not in time, or not in HTTP; a later try may succeed."""

    code = "unreachable"


class AddressGuard(AbstractResolver):
    """What the operator allows, in the form that aiohttp asks for. aiohttp asks for names only: check URLs as well."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._look_ups = NameLookUps()

    def check(self, url: str) -> URL:
        """The URL; raise `ForbiddenAddress` if its form, or the address that it names, is not allowed."""
        try:
            target = URL(url)
            scheme, host, port = target.scheme, target.raw_host, target.port
        except ValueError:
            raise ForbiddenAddress("this is no URL") from None
        if scheme not in DEFAULT_PORTS or not host or not port:
            raise ForbiddenAddress("only http and https URLs can be reached")
        if target.raw_user is not None or target.raw_password is not None:
            raise ForbiddenAddress("the URL must not hold a user name or a password")
        self._check_host(host, port)
        return target

    async def addresses(self, host: str, port: int) -> list[str]:
        """What a connection to that host may go to, in order; raise `ForbiddenAddress`, OSError or `Unreachable`."""
        if self._check_host(host, port):
            return [host]
        return [found["host"] for found in await self.resolve(host, port)]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raise `ForbiddenAddress` if the name leads nowhere else, OSError if it leads nowhere, else `Unreachable`."""
        try:
            found = await self._look_ups.find(host, port, family)
        except NotFoundInTime as error:
            raise Unreachable(str(error)) from error
        except UnicodeError as error:
            raise OSError(f"{host} is no name") from error
        trusted = self._allowance.allows_name(host, port)
        allowed = [
            _result(host, port, found_family, str(socket_address[0]))
            for found_family, _type, _protocol, _name, socket_address in found
            if trusted or self._allowance.permits(ip_address(socket_address[0]), port)
        ]
        if not allowed:
            raise ForbiddenAddress(f"{host} does not lead to a public address")
        return allowed

    async def close(self) -> None:
        self._look_ups.close()

    def _check_host(self, host: str, port: int) -> bool:
        """Whether the host is an address, which then is allowed."""
        address = address_in(host)
        if address is not None and not self._allowance.permits(address, port):
            raise ForbiddenAddress(f"{host} is not a public address")
        if is_local_name(host) and not self._allowance.allows_name(host, port):
            raise ForbiddenAddress(f"{host} is this server itself")
        return address is not None


def _result(host: str, port: int, family: int, address: str) -> ResolveResult:
    return {
        "hostname": host,
        "host": address,
        "port": port,
        "family": family,
        "proto": socket.IPPROTO_TCP,
        "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    }
