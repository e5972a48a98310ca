"""Which transactions somebody has been told of, as PostgreSQL's snapshots say it: `xmin:xmax:xip,xip`.

Source: PostgreSQL, "Transaction ID and Snapshot Information Functions". Transactions below `xmax` have been seen but
for those of `unseen`, which were still under way. Commits come in whatever order; this tells them apart exactly.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """`unseen` is in order, and each of it below `xmax`."""

    xmax: int
    unseen: tuple[int, ...] = ()

    @classmethod
    def of(cls, xmax: int, unseen: Collection[int]) -> "Seen":
        """Raise `ValueError` for numbers that no snapshot holds."""
        if xmax < 1 or any(not 0 < xid < xmax for xid in unseen):
            raise ValueError("no snapshot holds these numbers")
        return cls(xmax, tuple(sorted(set(unseen))))

    @classmethod
    def parse(cls, snapshot: str) -> "Seen":
        """From PostgreSQL's text."""
        _xmin, xmax, unseen = snapshot.split(":")
        return cls.of(int(xmax), [int(xid) for xid in unseen.split(",") if xid])

    def __str__(self) -> str:
        xmin = self.unseen[0] if self.unseen else self.xmax
        return f"{xmin}:{self.xmax}:{','.join(map(str, self.unseen))}"

    def includes(self, xid: int) -> bool:
        return xid < self.xmax and xid not in self.unseen

    def told_upto(self, xid: int, now: "Seen") -> "Seen":
        """What has been seen once everything that `now` shows and this does not was told, up to `xid` in order."""
        left = {one for one in self.unseen if one > xid or one in now.unseen}
        new = {one for one in now.unseen if self.xmax <= one <= xid}
        return Seen(max(self.xmax, xid + 1), tuple(sorted(left | new)))


def numbers_of(seen: Seen) -> Sequence[int]:
    """What makes it again: `Seen.of(numbers[0], numbers[1:])`."""
    return (seen.xmax, *seen.unseen)
