"""Which of two representations a client asks for (RFC 9110, 12.5.1)."""

import re

from fastapi import Request

from app.routes.responses import EVENT_STREAM

JSON_RANGES = ("application/json", "application/*", "*/*")
_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


async def wants_event_stream(request: Request) -> bool:
    """Whether it names live streams, and likes them no less than JSON; who takes any text or anything gets the page."""
    weights = _weights(",".join(request.headers.getlist("accept")))
    json = next((weights[known] for known in JSON_RANGES if known in weights), 0)
    return 0 < weights.get(EVENT_STREAM, 0) >= json


def _weights(accept: str) -> dict[str, float]:
    """What weight each media range is given; one whose weight cannot be read is left out."""
    weights = {}
    for element in accept.split(","):
        media_range, *parameters = (part.strip() for part in element.lower().split(";"))
        given = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        if _WEIGHT.fullmatch(given):
            weights[media_range] = float(given)
    return weights
