"""Ready scripts, each usable by its name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.domain.policies.casting import Role
from app.domain.policies.phases import Phase

MOST_SEATS = 50


@dataclass(frozen=True, slots=True)
class Format:
    """A script for anybody: its phases' speakers are roles. `repeated` is the phase whose rounds may be chosen."""

    name: str
    title: str
    description: str
    roles: Sequence[Role]
    phases: Sequence[Phase]
    repeated: str

    @property
    def fewest_seats(self) -> int:
        return sum(role.least for role in self.roles)

    @property
    def most_seats(self) -> int:
        """The largest table at which everybody has a role."""
        most = [MOST_SEATS if role.most is None else role.most for role in self.roles]
        return min(sum(most), MOST_SEATS)

    @property
    def rounds(self) -> int:
        """Of the repeated phase, unless told otherwise."""
        return next(phase.rounds for phase in self.phases if phase.name == self.repeated)

    def script(self, rounds: int | None) -> list[Phase]:
        """Its phases, the repeated one that often."""
        return [
            replace(phase, rounds=rounds) if rounds and phase.name == self.repeated else phase for phase in self.phases
        ]


_DEBATE = Format(
    name="debate",
    title="Debate",
    description="Two sides open, answer each other and close; a judge, if there is one, decides.",
    roles=(
        Role("for", "In favour", "Argues that the topic's claim is right."),
        Role("against", "Against", "Argues that the topic's claim is wrong."),
        Role("judge", "Judge", "Listens and decides at the end.", least=0, most=1, is_lead=True),
    ),
    phases=(
        Phase(
            "opening",
            ("for", "against"),
            instructions={
                "for": "Open the debate in favour: state your position and your strongest two or three arguments.",
                "against": "Open the debate against: state your position and your strongest two or three arguments.",
            },
        ),
        Phase(
            "rebuttal",
            ("for", "against"),
            rounds=2,
            instructions={
                "for": "You are in favour. Answer the other side's latest argument directly, then add to your own.",
                "against": "You are against. Answer the other side's latest argument directly, then add to your own.",
            },
        ),
        Phase(
            "closing",
            ("for", "against"),
            instructions={
                "for": "Close in favour: what has been shown, and why it decides the matter. No new arguments.",
                "against": "Close against: what has been shown, and why it decides the matter. No new arguments.",
            },
        ),
        Phase(
            "verdict",
            ("judge",),
            instruction="Judge the debate: which side made the better case, by which arguments, and what stays open.",
        ),
    ),
    repeated="rebuttal",
)

_BRAINSTORM = Format(
    name="brainstorm",
    title="Brainstorm",
    description="Everybody brings ideas without seeing the others', then all build on them and choose the best.",
    roles=(
        Role("participants", "Participants", "Bring ideas and build on them.", least=2),
        Role("facilitator", "Facilitator", "Sums up at the end.", least=0, most=1, is_lead=True),
    ),
    phases=(
        Phase(
            "ideas",
            ("participants",),
            instruction="Bring three different ideas, one sentence each. Be bold and do not judge them yet.",
            is_blind=True,
        ),
        Phase(
            "building",
            ("participants",),
            instruction="Take up somebody else's idea and make it better, or join two of them. Do not repeat.",
        ),
        Phase(
            "choosing",
            ("participants",),
            instruction="Name the one idea you would pursue, by whom it was, and the first step.",
        ),
        Phase(
            "summary",
            ("facilitator",),
            instruction="Sum up: the ideas with the most support, and what should be done first.",
        ),
    ),
    repeated="building",
)

_INTERVIEW = Format(
    name="interview",
    title="Interview",
    description="An interviewer asks, the guests answer, round by round.",
    roles=(
        Role("interviewer", "Interviewer", "Asks one question a round.", most=1, is_lead=True),
        Role("guests", "Guests", "Answer the questions."),
    ),
    phases=(
        Phase(
            "conversation",
            ("interviewer", "guests"),
            rounds=4,
            instructions={
                "interviewer": "Ask one short question that follows from what was said so far. Do not answer it.",
                "guests": "Answer the interviewer's latest question, concretely and in your own voice.",
            },
        ),
        Phase(
            "last words",
            ("guests",),
            instruction="Say in one or two sentences what should be remembered of this conversation.",
        ),
        Phase(
            "thanks",
            ("interviewer",),
            instruction="Thank the guests and sum the conversation up in a few sentences.",
        ),
    ),
    repeated="conversation",
)

_COUNCIL = Format(
    name="council",
    title="Council",
    description="All answer without seeing each other, all review the answers without names, a chair concludes.",
    roles=(
        Role("chair", "Chair", "Concludes; answers and reviews nothing.", most=1, is_lead=True),
        Role("members", "Members", "Answer, and review each other's answers.", least=2),
    ),
    phases=(
        Phase(
            "answers",
            ("members",),
            instruction="Give your own best answer to the topic, with your reasons.",
            is_blind=True,
            is_anonymous=True,
        ),
        Phase(
            "reviews",
            ("members",),
            instruction="Review the others' answers one by one: what is right, what is wrong or missing in each. "
            "Then rank them, the best first.",
            is_blind=True,
            is_anonymous=True,
        ),
        # Under the letters that the reviews speak of.
        Phase(
            "conclusion",
            ("chair",),
            instruction="Conclude: give the council's one answer, built on the best of what was said, and say where "
            "the members disagree.",
            is_anonymous=True,
        ),
    ),
    repeated="reviews",
)

FORMATS: Mapping[str, Format] = {one.name: one for one in (_DEBATE, _BRAINSTORM, _INTERVIEW, _COUNCIL)}
