# SPDX-License-Identifier: Apache-2.0
"""The bed is made here, once, in namespaces of its own; see bed/__init__.py."""

import concurrent.futures
import os
import shutil
import signal
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from bed import clients as client_kinds, names  # noqa: E402
from bed.gateway import Gateway  # noqa: E402
from bed.images import unique  # noqa: E402
from bed.pki import Pki  # noqa: E402
from bed.registry import Ghcr, Hub  # noqa: E402
from bed.scripted import Forbidden, Scripted  # noqa: E402
from bed.tokens import TokenIssuer  # noqa: E402

INSIDE = os.environ.get("PULLGATE_BED")
NEEDED = ["setpriv", "unshare", "ip", "openssl", "docker-registry", "skopeo", "podman", "buildah", "containerd", "ctr", "runc",
          "/usr/sbin/dockerd", "/usr/bin/docker", "/bin/busybox"]


def why_not():
    """What is missing on this machine, in words; None if nothing is."""
    if os.geteuid() != 0:
        return "the end-to-end stories need root: they make network, mount and PID namespaces and start container daemons"
    missing = [name for name in NEEDED if not shutil.which(name)]
    return f"the end-to-end stories need {', '.join(missing)}" if missing else None


def pytest_configure(config):
    """Go inside: run the same pytest again in new namespaces."""
    if INSIDE or why_not() or config.option.collectonly:
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture:
        capture.stop_global_capturing()
    sys.stdout.flush()
    # Whoever ends this process, by whatever signal, ends the bed: each parent's death kills its child.
    bed_process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child",
                                    "--mount-proc", "--propagation", "private", sys.executable, f"{HERE}/bed/inside.py", *sys.orig_argv])
    signal.signal(signal.SIGTERM, lambda *_: bed_process.kill())
    while True:
        try:
            status = bed_process.wait()
            break
        except KeyboardInterrupt:
            pass  # the pytest inside has had it too, and ends by itself
    os._exit(status if status >= 0 else 128 - status)


def pytest_collection_modifyitems(items):
    reason = why_not()
    for item in items:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


# --- the world ---


class Bed:
    """The registries and everything around them; gateways and clients are fixtures of their own."""

    def __init__(self, folder):
        self.folder, self.pki = folder, Pki(f"{folder}/pki")
        issuer = TokenIssuer(self.pki)
        self.hub = Hub(folder, self.pki, issuer)
        self.ghcr = Ghcr(folder, self.pki, issuer)
        self.corp = Scripted("corp.example", names.CORP, self.pki)
        self.realm = Scripted("realm.example", names.REALM, self.pki)
        self.realm.realm = "https://tokens.elsewhere.example/token"
        self.realm_tokens = Forbidden(names.REALM_TOKENS, self.pki)
        self.moved = Scripted("moved.example", names.MOVED, self.pki)
        self.moved.blobs_at = "https://blobs.elsewhere.example"
        self.moved_blobs = Forbidden(names.MOVED_BLOBS, self.pki)
        self.inside = Scripted("inside.example", names.INSIDE, self.pki)
        self.foreign = Forbidden(names.FOREIGN, self.pki)
        self.stranger = Scripted("stranger.example", names.STRANGER, self.pki)

    def registries(self):
        """The "registries" of a site that trusts the bed's CA and knows that all its hosts have private addresses."""
        ours = {"ca": self.pki.ca, "private_addresses": names.PRIVATE}
        return {
            "docker.io": ours,  # realm and redirect hosts come from the catalogue
            "ghcr.io": ours,
            "corp.example": ours,
            "realm.example": ours,
            "moved.example": ours,
            "inside.example": {"ca": self.pki.ca},  # nobody said that it may be private
        }

    def listeners(self, address, plain_address=None):
        tls = {"certificate": self.pki.certificate, "key": self.pki.key}
        listeners = [{"address": f"{address}:443", "tls": tls}, {"address": f"{address}:80"}]
        if plain_address:
            listeners += [{"address": f"{plain_address}:443", "tls": tls, "denials": "plain"}, {"address": f"{plain_address}:80", "denials": "plain"}]
        return listeners


@pytest.fixture(scope="session")
def bed():
    return Bed(INSIDE)


@pytest.fixture(scope="session")
def hub(bed):
    return bed.hub


SITE_MESSAGE = "Ask platform@example.com (id={id})"
RULE_MESSAGE = "{image} is not allowed here, rule {rule}: see https://wiki.example/images (id={id})"
RULES = [
    {"name": "open", "allow": ["docker.io/library/ok-*", "ghcr.io/org/ok-*", "corp.example/team/**", "realm.example/**", "moved.example/**",
                               "inside.example/**"]},
    {"name": "releases", "allow": ["docker.io/library/tagged-*:v*", "corp.example/tagged/*:v*"]},
    {"name": "P-17", "deny": ["docker.io/library/denied-*", "ghcr.io/org/denied-*"], "message": RULE_MESSAGE},
]


@pytest.fixture
def site(the_site):
    """The gateway of most stories: mirror.test with final denials, plain.test with plain ones. It must outlive every story."""
    yield the_site
    try:
        the_site.must_run()
    except AssertionError:
        the_site.start()  # for the next story; this one has failed
        raise


@pytest.fixture(scope="session")
def the_site(bed):
    gateway = Gateway(f"{bed.folder}/{unique('gateway')}", {
        "listeners": bed.listeners(names.MIRROR, names.PLAIN), "message": SITE_MESSAGE, "registries": bed.registries(), "rules": RULES,
    }, bed.pki, (names.MIRROR, 80))
    yield gateway
    gateway.stop()


@pytest.fixture
def other(bed):
    """A gateway of the story's own at other.test: call it with what its configuration has beside listeners and registries."""
    made = []

    def start(**configuration):
        base = {"listeners": bed.listeners(names.OTHER), "message": SITE_MESSAGE, "registries": bed.registries()}
        gateway = Gateway(f"{bed.folder}/{unique('gateway')}", {**base, **configuration}, bed.pki, (names.OTHER, 80))
        gateway.base = base
        made.append(gateway)
        return gateway

    yield start
    for gateway in made:
        gateway.stop()


@pytest.fixture(scope="session")
def clients(bed):
    """Clients by kind and mirror; each is started once."""
    made = {}

    def client(kind, mirror="mirror.test"):
        if (kind, mirror) not in made:
            made[kind, mirror] = client_kinds.KINDS[kind](bed, mirror)
        return made[kind, mirror]

    yield client
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda running: running.stop(), made.values()))
