"""The real command line on hostile input: on a terminal of its own, or with bounded memory."""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
from pathlib import Path

from small_runs import command, write_corpus

# What a terminal does, or a page: colours, a hidden link, a title, a bell, an overwritten line, 8-bit controls, reversed
# text, rich's markup and emoji, and what looks like another line of output.
CONTROLS = {
    "colour": "\x1b[38;5;199mCOLOUR",
    "link": "\x1b]8;;http://evil.example\x1b\\LINK",
    "title": "\x1b]0;TITLE\x07",
    "return": "\rRETURN",
    "eight_bit": "\x9b31mEIGHT\x85\x90",
    "bidi": "\u202eBIDI\u2066\u200f",
    "markup": "[bold red]MARKUP[/] :smile:",
    "line": "LINE\nerror: everything is lost",
}
HOSTILE = "".join(CONTROLS.values())

# What none of our own output has: rich writes sequences that begin with ESC [ only, and of colours the basic ones.
FORBIDDEN = (
    "\x1b]",
    "\x1bP",
    "\x1b\\",
    "\x07",
    "\x1b[38;5;199m",
    "\rRETURN",
    *"\x85\x90\x9b",
    *"\u202e\u2066\u200f",
    "\nerror: every",
)


def hostile_corpus(folder: Path) -> Path:
    """Documents with hostile ids, texts and columns in a file with a hostile name, and rows that are rejected for them."""
    write_corpus(folder, files=1, documents=8)
    rows = [json.loads(line) for line in (folder / "part-0.jsonl").read_text().splitlines()]
    (folder / "part-0.jsonl").unlink()
    for number, row in enumerate(rows):
        row["id"], row["text"] = f"{HOSTILE}{number}", f"{HOSTILE} {row['text']}"
    rejects = [{HOSTILE: "no text"}, {"text": 7, "id": HOSTILE}, {"text": "  ", HOSTILE: HOSTILE}]
    lines = [json.dumps(row) + "\n" for row in (*rows, *rejects)]
    (folder / f"{HOSTILE.replace('/', '_')}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def on_a_terminal(*arguments: object, cwd: Path) -> tuple[int, str]:
    """How ``nextlong ARGUMENTS…`` ends, and all that it writes to a terminal of its own."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        command(*arguments), cwd=cwd, stdin=follower, stdout=follower, stderr=follower, env=environment
    )
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 1 << 16)
        except OSError:  # how Linux says that the other side is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    return process.wait(100), b"".join(parts).decode()


def limited(*arguments: object, cwd: Path, memory: int, seconds: int = 100) -> subprocess.CompletedProcess[str]:
    """``nextlong ARGUMENTS…`` with so many bytes of address space: what needs more fails at once."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)),
    )
