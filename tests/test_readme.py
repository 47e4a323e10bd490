"""The README is the manual: every command and every option is in it."""

from pathlib import Path

import pytest
import typer

from edgeprof.cli.app import app

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def row(command: str) -> str:
    """The line of the options table that is about this command."""
    return next(line for line in README.splitlines() if line.startswith((f"| `{command}`", f"| `{command} ")))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_shown(command: str) -> None:
    assert f"edgeprof {command}" in README


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_listed_with_its_command(command: str) -> None:
    options = {name for parameter in COMMANDS[command].params for name in parameter.opts if name.startswith("--")}
    assert {name for name in options if name not in row(command)} - {"--help"} == set()


def test_the_make_targets_are_named() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY")).split()[1:]
    assert {target for target in phony if f"make {target}" not in README} == {"browser"}
