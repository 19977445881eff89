# SPDX-License-Identifier: Apache-2.0
"""What the machines stand on: the bed's registries, a gateway with final denials and one with plain ones, and what may be wrong
with them; a proxy of somebody's own; archives."""

import os
import select
import socket
import socketserver
import struct
import ssl
import threading

from bed import names
from bed.gateway import Gateway
from bed.images import archive, image, unique
from bed.pki import openssl
from bed.processes import base_environment, command

MARK = "platform@example.com"  # what every message of the site says, and nothing else does
MESSAGE = f"Ask {MARK} (id={{id}})"
RULES = [
    {"name": "open", "allow": ["docker.io/library/ok-*", "ghcr.io/org/ok-*", "moved.example/**"]},
    {"name": "P-17", "deny": ["docker.io/library/denied-*", "ghcr.io/org/denied-*"],
     "message": f"{{image}} is not allowed here, rule {{rule}}: ask {MARK} (id={{id}})"},
]


class Site:
    """One gateway, and what can be wrong with it."""

    def __init__(self, bed, denials, name, address):
        self.bed, self.denials, self.name, self.address = bed, denials, name, address
        self.folder = f"{bed.folder}/{unique('site')}"
        self._stand_in = None
        self.ca = bed.pki.ca
        self.gateway = Gateway(self.folder, self.configuration(), bed.pki, (address, 80))

    def listener(self):
        return {"tls": {"certificate": self.bed.pki.certificate, "key": self.bed.pki.key}}

    def configuration(self, **more):
        registries = {name: value for name, value in self.bed.registries().items() if name in ("docker.io", "ghcr.io", "moved.example")}
        return {"listeners": [{"address": f"{self.address}:443", "denials": self.denials, **self.listener(), **more},
                              {"address": f"{self.address}:80", "denials": self.denials}, {"address": f"{self.address}:3128", "connect": "refuse"}],
                "message": MESSAGE, "registries": registries, "rules": RULES,
                "clients": {"gateway": f"https://{self.name}", "proxy": f"http://{self.name}:3128"}}

    def go_wrong(self, how):
        if how == "wrong-certificate":
            certificate, key = stranger_certificate(self.bed)
            line = self.gateway.reload(self.configuration(tls={"certificate": certificate, "key": key}))
            assert "error" not in line, line
            return
        self.gateway.stop()
        self.stand_in(how)

    def stand_in(self, how, certificate=None, key=None):
        if how != "stopped":
            pki = self.bed.pki
            self._stand_in = StandIn(how, [(self.address, port) for port in (80, 443, 3128)], certificate or pki.certificate, key or pki.key)

    def go_right(self, how):
        if self._stand_in:
            self._stand_in.stop()
            self._stand_in = None
        if self.gateway.alive():
            self.gateway.reload(self.configuration())
        else:
            self.gateway.start()


class Taken(Site):
    """A gateway under the registries' own names, with an authority of its own."""

    def __init__(self, *argv):
        super().__init__(*argv)
        self.ca = f"{self.folder}/state/ca.crt"

    def listener(self):
        return {"tls": "auto", "names": [self.name], "takeover": True}

    def configuration(self, **more):
        whole = super().configuration(**more)
        whole["clients"]["takeover"] = True
        return {**whole, "state_directory": f"{self.folder}/state"}

    def go_wrong(self, how):
        self.gateway.stop()
        self.stand_in(how, *(stranger_certificate(self.bed) if how == "wrong-certificate" else ()))


def stranger_certificate(bed):
    """The right names, from somebody whom no client trusts."""
    certificate, key = f"{bed.folder}/{unique('stranger')}.crt", f"{bed.folder}/{unique('stranger')}.key"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
            "-subj", "/CN=stranger", "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names.all_names()))
    return certificate, key


class StandIn:
    """In the gateway's place: "resetting" resets each connection, "hanging" takes it, does the handshake, and says nothing more; "wrong-certificate" has one."""

    def __init__(self, how, places, certificate, key):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._how, self._open, self._sockets = how, [], []
        for place in places:
            listener = socket.create_server(place, backlog=256)
            self._sockets.append(listener)
            threading.Thread(target=self._accept, args=(listener, place[1] == 443), daemon=True).start()

    def _accept(self, listener, tls):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if self._how == "resetting" or (self._how != "hanging" and not tls):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            elif tls:
                threading.Thread(target=self._shake, args=(connection,), daemon=True).start()
            else:
                self._open.append(connection)

    def _shake(self, connection):
        try:
            shaken = self._context.wrap_socket(connection, server_side=True)
        except OSError:
            return
        if self._how == "hanging":
            self._open.append(shaken)
        else:
            shaken.close()

    def stop(self):
        for sock in self._sockets:
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for connection in self._open:
            connection.close()


class _Forward(socketserver.BaseRequestHandler):
    def handle(self):
        place = self.server.place
        if place is None:
            place = self._connect_request()
            if place is None:
                return
        try:
            with socket.create_connection(place, 20) as there:
                if self.server.place is None:
                    self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._copy(self.request, there)
        except OSError:
            pass

    def _connect_request(self):
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.request.recv(4096)
            if not data:
                return None
            head += data
        method, target = head.split(b" ")[:2]
        if method != b"CONNECT":
            target = target.split(b"/")[2]
            target = target if b":" in target else target + b":80"
        host, _, port = target.decode().rpartition(":")
        if host not in self.server.gateways:
            self.server.witness.proxied.append((self.client_address[0], host))
        return (host, int(port)) if method == b"CONNECT" else None

    def _copy(self, here, there):
        other = {here: there, there: here}
        while True:
            for sock in select.select([here, there], [], [], 60)[0]:
                data = sock.recv(65536)
                if not data:
                    return
                other[sock].sendall(data)


class Forwarder(socketserver.ThreadingTCPServer):
    """TCP to one place; without a place, an HTTP proxy that connects to whatever it is told to."""

    daemon_threads, allow_reuse_address = True, True

    def __init__(self, address, witness, gateways=(), place=None):
        self.witness, self.place, self.gateways = witness, place, set(gateways)
        super().__init__(address, _Forward)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass


class Ground:
    PRESENT, STOCK = "docker.io/library/denied-present:1", "docker.io/acme/mine:1"

    def __init__(self, bed, witness):
        self.bed, self.witness = bed, witness
        self.sites = {
            ("mirror", "final"): Site(bed, "final", "mirror.test", names.MIRROR),
            ("mirror", "plain"): Site(bed, "plain", "plain.test", names.PLAIN),
            ("taken", "final"): Taken(bed, "final", "taken.test", names.TAKEN),
            ("taken", "plain"): Taken(bed, "plain", "plain-taken.test", names.TAKEN_PLAIN),
            ("windows", "final"): Site(bed, "final", "windows.test", names.WINDOWS),
            ("windows", "plain"): Site(bed, "plain", "plain-windows.test", names.WINDOWS_PLAIN),
        }
        gateways = [site.name for site in self.sites.values()]
        Forwarder((names.HUB_OTHERWISE, 443), witness, place=(names.HUB, 443))
        Forwarder((names.OWN_PROXY, 3128), witness, gateways)
        self._make_archives()

    def stop(self):
        for site in self.sites.values():
            site.gateway.stop()

    def _make_archives(self):
        """Images as files, as somebody may bring them."""
        folder = f"{self.bed.folder}/archives"
        os.makedirs(folder)
        env = base_environment(SSL_CERT_FILE=self.bed.pki.ca, HOME=folder)
        self.archives = {}
        for name, reference in (("load", "docker.io/library/denied-load:1"), ("present", self.PRESENT), ("stock", self.STOCK)):
            pushed = self.bed.hub.push(f"library/{unique('archive')}", "1", image(runnable=False))
            self.archives[name] = f"{folder}/{name}.tar"
            command(["skopeo", "copy", f"docker://{pushed.by_tag}", f"docker-archive:{self.archives[name]}:{reference}"], env=env).must_work()
        pushed = self.bed.hub.push(f"library/{unique('layout')}", "1", image(oci=True, runnable=False))
        self.layout, self.layout_digest = f"{folder}/layout", pushed.digest
        command(["skopeo", "copy", f"docker://{pushed.by_tag}", f"oci:{self.layout}:1"], env=env).must_work()
        self.tar = f"{folder}/system.tar"
        with open(self.tar, "wb") as file:
            file.write(archive({"bin/tool": b"a tool\n"}))
