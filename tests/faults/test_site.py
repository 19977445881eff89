# SPDX-License-Identifier: Apache-2.0
"""What the gateway says of its site, and the canary that it never lets pass."""

import json

import pytest

import tls
from bed import FAR
from gateway import ADDRESS, assert_denied, assert_oci_error, free_port
from test_identity import basic

SITE = "/pullgate/v1/site"
CANARY = "canary.pullgate.invalid"
OWN = "gateway.example.test"


@pytest.fixture
def told(own_gateway, tmp_path):
    """A gateway with more at the top, and a directory for its state."""

    def make(listeners=(), **how):
        more = {"state_directory": str(tmp_path / "state"), **how.pop("more", {})}
        return own_gateway(listeners, more=more, **how)

    return make


# --- the site ---


def test_the_site(told):
    gateway = told(more={"clients": {"gateway": "https://gw.example.test", "proxy": "http://gw.example.test:3128",
                                     "direct": ["r.corp.test"], "no_proxy": ["git.corp.test"]}})
    answer = gateway.ask(SITE)
    assert (answer.status, answer.header("content-type")) == (200, "application/json") and answer.complete
    assert answer.header("cache-control") == "no-store"
    site = json.loads(answer.body)
    assert (site["format"], site["gateway"], site["proxy"]) == (1, "https://gw.example.test", "http://gw.example.test:3128")
    assert (site["direct"], site["no_proxy"], site["takeover"]) == (["r.corp.test"], ["git.corp.test"], False)
    assert site["message"].startswith("Ask platform@example.test")
    hosts = {registry["name"]: registry["hosts"] for registry in site["registries"]}
    assert set(hosts["realm.test"]) >= {"realm.test", "localhost"}
    assert not set(site) & {"ca", "certificate", "key", "headers"}
    assert b"robot" not in answer.body, "no credentials"


def test_its_log_line(gateway):
    line = gateway.ask(SITE).line
    assert (line["route"], line["method"], line["decision"], line["status"]) == ("own", "GET", "allow", 200)
    assert not {"registry", "repository", "action"} & set(line)


def test_its_head(gateway):
    whole, head = gateway.ask(SITE), gateway.ask(SITE, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == whole.header("content-length")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_only_read(gateway, method):
    answer = gateway.ask(SITE, method=method, headers=[("Content-Length", "0")])
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/pullgate/v1/", "/pullgate/v1/sites", "/pullgate/v2/site", "/pullgate"])
def test_nothing_else_is_there(gateway, path):
    assert gateway.ask(path).status == 404


def test_it_follows_a_reload(told):
    gateway = told()
    assert "proxy" not in json.loads(gateway.ask(SITE).body)
    gateway.configure(clients={"proxy": "http://proxy.example.test"})
    assert "replaces" in gateway.reload()["message"]
    assert json.loads(gateway.ask(SITE).body)["proxy"] == "http://proxy.example.test"


def test_nobody_knows_where_the_gateway_is(bed, tmp_path, own_gateway, told):
    gateway = told()
    port = free_port()
    gateway.configure()
    settings = json.loads(gateway.config.read_text())
    settings["listeners"] = [{"address": f"0.0.0.0:{port}"}]
    gateway.config.write_text(json.dumps(settings))
    assert "replaces" in gateway.reload()["message"]
    gateway.port = port
    answer = gateway.ask(SITE)
    assert answer.status == 404 and "clients.gateway" in answer.error["message"]


def test_whoever_asks_is_known_where_the_listener_demands_it(told, tmp_path):
    port, challenging = free_port(), free_port()
    users = tmp_path / "users.htpasswd"
    users.write_text("")
    users.chmod(0o600)
    gateway = told([{"address": f"{ADDRESS}:{port}", "identify": "required"},
                    {"address": f"{ADDRESS}:{challenging}", "identify": "required", "challenge": True}],
                   more={"identity": {"htpasswd": str(users)}})
    first, gateway.port = gateway.port, port
    assert_denied(gateway.ask(SITE), "who asks", reason="unidentified")
    assert_oci_error(gateway.ask(SITE, headers=[basic("nobody", "wrong")]), 403, "credential")
    gateway.port = challenging
    answer = gateway.ask(SITE)
    assert answer.status == 401 and "Bearer realm=" in answer.header("www-authenticate")
    gateway.port = first
    assert gateway.ask(SITE).status == 200


def test_not_under_a_registrys_name(bed, told, tmp_path):
    port = free_port()
    gateway = told([{"address": f"{ADDRESS}:{port}", "tls": "auto", "names": [OWN], "takeover": True}],
                   registries={"take.test": {"endpoints": [f"https://{FAR}:{bed.tls.port}"], "ca": str(bed.ca)}})
    trust = tls.context(tmp_path / "state" / "ca.crt")
    assert tls.ask(gateway, port, OWN, SITE, trust).status == 200
    answer = tls.ask(gateway, port, "take.test", SITE, trust)
    assert answer.status == 403 and "/v2/" in answer.error["message"]


# --- the canary ---

ANY = {"*": {}}
EVERYTHING = [{"allow": ["**"]}]


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
@pytest.mark.parametrize("registries", [None, ANY], ids=["listed", "any"])
@pytest.mark.parametrize("rules", [None, EVERYTHING], ids=["no rules", "all allowed"])
def test_the_canary_is_denied(told, mode, registries, rules):
    gateway = told(mode=mode, registries=registries, rules=rules)
    for ask in ("denied/manifests/always", "other/app/manifests/1", f"a/blobs/sha256:{'0' * 64}", "a/tags/list"):
        assert_denied(gateway.pull(CANARY, ask), "canary", reason="canary")
    line = gateway.ask(f"/v2/{CANARY}/denied/manifests/always").line
    assert (line["decision"], line["reason"], line["registry"]) == ("deny", "canary", CANARY)
    assert "would" not in line and "upstream" not in line
    assert line["ms"] < 1000, "nobody was asked"


@pytest.mark.parametrize("registry", [CANARY + ":5000", "Canary.Pullgate.Invalid", CANARY + ":443"])
def test_however_it_is_written(told, registry):
    gateway = told(mode="monitor", registries=ANY)
    assert_denied(gateway.ask(f"/v2/{registry}/denied/manifests/always"), reason="canary")


def test_a_client_is_told_in_the_form_that_ends_its_pull(told):
    gateway = told(mode="monitor", registries=ANY)
    agent = [("User-Agent", "containerd/2.0")]
    head = gateway.pull(CANARY, "denied/manifests/always", method="HEAD", headers=agent)
    assert head.status == 200 and head.line["decision"] == "deny"
    digest = head.header("docker-content-digest")
    assert_denied(gateway.pull(CANARY, f"denied/manifests/{digest}", headers=agent), "canary", reason="canary")


def test_it_cannot_be_a_registry(told):
    gateway = told()
    gateway.configure(registries={CANARY: {}})
    assert "denied always" in gateway.reload()["message"]
    assert_denied(gateway.pull(CANARY, "denied/manifests/always"), reason="canary")
