# SPDX-License-Identifier: Apache-2.0
"""The servers that are compared, and the registry behind them: how each is configured, started, stopped and watched.

All stand on the loopback and ask one registry (Debian's docker-registry) over TLS. Each answers by plain HTTP on one
port and by TLS on another, with the same certificate. CPU is utime + stime of all processes of a server.
"""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

REGISTRY_NAME = "bench.test"
TICK = os.sysconf("SC_CLK_TCK")
TAG_HOLDS = "3600s"  # No tag is asked about again during a run, by any server.

NGINX = """\
worker_processes {threads};
daemon off;
error_log {dir}/error.log;
pid {dir}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
    access_log {dir}/access.log combined buffer=64k;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75s;
    keepalive_requests 1000000;
    proxy_cache_path {dir}/cache levels=1:2 keys_zone=content:16m max_size=50g inactive=1d use_temp_path=off;
    upstream registry {{
        server 127.0.0.1:{upstream};
        keepalive 64;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        listen 127.0.0.1:{tls} ssl backlog=4096;
        ssl_certificate {certs}/server.pem;
        ssl_certificate_key {certs}/server.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{
            proxy_pass https://registry;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host localhost:{upstream};
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {certs}/ca.pem;
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_cache content;
            proxy_cache_key "$request_uri";
            proxy_cache_valid 200 {holds};
            proxy_cache_lock on;
        }}
    }}
}}
"""

REGISTRY = """\
version: 0.1
log: {{ level: error, accesslog: {{ disabled: {silent} }} }}
storage: {{ filesystem: {{ rootdirectory: {dir}, maxthreads: 200 }}, delete: {{ enabled: false }} }}
http: {{ addr: "127.0.0.1:{port}", http2: {{ disabled: true }}{tls} }}
"""


def run(*args, **more):
    return subprocess.run([str(a) for a in args], check=True, capture_output=True, text=True, **more)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def make_certificates(directory):
    (directory / "ext.cnf").write_text("[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n"
                                       "[server]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name, extensions, signer in (("ca", "ca", ["-signkey", directory / "ca.key"]),
                                     ("server", "server", ["-CA", directory / "ca.pem", "-CAkey", directory / "ca.key",
                                                           "-CAcreateserial"])):
        run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", directory / f"{name}.key", "-out",
            directory / f"{name}.csr", "-subj", f"/CN=bench {name}", "-config", directory / "ext.cnf")
        run("openssl", "x509", "-req", "-in", directory / f"{name}.csr", "-out", directory / f"{name}.pem", "-days", "7",
            "-extfile", directory / "ext.cnf", "-extensions", extensions, *signer)
    for key in ("ca.key", "server.key"):
        (directory / key).chmod(0o600)


# --- processes ---


def wait_for(port, process):
    for _ in range(2000):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            if process.poll() is not None:
                return False
            time.sleep(0.005)
    return False


def processes():
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        yield int(entry.name), int(fields[1]), int(fields[11]) + int(fields[12])


def resident_anonymous(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1]) * 1024


class Server:
    """One of those that are compared: `ports` by whether the client speaks TLS."""

    def __init__(self, name, directory, plain, tls, query=""):
        self.name, self.directory, self.ports, self.query = name, directory, {False: plain, True: tls}, query
        self.started = []
        directory.mkdir(parents=True, exist_ok=True)

    def start(self, port, *command, **more):
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | more
        output = self.directory / f"{self.name}.out"
        with output.open("ab") as sink:
            process = subprocess.Popen([str(c) for c in command], stdout=sink, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL, env=clean)
        self.started.append(process)
        if not wait_for(port, process):
            raise SystemExit(f"bench: {self.name} did not start:\n{output.read_text(errors='replace')[-2000:]}")
        return self

    def stop(self):
        for process in self.started:
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def path(self, path):
        return path + self.query

    def cpu(self):
        """Seconds so far, of its processes and their children."""
        mine = {p.pid for p in self.started}
        return sum(ticks for pid, parent, ticks in processes() if pid in mine or parent in mine) / TICK

    def forget(self, repository, digest):
        """Content that will not be asked for again makes room."""
        raise NotImplementedError


class Registry(Server):
    """Debian's docker-registry, registry3 or zot's like: content below docker/registry/v2."""

    def forget(self, repository, digest):
        for store in self.directory.glob("**/docker/registry/v2/blobs/sha256"):
            shutil.rmtree(store / digest[7:9] / digest[7:], ignore_errors=True)


class Nginx(Server):
    def forget(self, repository, digest):
        key = hashlib.md5(f"/v2/{repository}/blobs/{digest}".encode()).hexdigest()
        (self.directory / "cache" / key[-1] / key[-3:-1] / key).unlink(missing_ok=True)


class Pullgate(Server):
    def forget(self, repository, digest):
        command = [self.started[0].args[0], "store", "rm", "--config", str(self.directory / "pullgate.json"),
                   f"{REGISTRY_NAME}/{repository}"]
        subprocess.run(command, capture_output=True, check=False)  # Only for room.

    def anonymous(self):
        return resident_anonymous(self.started[0].pid)


# --- how each is started ---


def registry_tls(certs):
    return f', tls: {{ certificate: {certs}/server.pem, key: {certs}/server.key }}'


def start_upstream(directory, certs):
    """With an access log: the requests that reach it are counted there."""
    port = free_port()
    server = Registry("upstream", directory / "upstream", port, port)
    config = server.directory / "config.yml"
    config.write_text(REGISTRY.format(dir=server.directory / "content", port=port, tls=registry_tls(certs),
                                      silent="false"))
    return server.start(port, "docker-registry", "serve", config)


def start_proxy(name, command, directory, certs, upstream):
    """A distribution registry as a pull-through proxy: it takes either plain HTTP or TLS, so that there are two."""
    server = Registry(name, directory / name, free_port(), free_port())
    for tls, port in server.ports.items():
        config = server.directory / f"{port}.yml"
        config.write_text(REGISTRY.format(dir=server.directory / str(port), port=port, silent="false",
                                          tls=registry_tls(certs) if tls else "")
                          + f"proxy: {{ remoteurl: \"https://localhost:{upstream.ports[True]}\" }}\n")
        server.start(port, command, "serve", config, SSL_CERT_FILE=str(certs / "ca.pem"))
    return server


class Zot(Server):
    def forget(self, repository, digest):
        for blob in self.directory.glob(f"*/{repository}/blobs/sha256/{digest[7:]}"):
            blob.unlink()


def start_zot(directory, certs, upstream):
    server = Zot("zot", directory / "zot", free_port(), free_port())
    for tls, port in server.ports.items():
        http = {"address": "127.0.0.1", "port": str(port)}
        if tls:
            http["tls"] = {"cert": str(certs / "server.pem"), "key": str(certs / "server.key")}
        sync = {"urls": [f"https://localhost:{upstream.ports[True]}"], "onDemand": True, "tlsVerify": True,
                "certDir": str(certs / "zot"), "content": [{"prefix": "**"}]}
        (certs / "zot").mkdir(exist_ok=True)
        shutil.copy(certs / "ca.pem", certs / "zot" / "ca.crt")
        config = server.directory / f"{port}.json"
        config.write_text(json.dumps({"storage": {"rootDirectory": str(server.directory / str(port))}, "http": http,
                                      "log": {"level": "error"}, "extensions": {"sync": {"registries": [sync]}}}))
        server.start(port, "zot", "serve", config)
    return server


def start_nginx(directory, certs, upstream, threads):
    server = Nginx("nginx", directory / "nginx", free_port(), free_port())
    text = NGINX.format(dir=server.directory, certs=certs, plain=server.ports[False], tls=server.ports[True],
                        upstream=upstream.ports[True], threads=threads, holds=TAG_HOLDS)
    config = server.directory / "nginx.conf"
    config.write_text(text)
    server.start(server.ports[False], "nginx", "-p", server.directory, "-e", server.directory / "error.log", "-c",
                 config)
    return server, text


def pullgate_config(directory, certs, upstream, threads, ports, store):
    return {
        "listeners": [{"address": f"127.0.0.1:{ports[False]}"},
                      {"address": f"127.0.0.1:{ports[True]}",
                       "tls": {"certificate": str(certs / "server.pem"), "key": str(certs / "server.key")}}],
        "control": str(directory / "control.sock"),
        "registries": {REGISTRY_NAME: {"endpoints": [f"https://localhost:{upstream.ports[True]}"],
                                       "ca": str(certs / "ca.pem"),
                                       "private_addresses": ["127.0.0.0/8", "::1/128"]}},
        "rules": [{"deny": [f"{REGISTRY_NAME}/forbidden/**"]},
                  {"allow": [f"{REGISTRY_NAME}/team/**", f"{REGISTRY_NAME}/bench/*"]},
                  {"deny": ["**"], "message": "{image} is not on the list of {rule}"}],
        "store": {"directory": str(store), "tag_ttl": TAG_HOLDS},
        "log": {"file": str(directory / "pullgate.log")},
        "limits": {"threads": threads},
    }


def start_pullgate(directory, certs, upstream, threads, binary, store=None):
    ports = {False: free_port(), True: free_port()}
    server = Pullgate("pullgate", directory / "pullgate", ports[False], ports[True], f"?ns={REGISTRY_NAME}")
    config = server.directory / "pullgate.json"
    config.write_text(json.dumps(pullgate_config(server.directory, certs, upstream, threads, ports,
                                                 store or server.directory / "store"), indent=2))
    return server.start(ports[False], binary, "serve", "--config", config)
