"""Which of two representations a client asks for (RFC 9110, 12.5.1)."""

from fastapi import Request

from app.routes.responses import EVENT_STREAM

JSON = "application/json"


def wants_event_stream(request: Request) -> bool:
    """Whether it asks for a live stream, and for nothing rather than that; who takes anything gets the page."""
    weights = _weights(",".join(request.headers.getlist("accept")))
    return 0 < weights.get(EVENT_STREAM, 0) >= weights.get(JSON, 0)


def _weights(accept: str) -> dict[str, float]:
    """What weight each media type is given; one that cannot be read counts as none."""
    weights = {}
    for element in accept.split(","):
        media_type, *parameters = (part.strip() for part in element.lower().split(";"))
        given = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        try:
            weights[media_type] = float(given)
        except ValueError:
            continue
    return weights
