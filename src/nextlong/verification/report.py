"""What a verification found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Failure:
    """An invariant that does not hold.

    Attributes:
        where: the file, and the row where there is one.
        what: what is wrong, with the values.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Report:
    """The outcome for one pool or dataset.

    Attributes:
        kind: ``pool`` or ``dataset``.
        checks: what was proven → over how many files, rows, …; and the ``gaps``.
        gaps: those of ``checks`` that say what could not be proven, although nothing was found wrong.
        failures: what was not, in the order of files and rows; empty when all is well.
    """

    kind: str
    checks: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return not self.failures
