"""Agents of Dask, with a real scheduler over TLS: who may join, what is lost and found, and that no pickle is read."""

import re
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest
from command import Command, command_line
from test_transport_ssh import LONG_WORK, NOT_A_REQUEST, Asked, answers, eventually
from transport_parts import Cluster, Proxy, Started, agent_line, free_port, save, started

from edgeprof.errors import DeviceLost
from edgeprof.fleet.certificates import make_certificates
from edgeprof.fleet.messages import MeasureCeilings
from edgeprof.fleet.opening import open_links
from edgeprof.process import ChildTimeout


def working(agent: Started) -> bool:
    """Whether the agent's child has started to measure."""
    return len(psutil.Process(agent.process.pid).children(recursive=True)) > 1


def test_agents_answer_and_missing_ones_are_told(cluster: Cluster, edgeprof: Command) -> None:
    listed = edgeprof("fleet", "--on", "one,two,three", "--fleet", cluster.fleet, "--json")
    assert listed.code == 0, listed.err
    one, two, three = listed.json
    assert one["described"]["machine"]["machine_id"] and not one["error"]
    assert two["described"]["packages"]["onnxruntime"]
    assert three["described"] is None
    assert three["error"].startswith("No agent called three has joined the scheduler at tls://127.0.0.1:")
    assert "edgeprof agent --name three" in three["error"]


def wakes(agent: Started) -> int:
    """How often any thread of an agent was given a core so far."""
    texts = [file.read_text() for file in Path(f"/proc/{agent.process.pid}/task").glob("*/status")]
    return sum(int(count) for text in texts for count in re.findall(r"ctxt_switches:\s+(\d+)", text))


def test_an_agent_is_silent_while_it_works_and_stops_with_the_client(cluster: Cluster) -> None:
    with open_links(["one"], fleet=cluster.fleet) as (link,):
        asked = Asked(link, LONG_WORK)
        assert eventually(lambda: working(cluster.agents["one"]))
        time.sleep(0.5)
        before = wakes(cluster.agents["one"])
        time.sleep(2)
        assert wakes(cluster.agents["one"]) == before
        link.stop()  # type: ignore[attr-defined]
        assert "one" in asked.error()
        assert eventually(lambda: not working(cluster.agents["one"]))
        assert answers(link)


def test_an_agent_tells_what_it_is_busy_with_while_it_works(cluster: Cluster, edgeprof: Command) -> None:
    work = msgspec.msgpack.encode(MeasureCeilings(threads=1, force=True, client="anna@desk"))
    with open_links(["one"], fleet=cluster.fleet) as (link,):
        asked = Asked(link, work)
        assert eventually(lambda: working(cluster.agents["one"]))
        listed = edgeprof("fleet", "--on", "one", "--fleet", cluster.fleet, "--json")
        (one,) = listed.json
        assert one["described"]["busy_with"].startswith("measures its ceilings for anna@desk, since ")
        assert one["described"]["machine"]["cpu"]
        assert asked.is_alive()
        assert eventually(lambda: working(cluster.agents["one"]))
        link.stop()  # type: ignore[attr-defined]
        assert "one" in asked.error()


def test_a_killed_agent_is_lost_with_all_it_started_and_may_come_back(cluster: Cluster, certificates: Path) -> None:
    make_certificates(["three"], certificates, force=True)
    line = agent_line("three", cluster.port, certificates)
    with open_links(["three"], fleet=cluster.fleet) as (link,):
        with started(line) as agent:
            agent.wait_for("has joined")
            asked = Asked(link, LONG_WORK)
            assert eventually(lambda: working(agent))
            below = psutil.Process(agent.process.pid).children(recursive=True)
            agent.process.kill()
            assert asked.error() == (
                "three went away: its agent ended, or the connection to it broke. Start its agent again."
            )
            assert eventually(lambda: not any(process.is_running() for process in below))
        with started(line) as agent:
            agent.wait_for("has joined")
            assert answers(link)
            assert agent.end(signal.SIGTERM) == 143


def clients() -> list[psutil.Process]:
    """The processes behind links of this one."""
    children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in children if "edgeprof.fleet.dask_client" in " ".join(child.cmdline())]


def test_links_share_a_process_and_nothing_else(cluster: Cluster, certificates: Path, tmp_path: Path) -> None:
    make_certificates(["three"], certificates, force=True)
    with (
        open_links(["three", "one", "two"], fleet=cluster.fleet) as (dying, link, idle),
        started(agent_line("three", cluster.port, certificates), EDGEPROF_LOCKS=str(tmp_path)) as agent,  # no turns
    ):
        agent.wait_for("has joined")
        lost, going = Asked(dying, LONG_WORK), Asked(link, LONG_WORK)
        assert eventually(lambda: working(agent) and working(cluster.agents["one"]))
        (client,) = clients()
        assert answers(idle)  # not after the others
        with pytest.raises(ChildTimeout, match="two did not reply within 1 s"):
            idle.ask(LONG_WORK, 1)
        assert eventually(lambda: not working(cluster.agents["two"]))
        agent.process.kill()
        assert lost.error().startswith("three went away")
        idle.close()
        dying.close()
        assert going.is_alive()
        assert clients() == [client]
        client.kill()
        assert going.error() == (
            "The client of the scheduler: the process ended with signal SIGKILL: it printed nothing. "
            "Run the command again."
        )
        assert eventually(lambda: not working(cluster.agents["one"]))
        assert answers(link)
        with pytest.raises(DeviceLost, match="two is not asked any more"):
            idle.ask(NOT_A_REQUEST)
    assert not clients()


def test_a_broken_network_is_a_lost_device_that_joins_again(cluster: Cluster, certificates: Path) -> None:
    make_certificates(["three"], certificates, force=True)
    with (
        Proxy(cluster.port) as proxy,
        started(agent_line("three", proxy.port, certificates)) as agent,
        open_links(["three"], fleet=cluster.fleet) as (link,),
    ):
        agent.wait_for("has joined")
        asked = Asked(link, LONG_WORK)
        assert eventually(lambda: working(agent))
        proxy.drop()
        assert "three went away" in asked.error()
        agent.wait_for("went away")
        assert eventually(lambda: not working(agent))
        agent.wait_for("has joined", times=2)
        assert answers(link)


def test_an_agent_awaits_a_scheduler_that_was_killed(tmp_path: Path) -> None:
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    fleet = save(tmp_path / "fleet.toml", f'scheduler = "{address}"\n[devices.solo]\n')
    scheduler = command_line("fleet", "scheduler", "--fleet", fleet)
    with started(command_line("agent", "--name", "solo", "--fleet", fleet)) as agent:
        agent.wait_for("Trying again")
        with started(scheduler) as first, open_links(["solo"], fleet=fleet) as (link,):
            agent.wait_for("has joined")
            asked = Asked(link, LONG_WORK)
            assert eventually(lambda: working(agent))
            first.process.kill()
            assert asked.error().startswith(f"The scheduler at {address} went away.")
        agent.wait_for("went away")
        assert eventually(lambda: not working(agent))
        with open_links(["solo"], fleet=fleet) as (link,):
            with pytest.raises(DeviceLost, match=r"scheduler at .* cannot be reached"):
                link.ask(NOT_A_REQUEST)
            with started(scheduler):
                agent.wait_for("has joined", times=2)
                assert answers(link)
        assert agent.end(signal.SIGINT) == 130


def test_a_certificate_of_another_authority_and_a_name_in_use_are_refused(
    cluster: Cluster, certificates: Path, tmp_path: Path
) -> None:
    make_certificates(["one"], tmp_path)
    with (
        started(agent_line("one", cluster.port, tmp_path)) as stranger,
        started(agent_line("one", cluster.port, certificates)) as second,
    ):
        refused = stranger.wait_for("Trying again")
        assert re.search(r": its certificate is not trusted here \([a-z -]+\)\. Trying again in", refused)
        assert "another agent called one has joined already" in second.wait_for("Trying again")
    fleet = save(
        tmp_path / "fleet.toml",
        f'scheduler = "tls://127.0.0.1:{cluster.port}"\ncertificates = "{tmp_path}"\n[devices.one]\n',
    )
    with open_links(["one"], fleet=fleet) as (link,), pytest.raises(DeviceLost) as problem:
        link.ask(NOT_A_REQUEST)
    assert "cannot be reached: its certificate is not trusted here (" in problem.value.what
    assert problem.value.next_step.startswith("Use certificates of one authority here and there")


def test_plain_tcp_is_for_loopback(edgeprof: Command, tmp_path: Path) -> None:
    refused = edgeprof("agent", "--scheduler", "tcp://10.0.0.1:8786")
    assert refused.code == 2
    assert refused.sentences == [
        "edgeprof: tcp://10.0.0.1:8786 is not encrypted, and not on this machine. "
        "Use tls:// (see: edgeprof fleet certs --help), or add --insecure in a network that you trust."
    ]
    save(tmp_path / "fleet.toml", 'scheduler = "tcp://10.0.0.1:8786"\n[devices.one]\n')
    assert edgeprof("fleet").code == 2
    assert edgeprof("fleet", "scheduler").code == 2
    lacking = edgeprof("agent", "--scheduler", "tls://desk:8786", "--name", "pi5", "--certs", "certs")
    assert lacking.code == 2
    assert lacking.err.startswith("edgeprof: There is no certificate in certs (ca.pem is not there).")


def test_a_pickle_from_a_device_is_refused(cluster: Cluster, certificates: Path, tmp_path: Path) -> None:
    marker = tmp_path / "it ran"
    script = Path(__file__).with_name("evil_agent.py")
    address = f"tls://127.0.0.1:{cluster.port}"
    with started([sys.executable, str(script), address, str(certificates / "one"), str(marker)]) as evil:
        evil.wait_for("has joined")
        with open_links(["three", "one"], fleet=cluster.fleet) as (link, good):
            for how in (b"value", b"error", b"message"):
                with pytest.raises(DeviceLost, match="refused"):
                    link.ask(how, 20)
            assert answers(good)
    assert not marker.exists()


def test_an_idle_agent_answers_after_a_restart_of_its_scheduler(tmp_path: Path) -> None:
    fleet = save(tmp_path / "fleet.toml", f'scheduler = "tcp://127.0.0.1:{free_port()}"\n[devices.solo]\n')
    scheduler = command_line("fleet", "scheduler", "--fleet", fleet)
    with started(command_line("agent", "--name", "solo", "--fleet", fleet)) as agent:
        for times in (1, 2):
            with started(scheduler), open_links(["solo"], fleet=fleet) as (link,):
                agent.wait_for("has joined", times=times)
                assert answers(link)


def test_a_port_in_use_is_one_sentence(edgeprof: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        refused = edgeprof("fleet", "scheduler", "--address", address)
    assert refused.code == 2
    assert refused.sentences == [
        f"edgeprof: The scheduler cannot listen at {address}: Address already in use. "
        "Name another --address, also in fleet.toml."
    ]
