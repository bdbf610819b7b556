"""A program that has imported nextlong once and forks a process for each run of the command line that it is asked for.

Its argument is a tokenizer, which it makes ready once, too: that takes longer than a run of these sizes. Each line of
standard input is a request, a JSON object; each line of standard output says that a run was started or has ended. A run is a
process group of its own, with its workers, as if a shell had started it. What a request may hold:

- ``number``: names the run in the answers.
- ``arguments``, ``cwd``, ``stdout``, ``stderr`` (files), ``environment`` (more variables).
- ``shard_tokens``: so few tokens to a shard that small datasets have several.
- ``file_bytes``: no file may grow larger.
- ``impatient``: it waits for an embeddings service no longer than that takes on this machine.
- ``plain_user``: the run has no right to write where permissions forbid it, which root else has.
- ``hold``: the run stands still before it commits the first file whose path contains this text, and the file
  ``hold_folder/reached`` says so; it goes on when there is ``hold_folder/go``.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import selectors
import signal
import struct
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

_IMPORTED = (
    "bm25s",
    "faiss",
    "loky",
    "nextlong.api",
    "nextlong.cli.main",
    "nextlong.composition.knn",
    "nextlong.composition.nextlong",
    "nextlong.embedding.lsa",
    "pandas",
    "pyarrow.parquet",
    "scipy.sparse",
    "tokenizers",
)

# linux/capability.h: overriding permissions of files, by reading and searching, too; and its version 3.
_OVERRIDE_PERMISSIONS = 0b110
_CAPABILITIES = 0x20080522


def without_overriding() -> None:
    """Give up root's right to write where permissions forbid it."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, held = struct.pack("Ii", _CAPABILITIES, 0), ctypes.create_string_buffer(24)
    if libc.capget(header, held):
        raise OSError(ctypes.get_errno(), "capget")
    words = list(struct.unpack("6I", held.raw))
    words[0] &= ~_OVERRIDE_PERMISSIONS  # what it may do now; of the lower 32 capabilities
    if libc.capset(header, struct.pack("6I", *words)):
        raise OSError(ctypes.get_errno(), "capset")


def wait_less() -> None:
    """Half a second for an answer of an embeddings service, and next to nothing between attempts."""
    from nextlong.embedding import endpoint

    endpoint._FIRST_WAIT_SECONDS = 0.002
    endpoint.EndpointEncoder.__init__.__kwdefaults__["timeout"] = 0.5


def held_at(text: str, folder: Path) -> None:
    """Stand still before the first file with this in its path gets its name."""
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        reached = folder / "reached"
        if text in str(target) and not reached.exists():
            reached.touch()
            while not (folder / "go").exists():
                time.sleep(0.01)
        return rename(path, target)

    Path.replace = replace  # type: ignore[method-assign, assignment]


def run(request: dict[str, Any]) -> None:
    """Be the run."""
    from nextlong.cli.main import main
    from nextlong.dataset import layout
    from nextlong.pool import layout as pool_layout

    os.setsid()
    # Where the tests run in the background of a shell, Ctrl-C is ignored, and children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for stream, name in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    os.fsync = lambda _: None  # half of the time; and a kill, unlike a power cut, loses nothing of what was written
    layout.SHARD_TOKENS, pool_layout.SOURCE_GROUP_BYTES = request["shard_tokens"], 1
    if request["hold"]:
        held_at(request["hold"], Path(request["hold_folder"]))
    if request["file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"], resource.RLIM_INFINITY))
    if request["impatient"]:
        wait_less()
    if request["plain_user"]:
        without_overriding()
    sys.argv = ["nextlong", *request["arguments"]]
    main()


def start(request: dict[str, Any]) -> int:
    """Fork the run; its process id."""
    process = os.fork()
    if process:
        return process
    code: object = 1
    try:
        run(request)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # as the interpreter does it
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def answer(**content: object) -> None:
    """Tell the tests."""
    print(json.dumps(content), flush=True)


def serve() -> None:
    """Start what is asked for and tell what has ended, until standard input ends."""
    numbers: dict[int, int] = {}
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(ended, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(ended, selectors.EVENT_READ)
    rest = b""
    while True:
        for key, _ in selector.select():
            if key.fd == 0:
                read = os.read(0, 1 << 16)
                if not read:
                    return
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    request = json.loads(line)
                    process = start(request)
                    numbers[process] = request["number"]
                    answer(number=request["number"], process=process)
            else:
                os.read(ended, 1 << 16)
        while numbers:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                break
            answer(number=numbers.pop(process), code=os.waitstatus_to_exitcode(status))


def make_ready(tokenizer: str) -> None:
    """Do what else each run would do for itself."""
    from nextlong.config import CompositionConfig
    from nextlong.tokenization.store import open_joiner
    from nextlong.tokenization.tokenizer import load_tokenizer

    open_joiner(tokenizer, CompositionConfig().separator, load_tokenizer(tokenizer).fingerprint)


if __name__ == "__main__":
    for module in _IMPORTED:
        import_module(module)
    make_ready(sys.argv[1])
    answer(ready=True)
    serve()
