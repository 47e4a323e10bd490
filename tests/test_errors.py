"""Errors keep their kind on their way, and say what to do next."""

import inspect

import pytest

from edgeprof import errors
from edgeprof.cli import _with_command
from edgeprof.errors import EdgeprofError, MissingExtra, UnknownName, UsageError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EdgeprofError)]


def test_what_and_next_step_are_one_message() -> None:
    assert str(EdgeprofError("It broke.", "Mend it.")) == "It broke. Mend it."
    assert str(EdgeprofError("It broke.")) == "It broke."


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_wrong_usage_exits_with_2_and_all_else_with_1(kind: type[EdgeprofError]) -> None:
    assert kind.exit_code == (2 if issubclass(kind, UsageError) else 1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_class_is_resolved_by_its_name(kind: type[EdgeprofError]) -> None:
    assert errors.by_name(kind.__name__) is kind


@pytest.mark.parametrize("name", ["difflib", "Iterable", "Exception", "nonsense"])
def test_a_name_that_is_no_kind_is_the_base(name: str) -> None:
    assert errors.by_name(name) is EdgeprofError


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    for kind in KINDS:
        assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize(
    ("name", "offer"),
    [("blak", "Did you mean black?"), ("BLACK", "Did you mean black?"), ("xyz", "Known: black, White.")],
)
def test_a_misspelt_name_is_offered_the_nearest(name: str, offer: str) -> None:
    assert str(UnknownName("colour", name, ["black", "White"])) == f"There is no colour called '{name}'. {offer}"


def test_a_missing_extra_is_one_command() -> None:
    assert str(MissingExtra("Exporting", "torch", "export")).endswith("Run: pip install 'edgeprof[export]'")


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (ValueError("bad:\nmore"), "bad"),
        (ValueError("Bad."), "Bad"),
        (KeyError(), "KeyError"),
        (OSError(" "), "OSError"),
    ],
)
def test_the_first_line_of_a_library_error_fits_into_a_sentence(problem: Exception, words: str) -> None:
    assert errors.first_line(problem) == words


def test_where_nothing_is_known_nothing_is_offered() -> None:
    assert str(UnknownName("run", "mine", [])) == "There is no run called 'mine'. There are none here."


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_of_another_process_keeps_its_kind_and_message(kind: type[EdgeprofError]) -> None:
    problem = errors.rebuilt(kind.__name__, "It broke.", "Mend it.")
    assert type(problem) is kind
    assert (problem.what, problem.next_step, _with_command(problem)) == ("It broke.", "Mend it.", "It broke. Mend it.")
