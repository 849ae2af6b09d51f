"""Hosts as network namespaces: each has its own address, all are joined by a bridge in a namespace of its own.

The machine's own network is not touched. Names carry the test's pid; namespaces of tests that are no more are removed.
"""

import os
import re
import shutil
import subprocess

import cluster as c

PREFIX = "npt"
NETWORK = "10.213.77"


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def can_make_namespaces():
    if os.geteuid() != 0:
        raise c.Skip("needs root, to make network namespaces")
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            raise c.Skip(f"needs {program}")
    name = f"{PREFIX}{os.getpid()}-try"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise c.Skip(f"cannot make a network namespace: {done.stderr.strip()}")
    ip("netns", "delete", name)


def remove_those_of_dead_tests():
    for line in ip("netns", "list").splitlines():
        name = line.split()[0] if line.split() else ""
        owner = re.fullmatch(rf"{PREFIX}(\d+)-\w+", name)
        if owner and not os.path.exists(f"/proc/{owner.group(1)}"):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


class Host:
    def __init__(self, name, number):
        self.name = name
        self.netns = f"{PREFIX}{os.getpid()}-{name}"
        self.address = f"{NETWORK}.{number}"
        self.port = f"to-{name}"  # the bridge's end of its cable


class Network:
    """Hosts by name. Removed by the cluster it belongs to."""

    def __init__(self, cluster, names):
        can_make_namespaces()
        remove_those_of_dead_tests()
        self.switch = f"{PREFIX}{os.getpid()}-switch"
        self.hosts = {}
        cluster.cleanups.append(self.remove)
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.switch, "link", "set", "bridge", "up")
        for number, name in enumerate(names, start=1):
            self.add(Host(name, number))

    def __getitem__(self, name):
        return self.hosts[name]

    def add(self, host):
        self.hosts[host.name] = host
        ip("netns", "add", host.netns)
        ip("-n", self.switch, "link", "add", host.port, "type", "veth", "peer", "name", "eth0", "netns", host.netns)
        ip("-n", self.switch, "link", "set", host.port, "master", "bridge", "up")
        ip("-n", host.netns, "link", "set", "lo", "up")
        ip("-n", host.netns, "address", "add", f"{host.address}/24", "dev", "eth0")
        ip("-n", host.netns, "link", "set", "eth0", "up")

    def unplug(self, name):
        ip("-n", self.switch, "link", "set", self.hosts[name].port, "down")

    def cut(self, name, directions=("input", "output")):
        """Drops what the host receives and/or sends: no FIN, no RST, no ICMP."""
        rules = "add table inet cut; "
        for direction in directions:
            rules += f"add chain inet cut {direction} {{ type filter hook {direction} priority 0; policy drop; }}; "
        self._nft(name, rules)

    def heal(self, name):
        self._nft(name, "delete table inet cut")

    def _nft(self, name, rules):
        done = subprocess.run(["ip", "netns", "exec", self.hosts[name].netns, "nft", rules], capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"nft on {name}: {done.stderr.strip()}")

    def remove(self):
        for netns in [host.netns for host in self.hosts.values()] + [self.switch]:
            subprocess.run(["ip", "netns", "delete", netns], capture_output=True, check=False)
