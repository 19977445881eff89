# SPDX-License-Identifier: Apache-2.0
"""One gateway and one scripted upstream for the whole run.

Each test uses repositories of its own name, so that nothing the gateway remembers (links, mismatches, tokens) leads
from one test to the next; where an endpoint's health matters the test has a registry of its own. After each test the
gateway must still answer; after the last it must end with status 0 and without a sanitizer's report.
"""

import itertools
import re
from types import SimpleNamespace

import pytest

from bed import FAR, MANNERS, certificate, configuration, tls_context
from gateway import BINARY, Gateway, SANITIZER
from upstream import Manner, Upstream


@pytest.fixture(scope="session")
def bed(tmp_path_factory):
    """Certificates and the upstreams."""
    directory = tmp_path_factory.mktemp("faults")
    ca = certificate(directory, "ca", None)
    names = ",".join([f"IP:{address}" for address in MANNERS] + ["DNS:localhost"])
    stranger = certificate(directory, "stranger", None)
    bed = SimpleNamespace(directory=directory, ca=ca[0], authority=ca)
    bed.tls = Upstream(MANNERS, tls_context(certificate(directory, "server", names, ca)))
    bed.plain = Upstream({FAR: Manner.NORMAL})
    bed.foreign = Upstream({FAR: Manner.NORMAL}, tls_context(certificate(directory, "foreign", names, stranger)))
    bed.misnamed = Upstream({FAR: Manner.NORMAL},
                            tls_context(certificate(directory, "misnamed", "DNS:elsewhere.test", ca)))
    bed.chatty = Upstream({FAR: Manner.NORMAL}, bed.tls.context)  # says more than it was asked
    bed.canary = Upstream({FAR: Manner.NORMAL, "127.0.0.99": Manner.NORMAL})  # must never be connected to
    yield bed
    for server in (bed.tls, bed.plain, bed.foreign, bed.misnamed, bed.chatty, bed.canary):
        server.close()


class House:
    """The gateway that all tests share; a fresh one after a test that ended it, so that one crash is one failure."""

    def __init__(self, bed):
        self.bed = bed
        self.gateway = None

    def open(self):
        if self.gateway is None or self.gateway.process.poll() is not None:
            self.gateway = Gateway(self.bed.directory / f"gateway-{next(_numbers)}", configuration(self.bed))
        return self.gateway


@pytest.fixture(scope="session")
def house(bed):
    if not BINARY.exists():
        pytest.exit(f"no gateway at {BINARY}: build it, or name one with PULLGATE", returncode=2)
    house = House(bed)
    yield house
    if house.gateway is not None and house.gateway.process.poll() is None:
        assert house.gateway.stop() == 0, house.gateway.output()


@pytest.fixture
def gateway(house):
    return house.open()


@pytest.fixture
def own_gateway(bed):
    """A maker of further gateways, for limits of their own or to be stopped by the test.

    `store`: keys of its store, which is in a directory of its own unless they name another; None: it keeps nothing.
    `registries`: further keys by registry, also of new ones. `more`: further keys at the top.
    """
    made = []

    def make(listeners=(), inherited=None, ready=None, mode="enforce", rules=None, store=None, registries=None,
             more=None, **limits):
        settings = {**configuration(bed, **limits), "mode": mode, **(more or {})}
        directory = bed.directory / f"own-{next(_numbers)}"
        if rules is not None:
            settings["rules"] = rules
        if store is not None:
            settings["store"] = {"directory": str(directory / "store"), **store}
        for name, keys in (registries or {}).items():
            settings["registries"][name] = {**settings["registries"].get(name, {}), **keys}
        made.append(Gateway(directory, settings, listeners, inherited, ready))
        return made[-1]

    yield make
    for gateway in made:
        ended = gateway.process.poll() is not None  # by the test, which has looked at its status
        assert gateway.stop() == 0 or ended, gateway.output()


_numbers = itertools.count(1)


@pytest.fixture
def up(bed):
    return bed.tls


@pytest.fixture
def repo(request):
    """A repository that no other test uses."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")[:60].strip("-")
    return f"t{next(_numbers)}/{words}"


def pytest_make_parametrize_id(val):
    """Long and binary values are told by their start."""
    return ascii(val)[1:-1][:40].replace("/", "|") if isinstance(val, str) else None


@pytest.fixture(autouse=True)
def still_there(request, gateway):
    """Whatever a test did, the gateway goes on answering and reported nothing."""
    yield
    assert gateway.process.poll() is None, f"the gateway ended: {gateway.output()}"
    assert gateway.ask("/v2/").status == 200
    assert not SANITIZER.search(gateway.stderr_path.read_text(errors="replace")), gateway.output()
