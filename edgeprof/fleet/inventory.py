"""fleet.toml: the devices that a user has, by name.

scheduler = "tls://workstation:8786"      # of the agents
certificates = "certificates"             # the folder of `edgeprof fleet certs`; relative to this file

[devices.pi5]
address = "ssh://pi@10.0.0.5:22"          # or "agent": an agent that joins the scheduler as pi5
python = "~/edgeprof/bin/python"          # has edgeprof installed; ssh only
providers = ["cpu", "xnnpack"]
notes = "in the rack, with a fan"
"""

import os
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from edgeprof.errors import UnknownName, UsageError
from edgeprof.store import read_text
from edgeprof.text import abbreviated

FILE = "fleet.toml"
LOCAL, ALL, AGENT = "local", "all", "agent"
DEFAULT_PORT = 8786
_SSH = re.compile(
    r"ssh://(?:(?P<user>\w[\w.-]*)@)?(?P<host>\w[\w.-]*|\[[0-9a-fA-F:.%\w]+\])(?::(?P<port>\d{1,5}))?/?", re.A
)
_SCHEDULER = re.compile(r"(?P<scheme>tls|tcp)://(?P<host>\w[\w.-]*|\[[0-9a-fA-F:.%\w]+\]):(?P<port>\d{1,5})", re.A)


class FleetDevice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device, and how it is reached."""

    name: str = ""
    address: str = AGENT  # "ssh://user@host:port", "agent", or "local"
    python: str = "python3"
    providers: tuple[str, ...] = ()  # that the user means to use there: a note, as commands choose with --ep
    ssh_options: tuple[str, ...] = ()  # words for ssh, such as ("-i", "~/.ssh/boards")
    notes: str = ""


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    file: Path | None = None  # None: there is none
    devices: dict[str, FleetDevice] = {}
    scheduler: str = ""
    certificates: Path

    def resolve(self, names: Iterable[str]) -> list[FleetDevice]:
        """The devices of names, of "local" (this machine), "all" (those of the file) and ssh:// addresses, each once.

        Raises:
            UnknownName: a name that is none of these.
            UsageError: "all", but the file names none; an address that is not one.
        """
        found: dict[str, FleetDevice] = {}
        for name in names:
            for device in self.devices.values() if name == ALL else (self._device(name),):
                found.setdefault(device.name, device)
            if name == ALL and not self.devices:
                raise UsageError(
                    f"There is no device in {self.file or FILE}.", "Add one, or name an address: ssh://user@host"
                )
        return list(found.values())

    def _device(self, name: str) -> FleetDevice:
        if name == LOCAL:
            return FleetDevice(name=LOCAL, address=LOCAL)
        if "://" in name:
            require_ssh(name, "")
            return FleetDevice(name=name.removeprefix("ssh://"), address=name)
        if name not in self.devices:
            hint = (
                f"{self.file} lists the devices."
                if self.file
                else f"List devices in {FILE}, or name an address: ssh://user@host"
            )
            raise UnknownName("device", abbreviated(name), [*self.devices, LOCAL, ALL], hint)
        return self.devices[name]


def find(fleet: Path | None = None) -> Inventory:
    """The inventory of a file; without one: of ./fleet.toml, of the user's fleet.toml, or an empty one.

    Raises:
        UsageError: the file that is named is not there; it is damaged, or has a key or value that is not known, with
            its line.
    """
    candidates = [fleet] if fleet else [Path(FILE), config_folder() / FILE]
    for file in candidates:
        if fleet or file.is_file():
            return _read(file)
    return Inventory(certificates=config_folder() / "certificates")


def config_folder() -> Path:
    """Where a user's settings are: EDGEPROF_CONFIG, or edgeprof's folder below ~/.config."""
    own = os.environ.get("EDGEPROF_CONFIG")
    users = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(own or Path(users) / "edgeprof").expanduser()


def ssh_parts(address: str) -> tuple[str, str, int | None]:
    """ "ssh://pi@10.0.0.5:22" -> ("pi", "10.0.0.5", 22); user "" and port None where they are left to ssh."""
    found = _SSH.fullmatch(address)
    assert found, address
    return found["user"] or "", found["host"].strip("[]"), int(found["port"]) if found["port"] else None


def require_ssh(address: str, where: str) -> None:
    """Refuse what is not ssh://[user@]host[:port].

    Raises:
        UsageError: it is not.
    """
    found = _SSH.fullmatch(address)
    if not found or int(found["port"] or 1) not in range(1, 65536):
        raise UsageError(
            f"{where}'{abbreviated(address)}' is not the address of a device.", "Example: ssh://pi@10.0.0.5:22"
        )


def scheduler_parts(address: str) -> tuple[str, str, int]:
    """ "tls://workstation:8786" -> ("tls", "workstation", 8786)

    Raises:
        UsageError: it is no address of a scheduler.
    """
    found = _SCHEDULER.fullmatch(address)
    if not found or int(found["port"]) not in range(1, 65536):
        raise UsageError(
            f"'{abbreviated(address)}' is not the address of a scheduler.", "Example: tls://workstation:8786"
        )
    return found["scheme"], found["host"], int(found["port"])


# --- the file ------------------------------------------------------------------------------------------

_KEYS = ("scheduler", "certificates", "devices")


def _read(file: Path) -> Inventory:
    text = read_text(file, UsageError)
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise UsageError(f"{file} is not valid TOML: {_lower(str(problem))}.", "Correct that line.") from problem
    for key in fields:
        if key not in _KEYS:
            raise _wrong(file, text, (key,), f"'{key}' is not known; known are {', '.join(_KEYS)}")
    scheduler = _text(file, text, fields, "scheduler")
    certificates = Path(_text(file, text, fields, "certificates") or config_folder() / "certificates").expanduser()
    if scheduler:
        try:
            scheduler_parts(scheduler)
        except UsageError as problem:
            raise _wrong(file, text, ("scheduler",), _lower(problem.what.rstrip("."))) from problem
    tables = fields.get("devices", {})
    if not isinstance(tables, dict):
        raise _wrong(file, text, ("devices",), "'devices' is not a table, such as [devices.pi5]")
    devices = {name: _one(file, text, name, table) for name, table in tables.items()}
    return Inventory(file=file, devices=devices, scheduler=scheduler, certificates=file.parent / certificates)


def _one(file: Path, text: str, name: str, table: object) -> FleetDevice:
    where = ("devices", name)
    if not re.fullmatch(r"\w[\w.-]*", name, re.A) or name in (LOCAL, ALL):
        raise _wrong(file, text, where, f"'{abbreviated(name)}' cannot name a device")
    if not isinstance(table, dict):
        raise _wrong(file, text, where, f"'{name}' is not a table, such as [devices.{name}]")
    known = [field for field in FleetDevice.__struct_fields__ if field != "name"]
    for key in table:
        if key not in known:
            raise _wrong(file, text, (*where, key), f"'{key}' is not known; known are {', '.join(known)}")
    try:
        device = msgspec.convert({**table, "name": name}, FleetDevice)
    except msgspec.ValidationError as problem:
        key = re.search(r"\$\.(\w+)", str(problem))
        raise _wrong(
            file, text, (*where, *([key[1]] if key else [])), _lower(str(problem).split(" - ")[0])
        ) from problem
    if device.address != AGENT:
        try:
            require_ssh(device.address, "")
        except UsageError as problem:
            raise _wrong(file, text, (*where, "address"), _lower(problem.what.rstrip("."))) from problem
    return device


def _text(file: Path, text: str, fields: dict[str, object], key: str) -> str:
    value = fields.get(key, "")
    if not isinstance(value, str):
        raise _wrong(file, text, (key,), f"'{key}' is not a text")
    return value


def _wrong(file: Path, text: str, path: Sequence[str], what: str) -> UsageError:
    line = _line(text, path)
    return UsageError(f"{file}{f', line {line}' if line else ''}: {what}.", "Correct that line.")


def _line(text: str, path: Sequence[str]) -> int:
    """The line of a key, given by the tables that lead to it; 0 where it is written in another way."""
    section: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+([^\]]+)\]", line):
            section = _parts(header[1])
            here = section
        else:
            key, equals, _ = line.partition("=")
            here = [*section, *_parts(key)] if equals else []
        if here[: len(path)] == list(path):
            return number
    return 0


def _parts(dotted: str) -> list[str]:
    """The names of a dotted key of TOML, quoted or not."""
    return [part.strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.\s]+", dotted)]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
