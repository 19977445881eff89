# SPDX-License-Identifier: Apache-2.0
"""Docker Hub and ghcr.io: docker-registry processes with token authentication; Hub's blobs are redirected to the S3 host."""

import http.client
import os
import re
import shutil
import socket
import ssl
import threading
import uuid

from . import names, s3
from .images import Pushed, digest_of
from .processes import Daemon, base_environment, until
from .tokens import TokenIssuer, TokenServer
from .web import Answer, Server


def registry_process(folder, name, settings, pki, ready_port, address="127.0.0.1"):
    path = f"{folder}/{name}.yml"
    with open(path, "w", encoding="ascii") as file:
        file.write("version: 0.1\nlog: {level: error}\n" + settings)
    # AWS_CA_BUNDLE makes the S3 driver panic; base_environment() drops it.
    env = base_environment(SSL_CERT_FILE=pki.ca, OTEL_TRACES_EXPORTER="none")
    daemon = Daemon(["docker-registry", "serve", path], f"{folder}/{name}.log", env)
    return daemon.wait_ready(lambda: listens(address, ready_port))


def listens(address, port):
    try:
        socket.create_connection((address, port), 5).close()
        return True
    except OSError:
        return False


class Pushing:
    """Puts images into a registry's folder through a docker-registry of its own, without authentication."""

    def __init__(self, name, folder, storage, port, pki):
        self.name, self.port, self._stored, self._lock = name, port, set(), threading.RLock()
        self._process = registry_process(folder, f"push-{name}", f"""
storage: {{filesystem: {{rootdirectory: {storage}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: bed}}
validation: {{manifests: {{urls: {{allow: ["."]}}}}}}
""", pki, port)

    def _ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status < 300, f"{method} {path}: {answer.status} {text[:500]}"
            return answer.headers
        finally:
            connection.close()

    def _blob(self, repository, data):
        digest, known = digest_of(data), None
        for have, where in self._stored:
            if have == digest:
                known = where
        if known == repository:
            return
        if known:
            self._ask("POST", f"/v2/{repository}/blobs/uploads/?mount={digest}&from={known}", b"")
        else:
            location = self._ask("POST", f"/v2/{repository}/blobs/uploads/", b"")["Location"]
            target = location[location.index("/v2/"):]
            self._ask("PUT", f"{target}&digest={digest}", data, {"Content-Type": "application/octet-stream"})
        self._stored.add((digest, repository))

    def push(self, repository, tag, document):
        """Push and return where it is. `tag` None: by digest only."""
        with self._lock:
            for child in document.children:
                self.push(repository, None, child)
            for blob in document.blobs:
                self._blob(repository, blob)
            self._ask("PUT", f"/v2/{repository}/manifests/{tag or document.digest}", document.bytes, {"Content-Type": document.media_type})
        return Pushed(self.name, repository, tag, document)


class Asked:
    """One line of docker-registry's access log."""

    LINE = re.compile(r'^(\S+) - \S* ?\S* ?\[[^]]*\] "(\S+) (\S+) HTTP/[0-9.]+" (\d+) \S+ "[^"]*" "([^"]*)"')

    def __init__(self, match):
        self.client, self.method, self.target, status, self.user_agent = match.groups()
        self.status, self.path = int(status), self.target.partition("?")[0]

    def __repr__(self):
        return f"{self.method} {self.target} -> {self.status} ({self.user_agent[:30]})"


class Hub:
    """docker.io: https://registry-1.docker.io, tokens from https://auth.docker.io, blobs from the S3 host by 307."""

    def __init__(self, folder, pki, issuer):
        storage = f"{folder}/hub"
        os.makedirs(storage)
        self._pki, self._issuer, self._log, self._storage = pki, issuer, f"{folder}/hub.log", storage
        self.push = Pushing("docker.io", folder, storage, 5001, pki).push
        self.blobs = s3.S3(names.S3, pki, storage)
        self.tokens = TokenServer(names.HUB_TOKENS, pki, issuer)
        registry_process(folder, "hub", f"""
storage:
  s3:
    {{accesskey: {s3.ACCESS_KEY}, secretkey: {s3.SECRET_KEY}, region: {s3.REGION}, bucket: {s3.BUCKET},
      regionendpoint: "https://{names.S3_NAME}", rootdirectory: /}}
  redirect: {{disable: false}}
http: {{addr: "{names.HUB}:443", secret: bed, tls: {{certificate: {pki.certificate}, key: {pki.key}}}}}
auth: {{token: {{realm: "https://auth.docker.io/token", service: registry.docker.io, issuer: {TokenIssuer.NAME}, rootcertbundle: {pki.ca}}}}}
""", pki, 443, names.HUB)

    def _lines(self):
        with open(self._log, encoding="utf-8", errors="replace") as file:
            return [Asked(match) for match in map(Asked.LINE.match, file) if match]

    def _settle(self):
        """Until a request made now is in the log, and so everything before it."""
        mark = f"/v2/?mark={uuid.uuid4().hex}"
        context = ssl.create_default_context(cafile=self._pki.ca)
        connection = http.client.HTTPSConnection("registry-1.docker.io", context=context, timeout=60)
        connection.request("GET", mark)
        connection.getresponse().read()
        connection.close()
        until("the registry has logged", lambda: any(line.target == mark for line in self._lines()))

    def mark(self):
        self._settle()
        return len(self._lines())

    def since(self, mark, repository=None):
        """What docker.io was asked since `mark`, about one repository."""
        self._settle()
        asked = [line for line in self._lines()[mark:] if "?mark=" not in line.target]
        return [line for line in asked if repository is None or f"/{repository}/" in line.path]

    def ask(self, method, path, repository, accept=None):
        """Ask docker.io itself, as any client could: (status, headers, body)."""
        context = ssl.create_default_context(cafile=self._pki.ca)
        connection = http.client.HTTPSConnection("registry-1.docker.io", context=context, timeout=60)
        token = self._issuer.token("registry.docker.io", [f"repository:{repository}:pull"])
        connection.request(method, path, headers={"Authorization": f"Bearer {token}", **({"Accept": accept} if accept else {})})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    def forget_blobs(self, pushed):
        """The repository has the manifest no less, but not what it names, as if somebody had written that into it."""
        shutil.rmtree(f"{self._storage}/docker/registry/v2/repositories/{pushed.repository}/_layers")

    def has(self, pushed):
        """Is the image there for anybody who asks docker.io itself?"""
        status, headers, _ = self.ask("HEAD", f"/v2/{pushed.repository}/manifests/{pushed.tag or pushed.digest}", pushed.repository,
                                      pushed.document.media_type)
        return status == 200 and headers["Docker-Content-Digest"] == pushed.digest


class Ghcr(Server):
    """ghcr.io: one host for tokens and content; in front of a docker-registry on the loopback address."""

    def __init__(self, folder, pki, issuer):
        storage = f"{folder}/ghcr"
        os.makedirs(storage)
        self._issuer = issuer
        self.push = Pushing("ghcr.io", folder, storage, 5002, pki).push
        registry_process(folder, "ghcr", f"""
storage: {{filesystem: {{rootdirectory: {storage}}}}}
http: {{addr: "127.0.0.1:5003", secret: bed, host: "https://ghcr.io"}}
auth: {{token: {{realm: "https://ghcr.io/token", service: ghcr.io, issuer: {TokenIssuer.NAME}, rootcertbundle: {pki.ca}}}}}
""", pki, 5003)
        super().__init__(names.GHCR, pki)

    def handle(self, request):
        if request.path == "/token":
            return self._issuer.answer(request)
        connection = http.client.HTTPConnection("127.0.0.1", 5003, timeout=60)
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.putheader("X-Forwarded-Proto", "https")
            connection.endheaders(request.body)
            answer = connection.getresponse()
            body = answer.read()
            headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in ("content-length", "connection", "transfer-encoding")]
            said = answer.headers["Content-Length"]
            out = Answer(answer.status, body, length=int(said) if request.method == "HEAD" and said else None)
            out.headers = headers
            return out
        finally:
            connection.close()
