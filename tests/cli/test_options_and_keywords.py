"""README promises the library "the same names and defaults" as the command line."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import typer

import edgeprof
from edgeprof.cli.app import app
from edgeprof.cli.options import share
from edgeprof.families import size_options

SERVING = {"agent"}
"""Commands that run until they are ended, and are no functions of the library."""

COMMANDS = {
    name: command
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
    if name not in SERVING
}
FUNCTIONS = {
    "buckets": "choose_buckets",
    "report": "write_report",
    "claims": "check_claims",
    "fleet": "fleet_devices",
}
"""Functions that are not called as their command."""

SHOWING = {"json", "open", "markdown", "fail_above"}
"""What a command does with a result."""

DRAWING = {"explain": {"out"}}
"""Of `draw_explanation`, which the command calls with what it has explained."""

UNITS = {
    **{name: f"{name}_s" for name in ("min_time", "timeout", "max_time", "sustain")},
    "memory_limit": "memory_limit_bytes",
}
"""Keywords carry their unit."""


def parameters(command: str) -> dict[str, Any]:
    return {
        max(parameter.opts, key=len).removeprefix("--").replace("-", "_"): parameter
        for parameter in COMMANDS[command].params
        if parameter.name not in SHOWING | DRAWING.get(command, set())
    }


def keywords(command: str) -> dict[str, inspect.Parameter]:
    function = getattr(edgeprof, FUNCTIONS.get(command, command))
    named = {name: one for name, one in inspect.signature(function).parameters.items() if name != "progress"}
    sizes = named.pop("sizes", None)  # **sizes: whatever families let a user choose
    return named | (dict.fromkeys(size_options(), sizes) if sizes else {})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_a_keyword_of_the_function(command: str) -> None:
    assert {UNITS.get(name, name) for name in parameters(command)} == set(keywords(command))


@pytest.mark.parametrize("command", COMMANDS)
def test_options_have_the_defaults_of_the_function(command: str) -> None:
    known = keywords(command)
    for name, parameter in parameters(command).items():
        default = known[UNITS.get(name, name)].default
        given = parameter.default
        if isinstance(given, str) and given.endswith("%"):
            given = share(given, name)
        if given is not None and isinstance(default, bool | int | float | Path):
            assert given == default, name
