# SPDX-License-Identifier: Apache-2.0
"""Client machines: each a network namespace with an address of its own and a mount namespace with an /etc of its own.

The bed's namespace is their only neighbour and their way to everything: registries, foreign hosts, the gateway. It sees by
the source address which machine asked, and keeps that in a set of nftables (`Witness`), whoever answered, or nobody.
"""

import ipaddress
import json
import os
import shutil
import signal
import socketserver
import subprocess
import threading

from bed import names
from bed.processes import Result, base_environment, until

BRIDGES = {"br0": "10.88.0.1/16", "wsl0": "10.89.0.1/16"}
GATEWAYS = {names.MIRROR, names.PLAIN, names.TAKEN, names.TAKEN_PLAIN, names.WINDOWS, names.WINDOWS_PLAIN}

WITNESS = """
table ip witness {
    set asked {
        type ipv4_addr . ipv4_addr . inet_service
        flags dynamic
        size 65535
    }
    chain input {
        type filter hook input priority 0
        ip saddr != { 10.88.0.0/16, 10.89.0.0/16 } accept
        tcp flags & (syn | ack) == syn add @asked { ip saddr . ip daddr . tcp dport }
        ip length > 100 add @asked { ip saddr . ip daddr . tcp dport }
    }
}
"""


def run(*argv, data=None):
    done = subprocess.run(argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AssertionError(f"$ {' '.join(argv)}\n{done.stdout}")
    return done.stdout


class Witness:
    """Who opened a connection to whom, or said something on one that was open: a packet that is longer than those that only keep
    or end it. A gateway is no secret; everything else is somewhere else."""

    def __init__(self):
        self._lock = threading.Lock()
        for name, address in BRIDGES.items():
            # Otherwise it takes the lowest of its ports' addresses, and what the machines know of it ends with each new one.
            run("ip", "link", "add", name, "address", f"02:00:00:00:00:{len(name):02x}", "type", "bridge")
            run("ip", "addr", "add", address, "dev", name)
            run("ip", "link", "set", name, "up")
            server = socketserver.ThreadingUDPServer((address.partition("/")[0], 53), Names)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        run("nft", "-f", "-", data=WITNESS)
        self.proxied = []  # (machine, host) that the proxy of somebody's own was asked for
        self._hosts = {address: (hosts or ["docker.io at another address"])[0] for address, hosts in names.HOSTS.items()}

    def take(self, machine):
        """The names of the hosts but gateways that it asked since it was last looked at."""
        with self._lock:
            listed = json.loads(run("nft", "-j", "list", "set", "ip", "witness", "asked"))["nftables"][1]["set"].get("elem", [])
            mine = {tuple(entry["concat"]) for entry in listed if entry["concat"][0] == machine.address}
            if mine:
                elements = ", ".join(f"{source} . {to} . {port}" for source, to, port in mine)
                run("nft", "delete", "element", "ip", "witness", "asked", "{", elements, "}")
            proxied = [host for address, host in self.proxied if address == machine.address]
            self.proxied = [entry for entry in self.proxied if entry[0] != machine.address]
        asked = {self._hosts.get(to, to) for _, to, _ in mine if to not in GATEWAYS and to != names.OWN_PROXY}
        return asked | {f"{host} through a proxy" for host in proxied}


class Names(socketserver.BaseRequestHandler):
    """DNS, as the machines have it: each name of the bed has one address. So that a hosts file is what it is elsewhere."""

    ADDRESSES = {name: ipaddress.ip_address(address).packed for address, hosts in names.HOSTS.items() for name in hosts}

    def handle(self):
        query, sock = self.request
        end, labels = 12, []
        while query[end]:
            labels.append(query[end + 1:end + 1 + query[end]].decode("ascii", "replace").lower())
            end += 1 + query[end]
        question, kind = query[12:end + 5], int.from_bytes(query[end + 1:end + 3], "big")
        known = self.ADDRESSES.get(".".join(labels))
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + known if known and kind == 1 else b""
        flags = b"\x85\x80" if known else b"\x85\x83"
        sock.sendto(query[:2] + flags + b"\0\1" + (b"\0\1" if answer else b"\0\0") + b"\0\0\0\0" + question + answer, self.client_address)


class Machine:
    """`folder` is its root as `pullgate client --root` means it; `folder`/etc is its /etc."""

    _number, _lock = 0, threading.Lock()

    def __init__(self, folder, bridge):
        with Machine._lock:
            Machine._number += 1
            number = Machine._number
        network = ipaddress.ip_interface(BRIDGES[bridge])
        self.folder, self.home, self._name = folder, f"{folder}/home", f"machine{number}"
        self.address = str(network.network[256 + number])
        os.makedirs(self.home)
        shutil.copytree("/etc", f"{folder}/etc", symlinks=True)
        for name, text in (("hosts", "127.0.0.1 localhost\n"), ("resolv.conf", f"nameserver {network.ip}\n")):
            with open(self.etc(name), "w", encoding="ascii") as file:
                file.write(text)
        self._connect(bridge, network, number)
        self._live()

    def _connect(self, bridge, network, number):
        name, outside = self._name, f"veth{number}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", outside, "master", bridge, "up")
        run("ip", "-n", name, "addr", "add", f"{self.address}/{network.network.prefixlen}", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "route", "add", "default", "via", str(network.ip))

    def _live(self):
        """Process 1 of the machine: it keeps the namespaces and collects orphans, and with it all of the machine's processes end."""
        script = 'mount --bind "$1/etc" /etc && touch "$1/alive" && while :; do sleep 1000 & wait $!; done'
        self._keeper = subprocess.Popen(["nsenter", f"--net=/run/netns/{self._name}", "unshare", "--mount", "--pid", "--fork", "--kill-child",
                                         "--mount-proc", "--propagation", "private", "sh", "-c", script, "sh", self.folder], start_new_session=True)
        until("the machine is there", lambda: os.path.exists(f"{self.folder}/alive"))
        with open(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children", encoding="ascii") as file:
            self._first = file.read().strip()

    def stop(self):
        self._keeper.kill()
        self._keeper.wait()

    def inside(self, *argv):
        """A command's words, for it to run on this machine."""
        return ["nsenter", "--target", self._first, "--net", "--mount", "--pid", "--", *argv]

    def command(self, argv, env=None, patience=60):
        """Run it there; a command that does not end in time is ended, and has failed."""
        process = subprocess.Popen(self.inside(*argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=env or base_environment(), start_new_session=True)
        try:
            output, _ = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # nsenter and what it waits for
            output, _ = process.communicate()
            return Result(argv, 124, output.decode("utf-8", "replace") + f"[still running after {patience} s]\n")
        return Result(argv, process.returncode, output.decode("utf-8", "replace"))

    def etc(self, path):
        return f"{self.folder}/etc/{path}"

    def rules(self, text):
        """Load these rules of nftables here."""
        path = f"{self.folder}/egress.nft"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        run(*self.inside("nft", "-f", path))

    def reaches(self, address, port=443):
        return self.command(["/bin/busybox", "nc", "-w", "2", address, str(port)], patience=10).ok
