"""Where the logs of discussions end, asked for many requests at once."""

from uuid import UUID

from app.repositories.event_log import last_seqs
from app.services.gathered import Gathered
from app.services.unit_of_work import UnitOfWorkFactory


class LogEnds(Gathered[UUID, int]):
    """`of` gives the last `seq` of a log; None if there is no such discussion."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        super().__init__(uow, last_seqs)
