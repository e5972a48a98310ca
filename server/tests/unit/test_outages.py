"""What the database cannot do just now is told apart for those who have to mend it."""

import psycopg
import pytest
from psycopg.errors import AdminShutdown, DiskFull
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.repositories.base import DatabaseAway, telling_outages


def failed(cause: BaseException) -> OperationalError:
    return OperationalError("INSERT …", {}, cause)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (failed(DiskFull("could not extend file: No space left on device")), "database_full"),
        (failed(psycopg.OperationalError("connection refused")), "database_away"),
        (failed(AdminShutdown("terminating connection")), "database_away"),
        (PoolTimeoutError("none free"), "database_away"),
    ],
)
def test_an_outage_is_named(error, code):
    with pytest.raises(DatabaseAway) as told, telling_outages():
        raise error

    assert told.value.code == code
    assert told.value.__cause__ is error
