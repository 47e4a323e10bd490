"""Messages of onnxruntime and its providers: in exceptions, and on standard error, often the only place with a reason.

A child's standard error is a file (`edgeprof.process`), so that what was written to it since a moment can be read back.
"""

import os
import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LOGGED = re.compile(r"^\d{4}-\d\d-\d\d \S+ \[(?P<level>[VIWEF]):onnxruntime:[^\]]*\] (?P<text>.*)$")
_SOURCE = re.compile(r"\S+\.(?:cc|cpp|h|hpp):\d+ ")
_SIGNATURE = re.compile(r"^[\w:<>~*&, ]+\([^()]*\)(?: const)?(?:::<lambda\([^)]*\)>)? |^\w+ (?=[A-Z'\"])")
_TEMPLATE = re.compile(r"^\[with .*?\] ")
_CHECK = re.compile(r"^.* was false\. ")
_CODES = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |\[ERROR\] |\[OpenVINO\] |Exception during initialization: "
    r"|Load model from .*? failed: ?|Fatal error: |Error in execution: |This is an invalid model\. (?:Error: )?(?=\S)"
    r"|\[(?:Shape|Type)InferenceError\] |Please fix either the inputs/outputs or the model\."
)
_GENERAL = "assigned to the default CPU EP"

_NODES = (
    re.compile(
        r"^.*Non-zero status code returned while running (?P<operator>\w+) node\. Name:'(?P<name>[^']*)' "
        r"(?:Status Message: )?"
    ),
    re.compile(r"^.*Node \((?P<name>[^()]*)\) Op \((?P<operator>\w+)\) "),
    re.compile(r"^.*?In Node, \(\"(?P<name>[^\"]*)\", (?P<operator>\w+), .*\) , Error (?=\S)"),
)
"""How onnxruntime starts a message about a node, in a run and at load; of nested messages the inner one counts."""

MISSING_KERNEL = re.compile(
    r"Could not find an implementation for (?P<operator>\w+)\((?P<opset>\d+)\) node with name '(?P<name>[^']*)'"
)
"""A type or operator set of an operator that a provider cannot compute."""

NO_OPERATOR = "it has no operator"
_UNKNOWN_OPERATOR = re.compile(r"(?P<domain>[\w.]+):(?P<operator>\w+)\(-?\d+\) is not a registered function/op")


def mark() -> int:
    """A moment to read from later."""
    try:
        return os.lseek(2, 0, os.SEEK_CUR)
    except OSError:
        return -1


def since(moment: int) -> str:
    """Everything written to standard error since; "" where it cannot be read back, as on a terminal."""
    if moment < 0:
        return ""
    try:
        os.lseek(2, moment, os.SEEK_SET)
        parts = iter(lambda: os.read(2, 1 << 16), b"")
        return b"".join(parts).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.lseek(2, 0, os.SEEK_END)


def reason(problem: Exception, log: str = "") -> str:
    """The most specific sentence of an error and of what was logged before it, without codes and source locations."""
    sentences = [plain(str(problem)), *errors(log)]
    specific = [sentence for sentence in sentences if sentence and _GENERAL not in sentence]
    return next(filter(None, (*specific, *sentences)), type(problem).__name__)


def errors(log: str) -> list[str]:
    """What was logged as an error, a sentence each."""
    lines = (_LOGGED.match(_COLOUR.sub("", line)) for line in log.splitlines())
    return [plain(line["text"]) for line in lines if line and line["level"] in "EF"]


def plain(message: str) -> str:
    """A message of onnxruntime on one line, reduced to what people can use: operator, node and what is wrong.

    >>> plain("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from a.onnx failed:Protobuf parsing failed.")
    'Protobuf parsing failed'
    """
    text = " ".join(_COLOUR.sub("", message).split())
    node = next(filter(None, (pattern.match(text) for pattern in _NODES)), None)
    rest = text[node.end() :] if node else text
    *before, last = _SOURCE.split(rest)
    for needless in (_CODES, *((_SIGNATURE, _TEMPLATE, _CHECK) if before else ()), _CODES):
        last = needless.sub("", last)
    if unknown := _UNKNOWN_OPERATOR.search(last):
        last = f"{NO_OPERATOR} {unknown['operator']} of {unknown['domain']}"
    return (_label(node) + ": " if node else "") + last.rstrip(" .!")


def _label(node: re.Match[str]) -> str:
    return f"{node['operator']} '{node['name']}'" if node["name"] else node["operator"]
