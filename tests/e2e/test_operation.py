# SPDX-License-Identifier: Apache-2.0
"""Running a gateway: pushes, monitor mode, reloads, its log, its end."""

import re

import pytest

from bed.images import image, unique
from bed.stories import past_the_gateway, reads_the_words

ALLOW_ALL = [{"name": "all", "allow": ["**"]}]
DENY_ALL = [{"name": "freeze", "deny": ["**"], "message": "nothing today (id={id})"}]


# --- pushes ---


def test_a_push_is_refused_and_docker_hub_hears_nothing_of_it(site, hub, clients):
    pushed = hub.push(f"library/{unique('ok')}", "1", image())
    containerd = clients("containerd-server")
    containerd.pull(pushed.by_tag).must_work()
    hub_mark, mark = hub.mark(), site.mark()
    new_tag = f"docker.io/{pushed.repository}:2"
    containerd.ctr("images", "tag", pushed.by_tag, new_tag).must_work()

    containerd.push(new_tag).must_fail()

    line = site.line(mark, repository=pushed.repository, decision="deny")
    assert line["action"] == "push" and line["status"] == 403
    assert not [a for a in hub.since(hub_mark, pushed.repository) if a.method not in ("GET", "HEAD")]


def test_skopeo_reads_why_its_push_is_refused(site, hub, clients):
    pushed = hub.push(f"library/{unique('ok')}", "1", image())
    skopeo, mark = clients("skopeo"), site.mark()
    output = skopeo.tool("skopeo", "copy", f"docker://{pushed.by_tag}", f"docker://mirror.test/docker.io/{pushed.repository}:2").must_fail()
    assert "403" in output or "denied" in output
    assert site.line(mark, repository=pushed.repository, action="push")["decision"] == "deny"


@pytest.mark.parametrize("method, what", [("POST", "blobs/uploads/"), ("PUT", "manifests/1"), ("DELETE", "manifests/1"),
                                          ("PATCH", "blobs/uploads/0b5e3b9c-0000-4000-8000-000000000000")])
def test_writing_requests_are_denied(method, what, site, hub):
    pushed = hub.push(f"library/{unique('ok')}", "1", image(runnable=False))
    hub_mark = hub.mark()
    reply = site.ask(method, f"/v2/docker.io/{pushed.repository}/{what}", body=b"{}")
    assert (reply.status, reply.error[0]) == (403, "DENIED")
    assert hub.since(hub_mark, pushed.repository) == []
    assert hub.has(pushed)


# --- monitor ---


def test_monitor_lets_pass_what_the_rules_deny_and_says_so(bed, hub, other, clients):
    gateway = other(mode="monitor", rules=DENY_ALL)
    pushed = hub.push(f"library/{unique('denied')}", "1", image())
    mark = gateway.mark()
    clients("containerd-server", "other.test").pull(pushed.by_tag).must_work()
    line = gateway.line(mark, repository=pushed.repository, reference="1")
    assert (line["decision"], line["would"]) == ("allow", "deny")
    assert not gateway.lines(mark, repository=pushed.repository, decision="deny")


def test_monitor_lets_urls_and_redirects_pass_but_no_unlisted_registry_and_no_private_address(bed, hub, other):
    gateway = other(mode="monitor", rules=ALLOW_ALL)
    with_urls = hub.push(f"library/{unique('ok')}", "1", image(urls=["https://foreign.example/x"]))
    assert gateway.ask("GET", f"/v2/{with_urls.repository}/manifests/1").status == 200
    assert gateway.line(repository=with_urls.repository)["would"] == "deny"

    unlisted = bed.stranger.push(f"team/{unique('app')}", "1", image(runnable=False))
    stranger_mark = bed.stranger.mark()
    assert gateway.ask("GET", f"/v2/stranger.example/{unlisted.repository}/manifests/1").status == 403
    assert bed.stranger.since(stranger_mark) == []

    private = bed.inside.push(f"team/{unique('app')}", "1", image(runnable=False))
    inside_mark = bed.inside.mark()
    assert gateway.ask("GET", f"/v2/inside.example/{private.repository}/manifests/1").status == 403
    assert bed.inside.since(inside_mark) == []
    assert gateway.ask("PUT", f"/v2/{with_urls.repository}/manifests/2", body=b"{}").status == 403


def test_a_monitored_rule_never_decides(hub, other):
    gateway = other(rules=[{"name": "soon", "deny": ["docker.io/library/**"], "mode": "monitor"}, {"name": "now", "allow": ["docker.io/**"]}])
    pushed = hub.push(f"library/{unique('ok')}", "1", image(runnable=False))
    assert gateway.ask("GET", f"/v2/{pushed.repository}/manifests/1").status == 200
    line = gateway.line(repository=pushed.repository)
    assert (line["decision"], line["rule"], line["would"]) == ("allow", "now", "deny")


# --- reload ---


def test_a_good_reload_is_in_force_for_the_next_request(hub, other, clients):
    gateway = other(rules=ALLOW_ALL)
    one, two = (hub.push(f"library/{unique('ok')}", "1", image()) for _ in range(2))
    client = clients("containerd-server", "other.test")
    client.pull(one.by_tag).must_work()
    before = gateway.line(repository=one.repository)["config"]

    gateway.reload({**gateway.base, "rules": DENY_ALL})

    mark = gateway.mark()
    output = client.pull(two.by_tag).must_fail()
    reads_the_words(output, gateway, mark, two, "nothing today")
    assert gateway.line(mark, repository=two.repository)["config"] != before


@pytest.mark.parametrize("broken, says", [("{", ""), ("unknown key", "frobnicate"), ("bad pattern", "alpine")])
def test_a_bad_reload_changes_nothing_and_says_why(broken, says, hub, other):
    gateway = other(rules=ALLOW_ALL)
    pushed = hub.push(f"library/{unique('ok')}", "1", image(runnable=False))
    texts = {"{": "{", "unknown key": {**gateway.base, "frobnicate": 1}, "bad pattern": {**gateway.base, "rules": [{"deny": ["alpine"]}]}}

    line = gateway.reload(texts[broken])

    assert says in line["message"] and line["message"]
    assert gateway.ask("GET", f"/v2/{pushed.repository}/manifests/1").status == 200
    assert gateway.line(repository=pushed.repository)["rule"] == "all"


# --- the log ---


def test_a_decisions_line_is_whole(site, hub):
    pushed = hub.push(f"library/{unique('ok')}", "1", image(runnable=False))
    reply = site.ask("GET", f"/v2/{pushed.repository}/manifests/1?ns=docker.io", {"User-Agent": "a-story/1", "Authorization": "Bearer very-secret"})
    line = site.line(repository=pushed.repository)
    expected = {"event": "request", "registry": "docker.io", "reference": "1", "digest": pushed.digest, "action": "pull", "decision": "allow",
                "rule": "open", "route": "ns", "status": 200, "user_agent": "a-story/1", "media_type": pushed.document.media_type,
                "bytes": len(pushed.document.bytes), "id": reply.headers["X-Request-Id"]}
    assert {name: line.get(name) for name in expected} == expected
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert re.fullmatch(r"[0-9a-f]{12}", line["config"])
    text = str(site.log())
    assert "very-secret" not in text and "X-Amz-Signature" not in text


def test_credentials_of_a_client_go_nowhere(bed, site):
    pushed = bed.corp.push(f"team/{unique('app')}", "1", image(runnable=False))
    mark = bed.corp.mark()
    secrets = {"Authorization": "Basic c2VjcmV0OnNlY3JldA==", "Cookie": "a=b"}
    assert site.ask("GET", f"/v2/corp.example/{pushed.repository}/manifests/1", secrets).status == 200
    asked = bed.corp.since(mark)
    assert asked and not [r for r in asked if "Authorization" in r.headers or "Cookie" in r.headers]
    assert not past_the_gateway(asked)
