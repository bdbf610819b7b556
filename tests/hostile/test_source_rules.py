"""The source itself: nothing loads a pickle, runs text as code, trusts remote code by default, or prints past `terminal`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nextlong
from nextlong.config import EncoderConfig
from nextlong.mining.causal_lm import CausalLMSettings

SOURCE = Path(nextlong.__file__).parent

RAY = tuple(f"execution/{path.name}" for path in sorted((SOURCE / "execution").glob("ray_*.py")))

# Modules that load pickles or run what they are given, and the files that may use them all the same: workers are processes
# of our own, and get their tasks from us.
FORBIDDEN_MODULES = {
    "pickle": RAY,
    "cloudpickle": (),
    "dill": (),
    "joblib": (),
    "shelve": (),
    "marshal": (),
    "subprocess": (),
    "tarfile": (),
    "zipfile": (),
    "loky": ("execution/local.py",),
    "ray": RAY,
}

FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "print", "breakpoint", "input"),
    *("torch.load", "torch.hub.load", "os.system", "os.popen", "shutil.unpack_archive", "faiss.deserialize_index"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.safe_load", "yaml.safe_load_all"),
    *("np.fromregex", "np.genfromtxt", "pandas.read_pickle", "pd.read_pickle"),
}

# Where these calls, which need care, are taken care of.
ONLY_IN = {
    "yaml.SafeLoader": ("plain_yaml.py",),
    "np.load": ("execution/arrays.py", "index/vectors.py", "composition/document_graph.py"),
    "import_module": ("__init__.py", "composition/registry.py"),
    "url_to_fs": ("corpus/source.py",),
    "fsspec.filesystem": ("execution/object_store.py",),
    "fsspec.open": (),
    "Console": ("cli/terminal.py", "execution/progress.py"),
    "typer.echo": ("cli/terminal.py", "cli/main.py"),
    "pa.ipc.open_file": ("execution/arrow.py",),
    "pq.read_table": (),
}


# False, or what a person said.
TRUSTED = ("False", "config.trust_remote_code", "settings.trust_remote_code")


def broken_rules(code: str, name: str) -> Iterator[str]:
    """What a module does that none should."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for module in modules:
                if name not in FORBIDDEN_MODULES.get(module.split(".")[0], (name,)):
                    yield f"line {node.lineno} imports {module}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called in FORBIDDEN_CALLS:
                yield f"line {node.lineno} calls {called}"
            as_json = called == "typer.echo" and ast.unparse(node.args[0]).startswith("json.dumps(")
            if name not in ONLY_IN.get(called, (name,)) and not as_json:
                yield f"line {node.lineno} calls {called}"
            if called == "np.load" and keywords.get("allow_pickle") != "False":
                yield f"line {node.lineno} loads an array without allow_pickle=False"
            if keywords.get("allow_pickle") == "True" or keywords.get("shell") == "True":
                yield f"line {node.lineno} allows what should not be"
            if keywords.get("trust_remote_code", "False") not in TRUSTED:
                yield f"line {node.lineno} trusts remote code"
            if called.endswith("AutoModelForCausalLM.from_pretrained") and keywords.get("use_safetensors") != "True":
                yield f"line {node.lineno} may load weights from a pickle"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_keeps_the_rules(path):
    assert list(broken_rules(path.read_text(encoding="utf-8"), str(path.relative_to(SOURCE)))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.memory",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "eval(text)",
        "print(text)",
        "typer.echo(text)",
        "yaml.safe_load(text)",
        "f(trust_remote_code=True)",
        "f(trust_remote_code=other)",
        "x.AutoModelForCausalLM.from_pretrained(path)",
        "from loky import get_reusable_executor",
        "url_to_fs(given)",
    ],
)
def test_the_rules_find_what_breaks_them(code):
    assert list(broken_rules(code, "some/module.py"))


def test_remote_code_is_not_trusted_by_default():
    assert EncoderConfig().trust_remote_code is False
    assert CausalLMSettings().trust_remote_code is False
