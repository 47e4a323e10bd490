"""README and docs/ are the manual: complete, with links that resolve and examples that parse."""

import ast
import inspect
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import click
import msgspec
import pytest
import typer
from command import Command
from conformance.architectures import ARCHITECTURES

import edgeprof
from edgeprof import store
from edgeprof.cli.app import app
from edgeprof.recipe_table import QUANTIZATION_RECIPES
from edgeprof.schema import Artifact, Graph, HardwareReport, Machine, Measurement

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "models/README", "reports/README")),
    *sorted((ROOT / "docs").glob("*.md")),
]
TOP: dict[str, click.Command] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
COMMANDS = {
    full: one
    for name, command in TOP.items()
    for full, one in (
        (name, command),
        *((f"{name} {inner}", one) for inner, one in getattr(command, "commands", {}).items()),
    )
}
"""Every command, those within another as "fleet certs"."""


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def section(text: str, heading: str) -> str:
    """The text under a heading of the second level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the tables in a text, without heads."""
    table = [line for line in text.splitlines() if line.startswith("|")]
    heads = {index - 1 for index, line in enumerate(table) if set(line) <= set("|- ")}
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for index, line in enumerate(table)
        if index not in heads and not set(line) <= set("|- ")
    ]


def blocks(text: str, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives headings."""
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def options(command: str) -> dict[str, object]:
    """The options of a command, with their defaults."""
    return {
        name: parameter.default
        for parameter in COMMANDS[command].params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--") and name != "--help"
    }


def fields(record: type[msgspec.Struct], *inlined: str, prefix: str = "") -> list[str]:
    """Names of the fields of a record, those of the records that are `inlined` in their place: "key.load.phase"."""
    names = []
    for field in msgspec.inspect.type_info(record).fields:
        name = f"{prefix}{field.encode_name}"
        kinds = getattr(field.type, "types", (field.type,))
        inner = next((kind.cls for kind in kinds if isinstance(kind, msgspec.inspect.StructType)), None)
        names += fields(inner, *inlined, prefix=f"{name}.") if name in inlined and inner else [name]
    return names


# --- complete ------------------------------------------------------------------------------------------


def test_every_command_has_a_section_and_is_in_the_tour() -> None:
    assert re.findall(r"^## (.*)", page("commands.md"), re.MULTILINE) == list(COMMANDS)
    readme = (ROOT / "README.md").read_text()
    assert [command for command in TOP if f"\nedgeprof {command}" not in readme] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_listed_with_its_default(command: str) -> None:
    listed = {}
    for names, default, _meaning in rows(section(page("commands.md"), command)):
        listed.update(dict.fromkeys(re.findall(r"--[a-z-]+", names), default))
    assert set(listed) == set(options(command))
    for name, default in options(command).items():
        if isinstance(default, str | int | float | Path) and not isinstance(default, bool):
            assert listed[name] == f"`{default:g}`" if isinstance(default, int | float) else f"`{default}`"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(command: str) -> None:
    (example,) = blocks(section(page("commands.md"), command))
    assert example.startswith(f"edgeprof {command}")


def test_every_recipe_is_described() -> None:
    described = [name.strip("`") for name, _ in rows(section(page("quantization.md"), "Recipes"))]
    assert described == [recipe.name for recipe in QUANTIZATION_RECIPES]


def test_every_column_is_described(tmp_path: Path) -> None:
    header = store.save_table(tmp_path, []).read_text().strip().split(",")
    assert [row[0].strip("`") for row in rows(section(page("records.md"), "measurements.csv"))] == header


INLINED = ("key", "key.subject", "key.load", "key.place", "facts", "receipt", "outcome", "outcome.reading")


@pytest.mark.parametrize(
    ("file", "described"),
    [
        ("measurements.jsonl", fields(Measurement, *INLINED)),
        ("machine.json", fields(Machine)),
        ("Reports of make hardware", fields(HardwareReport)),
        ("artifact.json", [*fields(Artifact), *fields(Graph)]),
    ],
)
def test_every_field_is_described(file: str, described: list[str]) -> None:
    names = [row[0].strip("`") for row in rows(section(page("records.md"), file))]
    assert sorted(names) == sorted(described)


def test_every_make_target_is_named() -> None:
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY")).split()[1:]
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    assert [target for target in phony if f"make {target}" not in contributing] == ["browser", "sshd"]


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [file.name for file in (ROOT / "docs").glob("*.md") if f"(docs/{file.name})" not in readme] == []


def test_every_architecture_has_a_row() -> None:
    table = section(page("architectures.md"), "The table")
    assert [row[:2] for row in rows(table)] == [[one.name, one.class_name] for one in ARCHITECTURES]


def test_every_public_function_is_listed() -> None:
    listed = {row[0].strip("`").split("(")[0] for row in rows(page("python.md"))}
    assert listed == {name for name in edgeprof.__all__ if inspect.isfunction(getattr(edgeprof, name))}


def test_the_layers_are_those_that_are_enforced() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [layer.replace("edgeprof.", "") for layer in contracts[0]["layers"]]
    (shown,) = blocks(section(page("architecture.md"), "Layers"))
    assert shown.splitlines() == layers


def test_every_package_and_module_has_a_row() -> None:
    names = re.findall(
        r"`(\w+/|\w+\.py)`", " ".join(row[0] for row in rows(section(page("architecture.md"), "Layers")))
    )
    there = {f"{entry.name}/" if entry.is_dir() else entry.name for entry in (ROOT / "edgeprof").glob("[a-z]*")}
    assert set(names) == {entry for entry in there if entry.endswith(("/", ".py"))}


def test_the_files_and_tables_that_are_named_exist() -> None:
    text = "".join(page(file.name) for file in (ROOT / "docs").glob("*.md"))
    named = re.findall(r"`((?:edgeprof|tests)/[\w/.]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
    tables = re.findall(r"`([A-Z_]+)`(?: \(\w+\))? in `(edgeprof/[\w/]+\.py)`", text)
    assert len(tables) > 10
    assert [name for name, file in tables if not re.search(rf"^{name}\b.* =", (ROOT / file).read_text(), re.M)] == []


@pytest.mark.parametrize("what", ["family", "recipe", "provider"])
def test_the_worked_examples_are_quoted(what: str) -> None:
    (quoted,) = blocks(page("architecture.md").partition(f"\n### Add a {what}\n")[2].partition("\n### ")[0], "python")
    assert f"\n{quoted}\n" in f"\n{(ROOT / 'tests' / 'examples' / f'test_add_a_{what}.py').read_text()}"


# --- right ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_resolve(file: Path) -> None:
    text = re.sub(r"^```.*?^```", "", file.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (file.parent / path).resolve() if path else file
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked.read_text()), target


SPAN = re.compile(r"`(edgeprof [a-z][^`]*)`")
TEXTS = [file.read_text() for file in PAGES]
LINES = [line.removeprefix("$ ") for text in TEXTS for block in blocks(text) for line in block.splitlines()]


@pytest.mark.parametrize("line", dict.fromkeys(line for line in LINES if line.startswith("edgeprof ")))
def test_an_example_parses(line: str) -> None:
    program, command, *words = shlex.split(line, comments=True)
    assert program == "edgeprof"
    if words and f"{command} {words[0]}" in COMMANDS:
        command, words = f"{command} {words[0]}", words[1:]
    COMMANDS[command].make_context(command, words)


@pytest.mark.parametrize("span", sorted({span for text in TEXTS for span in SPAN.findall(text)}))
def test_a_command_in_a_sentence_exists(span: str) -> None:
    _, command, *words = span.split()
    within = f"{command} {words[0]}" if words else ""
    known = options(within if within in COMMANDS else command)
    assert {word for word in words if word.startswith("--")} <= set(known)


def test_the_explanation_shown_is_the_one_printed(edgeprof: Command) -> None:
    command, _, output = blocks(page("explain.md"))[0].partition("\n")
    printed = edgeprof(*shlex.split(command)[2:]).out
    assert output.splitlines() == [line.rstrip() for line in printed.splitlines()]


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_python_examples_run(name: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(models, tmp_path / "models")  # what they export is up to date
    monkeypatch.chdir(tmp_path)
    result = blocks((ROOT / name).read_text(), "python")
    assert result
    for block in result:
        exec(compile(ast.parse(block), name, "exec"), {})
