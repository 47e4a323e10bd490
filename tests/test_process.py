"""One request in, progress out, one reply back; and what the parent says when that does not happen."""

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from edgeprof import process
from edgeprof.errors import ChildError, EdgeprofError, StorageError, UnknownName, UsageError
from edgeprof.kept_process import KeptProcess
from edgeprof.process import ChildTimeout, Message, Progress, call, step

HEAD = """
import os, signal, sys, time
import msgspec
from edgeprof.errors import UnknownName, UsageError
from edgeprof.process import serve

class Question(msgspec.Struct):
    number: int

class Answer(msgspec.Struct):
    number: int
    text: str = ""

def handle(question, progress):
"""
TAIL = """
if __name__ == "__main__":
    serve(handle, Question)
"""


class Question(msgspec.Struct):
    number: int


class Answer(msgspec.Struct):
    number: int
    text: str = ""


Ask = Callable[..., Answer]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Send a request to a child whose handler has the given body."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before_all = set(psutil.Process().children(recursive=True))  # of other tests in this process

    def run(body: str, before: str = "", **options: object) -> Answer:
        (tmp_path / "answerer.py").write_text(before + HEAD + textwrap.indent(textwrap.dedent(body), "    ") + TAIL)
        return call("answerer", Question(number=20), Answer, **options)  # type: ignore[arg-type]

    yield run
    assert not set(psutil.Process().children(recursive=True)) - before_all, "a child was left behind"


def test_request_progress_reply(ask: Ask) -> None:
    reported: list[tuple[str, float | None]] = []
    body = """
        progress("half", 0.5)
        progress("rest")
        return Answer(question.number + 1)
        """
    assert ask(body, progress=lambda doing, share: reported.append((doing, share))) == Answer(21)
    assert reported == [("half", 0.5), ("rest", None)]


def test_a_long_reply_comes_whole(ask: Ask) -> None:
    assert len(ask("return Answer(1, 'x' * 10_000_000)").text) == 10_000_000


def test_what_libraries_print_does_not_reach_the_channel(ask: Ask) -> None:
    body = """
        print("chatter", flush=True)
        os.write(1, b"from C\\n")
        return Answer(1)
        """
    assert ask(body, before="print('at import', flush=True)\n") == Answer(1)


def test_errors_keep_their_class_message_and_exit_code(ask: Ask) -> None:
    with pytest.raises(UsageError) as error:
        ask("raise UsageError('This is wrong.', 'Do that.')")
    assert (error.value.what, error.value.next_step, error.value.exit_code) == ("This is wrong.", "Do that.", 2)
    with pytest.raises(UnknownName, match="Did you mean cpu"):
        ask("raise UnknownName('execution provider', 'cpi', ['cpu'])")


def test_a_crash_is_quoted(ask: Ask) -> None:
    with pytest.raises(ChildError, match="exit code 1: ZeroDivisionError: division by zero"):
        ask("1 / 0")
    with pytest.raises(ChildError, match="exit code 3: it printed nothing"):
        ask("os._exit(3)")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_death_by_signal_is_named(ask: Ask) -> None:
    with pytest.raises(ChildError, match=r"killed .* because memory ran out"):
        ask("os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ChildError, match="signal SIGABRT"):
        ask("os.abort()")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_child_that_dies_while_it_speaks(ask: Ask) -> None:
    body = """
        import gc
        from edgeprof.process import Channel
        pipe = next(o for o in gc.get_objects() if isinstance(o, Channel))._pipe
        pipe.write(b'{"reply": {"number"')
        pipe.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    with pytest.raises(ChildError, match="SIGKILL"):
        ask(body)


def test_time_runs_out(ask: Ask) -> None:
    with pytest.raises(ChildTimeout, match=r"within 0\.5 s\. Raise --timeout"):
        ask("time.sleep(600)", timeout_s=0.5)


def test_a_caller_who_gives_up_leaves_no_child_behind(ask: Ask) -> None:
    def give_up(doing: str, share: float | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask("progress('on it'); time.sleep(600)", progress=give_up)


def test_another_executor_carries_the_same_lines() -> None:
    """Whatever can carry a line of JSON runs children: here a function that answers by itself."""

    class Echo:
        def run(self, module: str, request: bytes, progress: Progress, timeout_s: float | None) -> Message:
            progress(module, timeout_s)
            number = msgspec.json.decode(request, type=Question).number
            if number < 0:
                return Message(error="UsageError", what="It is negative.", next_step="Send another.")
            return Message(reply=msgspec.Raw(msgspec.json.encode(Answer(number + 1))))

    reported: list[tuple[str, float | None]] = []
    options = {"progress": lambda doing, share: reported.append((doing, share)), "timeout_s": 3.0, "executor": Echo()}
    assert call("there", Question(number=20), Answer, **options) == Answer(21)  # type: ignore[arg-type]
    assert reported == [("there", 3.0)]
    with pytest.raises(UsageError, match=r"It is negative\. Send another\."):
        call("there", Question(number=-1), Answer, executor=Echo())


def test_a_kept_process_serves_several_requests_and_survives_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    body = """
import os
import msgspec
from edgeprof.errors import UsageError

class Question(msgspec.Struct):
    number: int

def run(request: Question, progress):
    print("to nobody")
    progress("thinking", 0.5)
    if request.number == 1:
        raise UsageError("One is wrong.", "Try two.")
    if request.number == 2:
        os.abort()
    return {"number": os.getpid()}
"""
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text(body)
    before = set(psutil.Process().children(recursive=True))
    heard: list[str] = []
    with KeptProcess() as kept:

        def ask(module: str, number: int) -> int:
            question = Question(number=number)
            return call(module, question, Answer, executor=kept, progress=lambda doing, _: heard.append(doing)).number

        first = ask("first", 0)
        assert ask("second", 0) == first
        with pytest.raises(UsageError, match="One is wrong"):
            ask("first", 1)
        assert ask("first", 0) == first
        with pytest.raises(ChildError, match="SIGABRT"):
            ask("second", 2)
        assert ask("second", 0) != first
        assert heard == ["thinking"] * 6
    assert set(psutil.Process().children(recursive=True)) == before


def test_a_module_that_does_not_exist() -> None:
    with pytest.raises(ChildError, match="No module named"):
        call("edgeprof.no_such_module", Question(number=1), Answer)


def test_the_child_runs_the_parents_edgeprof_and_nothing_from_the_current_folder(
    ask: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import edgeprof

    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("numpy", "json", "edgeprof"):
        (folder / f"{name}.py").write_text("raise SystemExit('taken from the current folder')")
    monkeypatch.chdir(folder)
    answer = ask("import json, numpy, edgeprof; return Answer(1, edgeprof.__file__)")
    assert answer.text == edgeprof.__file__


def test_an_environment_variable_reaches_the_child(tmp_path: Path, ask: Ask) -> None:
    assert "EDGEPROF_DEBUG" not in os.environ
    assert ask("return Answer(1, os.environ['PYTHONPATH'])").text == str(tmp_path)


def test_all_the_child_printed_can_be_seen(
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGEPROF_DEBUG", "1")
    with pytest.raises(EdgeprofError):
        ask("print('first words'); 1 / 0")
    assert "first words" in capsys.readouterr().err


@pytest.mark.parametrize("crash", ["SIGSEGV", "SIGABRT"])
def test_a_crash_of_the_runtime_is_called_that(ask: Ask, crash: str) -> None:
    """With the last step that was begun, whatever else was written since."""
    body = f"""
    process.step("loading a.onnx")
    process.step("running a.onnx")
    print("something else", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.{crash})
    """
    with pytest.raises(ChildError) as ended:
        ask(body, before="from edgeprof import process\n")
    assert ended.value.what == f"onnxruntime crashed ({crash}) while running a.onnx."


def test_what_is_no_crash_is_not_called_one(ask: Ask) -> None:
    body = """
    process.step("loading a.onnx")
    print("too bad", file=sys.stderr, flush=True)
    os._exit(3)
    """
    with pytest.raises(ChildError, match=r"ended with exit code 3: too bad\."):
        ask(body, before="from edgeprof import process\n")


def test_where_no_child_is_a_step_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    step("loading a.onnx")
    assert capfd.readouterr() == ("", "")


def test_a_folder_of_temporary_files_that_takes_none_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
    with pytest.raises(StorageError, match=r"^Temporary files cannot be written: .* set TMPDIR to another folder\.$"):
        process.temporary_file()
