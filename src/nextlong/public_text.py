"""Text that others wrote, made fit to be shown: without control characters, and without the secrets of addresses."""

from __future__ import annotations

import re

HIDDEN = "…"

# An address in running text: scheme, authority and path, query and fragment. White space and quotes end it, as in messages.
# A scheme is not looked for inside of a word: a message may hold a word of a million letters, and that would take hours.
_ADDRESS = re.compile(r"""(?<![a-z0-9+.\-])([a-z0-9+.\-]+)://([^\s'"<>?#]*)([?#][^\s'"<>]*)?""", re.IGNORECASE)

# Who may enter: what stands before the last @ of the authority. Secret keys of object stores may hold slashes, which cut the
# authority short: then a colon in it is not followed by a port, and it is all before the last @.
_USER = re.compile(r"[^/]*@|[^/@:]*:(?!\d*(?:/|$))[^@]*(?:@[^@]*)*@")


def printable(text: str, lines: bool = True) -> str:
    """``text`` with control characters as visible escapes, so that a terminal only shows it.

    Args:
        text: any text, such as an id from a corpus or a file's name.
        lines: leave line feeds as they are; else they are escaped, too, and no text can pass for another line.
    """
    if (text.replace("\n", "") if lines else text).isprintable():  # as nearly all is, at a hundredth of the time
        return text
    return "".join(
        character if character.isprintable() or (lines and character == "\n") else repr(character)[1:-1]
        for character in text
    )


def redacted(text: str) -> str:
    """``text`` without the secrets of the addresses in it: users, passwords, queries and fragments.

    Pre-signed URLs carry their secret in the query, and libraries write whole URLs into their errors.
    """
    return _ADDRESS.sub(_without_secrets, text)


def _without_secrets(match: re.Match[str]) -> str:
    scheme, rest, query = match.groups()
    user = _USER.match(rest)
    shown = f"{HIDDEN}@{rest[user.end() :]}" if user else rest
    return f"{scheme}://{shown}{query[0] + HIDDEN if query else ''}"


def plain_address(url: str) -> str:
    """One URL without user, password, query and fragment, whatever characters it has; what is no URL is hidden."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return HIDDEN
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    user = _USER.match(rest)
    return f"{scheme}://{rest[user.end() :] if user else rest}"
