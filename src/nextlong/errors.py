"""The one exception that users see."""

from __future__ import annotations

from nextlong.public_text import redacted


class NextlongError(Exception):
    """Something a person can act on: what happened and where, and what to do about it.

    Args:
        message: what happened and where (file, line, value), in one sentence. Secrets in URLs are cut out of it.
        hint: what to do; shown on a line of its own.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        # What goes wrong with an address is often told with the whole address, by libraries too.
        self.message = redacted(message)
        self.hint = redacted(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[NextlongError], tuple[str, str]]:
        # Errors cross process borders; the default reduction would lose the hint.
        return (type(self), (self.message, self.hint))


def is_panic(error: BaseException) -> bool:
    """Whether an error is the panic of a library written in Rust, which is no :class:`Exception`."""
    return type(error).__name__ == "PanicException"


class UsageError(NextlongError):
    """The command or configuration asks for something that makes no sense; exit code 2."""
