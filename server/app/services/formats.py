"""The ready formats, as the wire shows them."""

from functools import cache

from app.domain.policies.formats import FORMATS, Format
from app.schemas.base import Page
from app.schemas.policies import FormatRead, PhaseRead, RoleRead, SeatsRead


@cache
def list_formats() -> Page[FormatRead]:
    """All of them, on one page."""
    return Page(items=[_read(form) for form in FORMATS.values()])


def _read(form: Format) -> FormatRead:
    return FormatRead(
        name=form.name,
        title=form.title,
        description=form.description,
        seats=SeatsRead(min=form.fewest_seats, max=form.most_seats),
        roles=[
            RoleRead(
                name=role.name,
                title=role.title,
                description=role.description,
                min=role.least,
                max=role.most,
                default="lead" if role.is_lead else "rest",
            )
            for role in form.roles
        ],
        phases=[
            PhaseRead(
                name=phase.name,
                speakers=list(phase.speakers),
                rounds=phase.rounds,
                repeated=phase.name == form.repeated,
                instruction=phase.instruction,
                instructions=dict(phase.instructions),
                blind=phase.is_blind,
                anonymous=phase.is_anonymous,
            )
            for phase in form.phases
        ],
        turn_policy={"type": "scripted", "format": form.name},
    )
