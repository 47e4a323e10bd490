"""Files on a device by their content: what arrives, what is cut off, what is removed, and what must not be written."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeprof.errors import EdgeprofError, StorageError, UsageError
from edgeprof.fleet.content import Content, require_names
from edgeprof.fleet.messages import ContentFile


def entry(data: bytes, name: str = "model.onnx") -> ContentFile:
    return ContentFile(name=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def stored(content: Content, data: bytes, name: str = "model.onnx") -> ContentFile:
    file = entry(data, name)
    assert content.put(file.sha256, 0, len(data), data) == len(data)
    return file


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return Content(tmp_path / "content", 1000)


def objects(content: Content) -> set[str]:
    return {path.name for path in content.objects.iterdir()}


def test_an_upload_that_was_cut_goes_on_where_it_was(content: Content) -> None:
    data = bytes(range(250))
    file = entry(data)
    assert content.put(file.sha256, 0, 250, data[:100]) == 100
    again = Content(content.objects.parent, 1000)  # another process
    assert again.lacking([file]) == {file.sha256: 100}
    assert again.put(file.sha256, 0, 250, data[:100]) == 100  # a wrong offset takes nothing
    assert again.put(file.sha256, 150, 250, data[150:]) == 100
    assert again.put(file.sha256, 100, 250, data[100:]) == 250
    assert again.lacking([file]) == {}
    assert (again.objects / file.sha256).read_bytes() == data
    assert not list(again.partial.iterdir())


def test_an_empty_file_arrives(content: Content) -> None:
    file = stored(content, b"")
    assert content.lacking([file]) == {}


def test_what_is_not_the_file_is_not_kept(content: Content) -> None:
    file = entry(b"weights")
    with pytest.raises(StorageError, match=r"not the file that was to be sent\. Run the command again"):
        content.put(file.sha256, 0, 7, b"weighty")
    with pytest.raises(StorageError, match="More arrived of a file than it has"):
        content.put(file.sha256, 0, 7, b"weights and more")
    assert content.kept_bytes == 0
    assert content.lacking([file]) == {file.sha256: 0}


def test_a_damaged_object_is_sent_again(content: Content) -> None:
    file = stored(content, b"weights")
    os.truncate(content.objects / file.sha256, 3)
    assert content.lacking([file]) == {file.sha256: 0}
    assert content.put(file.sha256, 0, 7, b"weights") == 7
    assert (content.objects / file.sha256).read_bytes() == b"weights"


def test_a_view_is_of_hard_links_and_goes(content: Content) -> None:
    graph, weights = stored(content, b"graph"), stored(content, b"weights", "model.onnx.data")
    with content.view([graph, weights]) as folder:
        assert (folder / "model.onnx.data").read_bytes() == b"weights"
        assert (folder / "model.onnx.data").stat().st_ino == (content.objects / weights.sha256).stat().st_ino
        first = folder
    assert not folder.exists()
    with content.view([weights, graph]) as folder:
        assert folder == first


def test_one_content_may_have_two_names(content: Content) -> None:
    file = stored(content, b"same", "a.npy")
    with content.view([file, entry(b"same", "inputs/b.npy")]) as folder:
        assert (folder / "a.npy").read_bytes() == (folder / "inputs/b.npy").read_bytes() == b"same"


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../up", "a/../../up", "/etc/passwd", "a//b", "a/./b", "a/", "..\\up", "C:\\up", "C:up"),
        *("a\0b", "a\nb", "a" * 300, "/".join("abcdefghi"), "... ", " "),
    ],
)
def test_a_name_cannot_lead_out_of_its_folder(content: Content, name: str) -> None:
    file = stored(content, b"graph", name)
    with pytest.raises(UsageError, match="cannot name a file on a device"), content.view([file]):
        pass
    assert {path.name for path in content.objects.parent.iterdir()} == {"objects", "partial"}


@pytest.mark.parametrize("names", [["a", "a"], ["a", "a/b"], ["a/b/c", "a/b"]])
def test_names_are_not_in_each_others_way(names: list[str]) -> None:
    with pytest.raises(UsageError, match="Two files have the same name"):
        require_names(names)


def test_beyond_the_limit_goes_what_was_not_used_for_longest(content: Content) -> None:
    files = [stored(content, bytes([number]) * 300) for number in range(3)]
    for age, file in zip((30, 20, 10), files, strict=True):
        os.utime(content.objects / file.sha256, (1000 - age, 1000))
    assert content.lacking([files[0]]) == {}  # used now
    changed = (content.objects / files[0].sha256).stat().st_mtime
    new = stored(content, b"n" * 300)
    assert objects(content) == {files[0].sha256, files[2].sha256, new.sha256}
    assert changed == 1000


def test_what_is_in_use_stays(content: Content) -> None:
    files = [stored(content, bytes([number]) * 400) for number in range(2)]
    for age, file in zip((30, 20), files, strict=True):
        os.utime(content.objects / file.sha256, (1000 - age, 1000))
    with content.view([files[0]]) as folder:
        new = stored(content, b"n" * 400)
        assert objects(content) == {files[0].sha256, new.sha256}
        with pytest.raises(StorageError, match=r"700 B more do not fit on the disk: there is room for 600 B\. .*clean"):
            content.put("0" * 64, 0, 700, b"")
        assert content.clean() == 400
        assert (folder / "model.onnx").read_bytes() == bytes(400)
    assert content.clean() == 400
    assert content.kept_bytes == 0


def test_an_unfinished_upload_is_removed_for_another_file(content: Content) -> None:
    content.put("0" * 64, 0, 900, b"0" * 800)
    new = stored(content, b"n" * 400)
    assert objects(content) == {new.sha256}
    assert content.kept_bytes == 400


def test_more_than_is_ever_kept_is_refused_before_it_is_sent(content: Content) -> None:
    files = [entry(bytes([number]) * 600) for number in range(2)]
    with pytest.raises(StorageError, match=r"The files take 1\.2 kB, and at most 1 kB are kept here"):
        content.lacking(files)


def test_the_limit_is_a_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEPROF_CONTENT_BYTES", "5000")
    assert Content(tmp_path).limit_bytes == 5000
    monkeypatch.setenv("EDGEPROF_CONTENT_BYTES", "20GB")
    with pytest.raises(UsageError, match="EDGEPROF_CONTENT_BYTES is '20GB'"):
        Content(tmp_path)


# --- a disk that is full -------------------------------------------------------------------------------

PUT = """
import resource, signal, sys
from pathlib import Path
from edgeprof.errors import StorageError
from edgeprof.fleet.content import Content
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
content = Content(Path(sys.argv[1]), 10**6)
try:
    content.put("0" * 64, 0, 5000, b"0" * 5000)
except StorageError as problem:
    print(problem)
print(content.kept_bytes)
"""


def test_a_file_that_the_system_refuses_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PUT, str(tmp_path)], capture_output=True, text=True, check=True)
    said, kept = done.stdout.splitlines()
    assert said.endswith("a file may not be so large here. Remove what is not needed: edgeprof fleet clean")
    assert kept == "0"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_sentence(small_disk: Path) -> None:
    content = Content(small_disk / "content", 10**9)
    file = stored(content, b"0" * 600_000)
    (small_disk / "of others").write_bytes(b"1" * 300_000)
    with pytest.raises(EdgeprofError, match=r"^2 MB more do not fit on the disk: there is room for 7\d\d kB\. Remove"):
        content.put("0" * 64, 0, 2_000_000, b"0" * 100_000)
    assert objects(content) == {file.sha256}
    new = stored(content, b"n" * 500_000)  # the old one makes room
    assert objects(content) == {new.sha256}


def test_a_file_that_goes_while_all_are_counted_is_not_counted(content: Content) -> None:
    stored(content, b"weights")
    (content.objects / "gone").symlink_to("nowhere")
    assert content.kept_bytes == len(b"weights")
