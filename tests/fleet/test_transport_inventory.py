"""fleet.toml: what it may say, and the line of what it may not."""

from pathlib import Path

import pytest
from command import Command

from edgeprof.api.fleet import clean_fleet, fleet_devices
from edgeprof.errors import UnknownName, UsageError
from edgeprof.fleet.inventory import FleetDevice, find, scheduler_parts, ssh_parts

WHOLE = """\
scheduler = "tls://desk:8786"
certificates = "certs"

[devices.pi5]
address = "ssh://pi@10.0.0.5:2222"
python = "~/edgeprof/bin/python"
providers = ["cpu", "xnnpack"]
notes = "in the rack"

[devices.nuc]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEPROF_CONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_devices_have_addresses_and_defaults(folder: Path) -> None:
    (folder / "fleet.toml").write_text(WHOLE)
    found = find()
    assert found.scheduler == "tls://desk:8786"
    assert found.certificates == Path("certs")
    pi5, nuc, here, other = found.resolve(["all", "local", "pi5", "ssh://anna@nuc2"])
    assert pi5 == FleetDevice(
        name="pi5",
        address="ssh://pi@10.0.0.5:2222",
        python="~/edgeprof/bin/python",
        providers=("cpu", "xnnpack"),
        notes="in the rack",
    )
    assert (nuc.name, nuc.address, nuc.python) == ("nuc", "agent", "python3")
    assert (here.name, here.address) == ("local", "local")
    assert (other.name, other.address) == ("anna@nuc2", "ssh://anna@nuc2")


def test_the_current_folder_comes_before_the_users(folder: Path) -> None:
    (folder / "config").mkdir()
    (folder / "config" / "fleet.toml").write_text("[devices.mine]\n")
    assert list(find().devices) == ["mine"]
    (folder / "fleet.toml").write_text("[devices.ours]\n")
    assert list(find().devices) == ["ours"]
    assert list(find(folder / "config" / "fleet.toml").devices) == ["mine"]


def test_addresses_are_taken_apart() -> None:
    assert ssh_parts("ssh://pi@10.0.0.5:22") == ("pi", "10.0.0.5", 22)
    assert ssh_parts("ssh://nuc") == ("", "nuc", None)
    assert ssh_parts("ssh://pi@[fe80::1]:22") == ("pi", "fe80::1", 22)
    assert scheduler_parts("tls://desk:8786") == ("tls", "desk", 8786)


def test_an_unknown_device_is_offered_the_nearest(folder: Path) -> None:
    (folder / "fleet.toml").write_text(WHOLE)
    with pytest.raises(UnknownName, match=r"no device called 'pi4'. Did you mean pi5\?"):
        find().resolve(["pi4"])


def test_without_a_file_there_is_only_this_machine_and_addresses(folder: Path) -> None:
    assert [device.name for device in find().resolve(["local", "ssh://nuc"])] == ["local", "nuc"]
    with pytest.raises(UsageError, match=r"There is no device in fleet\.toml"):
        find().resolve(["all"])
    with pytest.raises(UsageError, match=r"nowhere\.toml cannot be read: there is no such file"):
        find(Path("nowhere.toml"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[devices.pi5]\naddress = \n", "line 2"),
        ("[devices.pi5]\n\nadress = 'agent'\n", "line 3: 'adress' is not known; known are address, python"),
        ("devices.pi5.adress = 'agent'\n", "line 1: 'adress' is not known"),
        ("\nshceduler = 'tls://desk:1'\n", "line 2: 'shceduler' is not known; known are scheduler"),
        ("scheduler = 'desk'\n", "line 1: 'desk' is not the address of a scheduler"),
        ("scheduler = 8786\n", "line 1: 'scheduler' is not a text"),
        ("[devices.pi5]\nproviders = 'cpu'\n", "line 2: expected `array`, got `str`"),
        ("[devices.a]\n[devices.pi5]\naddress = 'ssh://-oProxyCommand=x'\n", "line 3: 'ssh://-oProxyCommand=x' is not"),
        ("[devices.a]\naddress = 'ssh://pi@host:99999'\n", "line 2"),
        ("[devices.local]\n", "line 1: 'local' cannot name a device"),
        ("[devices.'../up']\n", "line 1: '../up' cannot name a device"),
        ("devices = 3\n", "line 1: 'devices' is not a table"),
    ],
)
def test_what_is_wrong_has_its_line(folder: Path, text: str, says: str) -> None:
    (folder / "fleet.toml").write_text(text)
    with pytest.raises(UsageError) as problem:
        find()
    assert says in str(problem.value)
    assert str(problem.value).startswith("fleet.toml")


@pytest.mark.parametrize("words", [["--on", "local"], ["--fleet", "other.toml"], ["--json"]])
def test_an_option_before_a_command_is_refused_as_it_would_not_hold(words: list[str], edgeprof: Command) -> None:
    refused = edgeprof("fleet", *words, "clean")
    assert refused.code == 2
    assert refused.sentences == [
        f"edgeprof: {words[0]} before 'clean' does not hold for it. Run: edgeprof fleet clean --help"
    ]


def test_of_a_device_that_does_not_answer_nothing_is_known(folder: Path, edgeprof: Command) -> None:
    (folder / "fleet.toml").write_text("[devices.board]\naddress = 'ssh://pi@127.0.0.1:1'\n")
    cleaned = edgeprof("fleet", "clean")
    assert cleaned.code == 1
    assert "board cannot be reached" in cleaned.out
    assert "0 B" not in cleaned.out


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), 1e9])
def test_a_time_limit_is_one_that_can_be_kept(timeout_s: float) -> None:
    for asked in (fleet_devices, clean_fleet):
        with pytest.raises(UsageError, match=r"^--timeout must be 1 to 1,000,000 seconds"):
            asked(["local"], timeout_s=timeout_s)
