# SPDX-License-Identifier: Apache-2.0
"""The bed is made here, once, in namespaces of its own; see bed/__init__.py."""

import concurrent.futures
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from bed import clients as client_kinds, names, outside  # noqa: E402
from bed.gateway import Gateway  # noqa: E402
from bed.images import unique  # noqa: E402
from bed.world import Bed  # noqa: E402


def pytest_configure(config):
    outside.go_inside(config)


def pytest_collection_modifyitems(items):
    reason = outside.why_not()
    for item in items:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


# --- the world ---


@pytest.fixture(scope="session")
def bed():
    return Bed(outside.INSIDE)


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
