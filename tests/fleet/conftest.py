"""An ssh server of the tests' own, a scheduler with TLS, and two agents that are pinned to a core each."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import command_line
from transport_parts import Cluster, Server, agent_line, free_port, save, started

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An ssh server on loopback that accepts one key."""
    if not Path(SSHD).is_file():
        pytest.fail("There is no ssh server: make test installs it.")
    folder, port = tmp_path_factory.mktemp("sshd"), free_port()
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    save(folder / "known_hosts", f"device {(folder / 'host.pub').read_text()}")
    own = [f"EDGEPROF_CACHE={folder / 'cache'}", f"EDGEPROF_LOCKS={folder / 'locks'}"]
    config = save(
        folder / "sshd_config",
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPasswordAuthentication no\nPermitRootLogin yes\n"
        f"SetEnv {' '.join(own)}\n",
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where the server, as root, separates privileges
    with started([SSHD, "-D", "-e", "-f", str(config)]) as server:
        server.wait_for("Server listening")
        yield Server(port, folder)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgeprof.fleet.certificates import make_certificates

    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(["one", "two"], folder)
    return folder


@pytest.fixture(scope="session")
def cluster(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with TLS, and two agents."""
    folder, port = tmp_path_factory.mktemp("cluster"), free_port()
    devices = "[devices.one]\n[devices.two]\n[devices.three]\n"
    fleet = save(
        folder / "fleet.toml", f'scheduler = "tls://127.0.0.1:{port}"\ncertificates = "{certificates}"\n{devices}'
    )
    cores = sorted(os.sched_getaffinity(0))

    def own_files(name: str) -> dict[str, str]:
        return {"EDGEPROF_CACHE": str(folder / name), "EDGEPROF_LOCKS": str(folder / name)}

    with (
        started(command_line("fleet", "scheduler", "--fleet", fleet)) as scheduler,
        started(["taskset", "-c", str(cores[0]), *agent_line("one", port, certificates)], **own_files("one")) as one,
        started(["taskset", "-c", str(cores[-1]), *agent_line("two", port, certificates)], **own_files("two")) as two,
    ):
        scheduler.wait_for("Agents can join")
        for agent in (one, two):
            agent.wait_for("has joined")
        yield Cluster(folder, port, {"scheduler": scheduler, "one": one, "two": two})
