import fastapi
from fastapi import HTTPException

from app.core.errors import NotFound


def refuse():
    raise HTTPException(404)  # found: no-http-below-routes


def refuse_by_module():
    raise fastapi.HTTPException(status_code=403)  # found: no-http-below-routes


def say_it_in_our_words():
    raise NotFound("there is no such agent")  # passed: no-http-below-routes
