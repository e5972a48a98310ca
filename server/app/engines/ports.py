"""TCP ports: a free one, whether one is free, and whether a server answers on one."""

import contextlib
import http.client
import random
import socket

# Below the ports that Linux gives to outgoing connections: a client that reconnects to a dead server's port from the
# same machine could otherwise be given that very port and be connected to itself.
LOWEST_PORT = 20_000
HIGHEST_PORT = 32_000
ATTEMPTS = 100
ANSWER_SECONDS = 2.0


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now and no outgoing connection takes."""
    for _ in range(ATTEMPTS):
        port = random.randrange(LOWEST_PORT, HIGHEST_PORT)  # noqa: S311 - no secret
        with contextlib.suppress(OSError):
            try_listening(host, port)
            return port
    raise OSError(f"no free port on {host}")


def try_listening(host: str, port: int) -> None:
    """Raise `OSError` if a server could not listen on every address of that name and port."""
    flags = socket.AI_PASSIVE
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)


def answers(host: str, port: int, path: str) -> bool:
    """Whether a GET is answered with 200; raises what `http.client` raises."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    finally:
        connection.close()
