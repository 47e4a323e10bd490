"""A device that ssh reaches: the installed client, with the user's own configuration, keys and known hosts.

The device needs edgeprof alone. Its process ends when the connection does.
"""

import shutil
from functools import partial
from importlib.metadata import version

from edgeprof.errors import DeviceLost, EdgeprofError
from edgeprof.fleet.inventory import FleetDevice, ssh_parts
from edgeprof.fleet.pipe import remote_command
from edgeprof.fleet.pipe_link import PipeLink

OPTIONS = (
    "-T",  # no terminal: bytes pass unchanged
    "-oBatchMode=yes",  # nobody is there to type a password
    "-oConnectTimeout=10",
    "-oServerAliveInterval=60",  # a device that lost its network is noticed after three minutes; one packet a minute
    "-oServerAliveCountMax=3",
    "-oForwardAgent=no",
    "-oForwardX11=no",
    "-oLogLevel=ERROR",
)
NO_SUCH_COMMAND = (126, 127)  # exit codes of POSIX shells


def ssh_link(device: FleetDevice) -> PipeLink:
    """A link to a device that ssh reaches; the first request connects.

    Raises:
        EdgeprofError: there is no ssh client.
    """
    return PipeLink(device.name, ssh_command(device), partial(_reason, device))


def ssh_command(device: FleetDevice) -> list[str]:
    client = shutil.which("ssh")
    if client is None:
        raise EdgeprofError("There is no ssh client on this machine.", "Install OpenSSH.")
    user, host, port = ssh_parts(device.address)
    words = [client, *device.ssh_options, *OPTIONS]
    words += ["-l", user] if user else []
    words += ["-p", str(port)] if port else []
    return [*words, "--", host, remote_command(device.python)]


def _reason(device: FleetDevice, code: int, printed: str) -> DeviceLost:
    """One sentence for what ssh, the shell or Python there printed."""
    user, host, port = ssh_parts(device.address)
    target = f"{'-p ' + str(port) + ' ' if port else ''}{user + '@' if user else ''}{host}"
    last = printed.splitlines()[-1].strip().rstrip(".") if printed else ""
    name, python = device.name, device.python
    if "Host key verification failed" in printed or "host key" in printed.lower():
        return DeviceLost(
            f"{name}: its host key is not known, or has changed.", f"Compare it on the device, then run: ssh {target}"
        )
    if "Permission denied" in last and code not in NO_SUCH_COMMAND:
        return DeviceLost(f"{name} does not accept your key: {last}.", f"Run: ssh-copy-id {target}")
    if code in NO_SUCH_COMMAND:
        return DeviceLost(
            f"{name} has no Python at {python}.", f'Set python = "..." for {name} in fleet.toml to one with edgeprof.'
        )
    if "No module named 'edgeprof'" in printed or "No package metadata was found for edgeprof" in printed:
        install = f"{python} -m pip install edgeprof=={version('edgeprof')}"
        return DeviceLost(f"edgeprof is not installed for {python} on {name}.", f"Run there: {install}")
    if "nknown option -P" in printed or "nknown option: -P" in printed:
        return DeviceLost(f"{python} on {name} is older than Python 3.11.", "Name a newer one in fleet.toml.")
    if code == 255 or code < 0:  # ssh's own failure, or its connection broke
        return DeviceLost(f"{name} cannot be reached: {last or 'the connection broke'}.", f"Check: ssh {target}")
    return DeviceLost(
        f"{name}: the process there ended with exit code {code}: {last or 'it printed nothing'}.",
        f"Check: ssh {target}",
    )
