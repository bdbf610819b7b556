"""The options of the command line are an interface: what is there stays there."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from cli_runs import run_cli

from nextlong.cli.main import app

LISTING = Path(__file__).parent / "surface.txt"
HOW_TO_UPDATE = (
    f"The command line is not what {LISTING.name} lists. If that is meant, name the change in the changelog and write the "
    "listing anew: PYTHONPATH=tests python tests/cli/test_surface.py"
)
COMMANDS = typer.main.get_command(app).commands


def surface() -> str:
    """Every subcommand with its arguments and options, a line each."""
    lines = []
    for name, command in sorted(COMMANDS.items()):
        for parameter in command.params:
            spelled = "/".join([*parameter.opts, *parameter.secondary_opts])
            if parameter.param_type_name == "argument":
                lines.append(f"{name} <{parameter.metavar or parameter.name}>{' (required)' if parameter.required else ''}")
            else:
                takes = "" if parameter.is_flag else " VALUE"
                lines.append(f"{name} {spelled}{takes}{' (required)' if parameter.required else ''}")
    return "\n".join(lines) + "\n"


def test_the_surface_is_as_listed():
    assert surface() == LISTING.read_text(encoding="utf-8"), HOW_TO_UPDATE


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_has_a_sentence(name):
    for parameter in COMMANDS[name].params:
        text = parameter.help or ""
        assert len(text) > 5, f"{name} {parameter.opts} has no help"
        assert text.endswith((".", "]", ")")), f"{name} {parameter.opts}: {text!r} is no sentence"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_names_every_option(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("TERMINAL_WIDTH", "250")
    result = run_cli(name, "--help")
    assert result.exit_code == 0
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option":
            assert all(spelled in result.stdout for spelled in parameter.opts)


def test_no_command_shows_help():
    result = run_cli()
    assert "Usage" in result.stdout + result.stderr
    assert all(name in result.stdout + result.stderr for name in COMMANDS)


def test_version():
    import nextlong

    assert run_cli("--version").stdout == f"nextlong {nextlong.__version__}\n"


if __name__ == "__main__":
    LISTING.write_text(surface(), encoding="utf-8")
