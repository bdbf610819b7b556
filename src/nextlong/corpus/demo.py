"""The demo corpus, which every Python brings along: its reference topics and its standard library's documentation.

A document is a reference topic, a module, or a class big enough to stand alone. Modules and classes are made of what
people wrote in them for people: docstrings under their signatures, and longer comments, in the order of the source.
Nothing is imported or run. The corpus differs a little between Python versions.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nextlong.corpus.source import Source
from nextlong.records import Document

# To be raised whenever this file gives other documents from the same Python.
DEMO_VERSION = 1

# A class with this much documentation is a document of its own: two chunks at the default granularity of 2,048.
CLASS_CHARACTERS = 4200

# The most of a document, some 8,000 tokens: root documents of short demonstration sequences should fit into half of one.
# Longer modules continue in a document of their own.
MOST_CHARACTERS = 32_000

# Less than a few sentences is no document worth retrieving.
FEWEST_CHARACTERS = 200

# Shorter comments explain the code beside them, which is not there to read.
COMMENT_CHARACTERS = 80

# Shorter paragraphs ("See the base class.") recur by nature; longer ones that recur are copies.
COPY_CHARACTERS = 80

# Tests, what is installed beside the library, and the reference topics, which are read as such.
_SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "pydoc_data"}
_LICENCE = re.compile(r"copyright|permission is hereby granted|licensed to|all rights reserved", re.IGNORECASE)
_RULER = re.compile(r"[-=*#~_ ]*")


@dataclass(frozen=True)
class _Section:
    """A stretch of documentation: the line where it stands, and whose it is."""

    line: int
    heading: str
    text: str

    def __str__(self) -> str:
        return f"{self.heading}\n\n{self.text}" if self.heading else self.text


def demo_source() -> Source:
    """The source of the demo corpus."""
    fingerprint = f"demo {DEMO_VERSION} of Python {sys.version.split()[0]}"
    return Source("demo", "demo", "demo", None, fingerprint)


def demo_documents() -> Iterator[Document]:
    """The documents of the demo corpus, always in the same order; no paragraph of some length is in two of them.

    Ids are ``topic:NAME``, ``module:NAME`` and ``class:MODULE.NAME``; what is too long for one document continues in
    ``…#2``.
    """
    copies = _Copies()
    row = 0
    for name, text in _titled_texts():
        for part, body in enumerate(_parts(copies.removed(text)), start=1):
            row += 1
            yield Document(row, body, name if part == 1 else f"{name}#{part}")


def _titled_texts() -> Iterator[tuple[str, str]]:
    from pydoc_data.topics import topics

    # Long topics quote short ones whole: shortest first, so that a text stays where it is the subject.
    for name in sorted(topics, key=lambda name: (len(topics[name]), name)):
        yield f"topic:{name}", topics[name]
    library = Path(sysconfig.get_paths()["stdlib"])
    modules = {_module_name(path.relative_to(library)): path for path in _module_files(library)}
    for name in sorted(modules):
        yield from _module_texts(name, modules[name])


class _Copies:
    """Remembers paragraphs, to give each only once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def removed(self, text: str) -> str:
        """``text`` without the paragraphs that were given before."""
        kept = []
        for paragraph in re.split(r"\n[ \t]*\n", text.strip("\n")):
            if len(paragraph) >= COPY_CHARACTERS:
                key = " ".join(paragraph.split())
                if key in self._seen:
                    continue
                self._seen.add(key)
            kept.append(paragraph.rstrip())
        return "\n\n".join(kept)


def _parts(text: str) -> Iterator[str]:
    """``text`` in equal parts of at most `MOST_CHARACTERS`, cut between paragraphs."""
    count = -(-len(text) // MOST_CHARACTERS)
    part: list[str] = []
    size = 0
    for paragraph in text.split("\n\n"):
        if part and size + len(paragraph) > len(text) / count:
            yield from _worthwhile(part)
            part, size = [], 0
        part.append(paragraph)
        size += len(paragraph) + 2
    yield from _worthwhile(part)


def _worthwhile(paragraphs: list[str]) -> Iterator[str]:
    text = "\n\n".join(paragraphs).strip("\n")
    if len(text) >= FEWEST_CHARACTERS:
        yield text


def _module_files(library: Path) -> Iterator[Path]:
    """The library's Python files, without the folders that are no documentation. Nothing where it is a zip file."""
    if not library.is_dir():
        return
    for path in library.iterdir():
        if path.is_dir() and not path.is_symlink() and path.name not in _SKIPPED_FOLDERS:
            yield from _module_files(path)
        elif path.suffix == ".py" and not path.name.startswith("_sysconfigdata"):
            yield path


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _module_texts(name: str, path: Path) -> Iterator[tuple[str, str]]:
    """The module's own document and those of its big classes."""
    try:
        source = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old code has escapes that new Pythons dislike
            tree = ast.parse(source)
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError):
        return  # a template or a file in an old encoding; the corpus does without
    docstring_lines: set[int] = set()
    sections = [*_docstrings(tree, name, docstring_lines), *_comments(source, docstring_lines)]
    sections.sort(key=lambda section: section.line)
    big: list[tuple[str, str]] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.end_lineno is not None:
            inside = [section for section in sections if node.lineno <= section.line <= node.end_lineno]
            if sum(len(section.text) for section in inside) >= CLASS_CHARACTERS:
                big.append((f"class:{name}.{node.name}", _joined(inside)))
                sections = [section for section in sections if section not in set(inside)]
    if sections:
        yield f"module:{name}", _joined(sections)
    yield from big


def _joined(sections: list[_Section]) -> str:
    return "\n\n".join(map(str, sections))


def _docstrings(node: ast.Module | ast.ClassDef, qualified: str, lines: set[int]) -> Iterator[_Section]:
    """The docstrings of a module or class and of everything defined in its body; notes their lines in ``lines``."""
    text = _docstring(node, lines)
    line = 0 if isinstance(node, ast.Module) else node.lineno  # a module's docstring goes before the comments above it
    if text:
        if isinstance(node, ast.ClassDef):
            bases = ", ".join(ast.unparse(base) for base in node.bases)
            yield _Section(line, f"class {qualified}({bases})" if bases else f"class {qualified}", text)
        else:
            yield _Section(line, f"module {qualified}", text)
    for child in _definitions(node.body):
        if isinstance(child, ast.ClassDef):
            yield from _docstrings(child, f"{qualified}.{child.name}", lines)
        elif text := _docstring(child, lines):
            yield _Section(child.lineno, f"{qualified}.{child.name}({ast.unparse(child.args)})", text)


def _definitions(body: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Classes and functions in ``body``, also under conditions (``if sys.platform …``, ``try: import …``)."""
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement
        elif isinstance(statement, ast.If | ast.Try):
            yield from _definitions(statement.body)
            yield from _definitions(statement.orelse)


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, lines: set[int]) -> str:
    text = ast.get_docstring(node, clean=False)
    # An escape in a docstring can be half of a surrogate pair, which no file can hold.
    if not text or not text.strip() or text.encode("utf-8", "ignore").decode("utf-8") != text:
        return ""
    first = node.body[0]
    lines.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return inspect.cleandoc(text).strip()


def _comments(source: str, docstring_lines: set[int]) -> Iterator[_Section]:
    """Blocks of comment lines that are long enough to be read alone, without licences."""
    block: list[str] = []
    start = 0
    for number, line in enumerate([*source.split("\n"), ""], start=1):
        stripped = line.strip()
        if stripped.startswith("#") and number not in docstring_lines:
            start = start if block else number
            words = stripped.lstrip("#").removeprefix(" ").rstrip()
            block.append("" if _RULER.fullmatch(words) else words)
            continue
        text = "\n".join(block).strip("\n")
        block = []
        if len(text) >= COMMENT_CHARACTERS and not _LICENCE.search(text):
            yield _Section(start, "", text)
