# SPDX-License-Identifier: Apache-2.0
"""Tokens: fetched from the realms that the site permits, once for many, and never a 401 towards a client."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from bed import FAR, SECRETS
from gateway import assert_denied, assert_failed, assert_oci_error
from images import OCI_MANIFEST, document, encode
from upstream import answer, digest, endless, error, head, manifest, raw, redirect, slow, token, unauthorized

MIB = 1024 * 1024
BODY = encode(document([b"a layer"]))


def guarded(up, repo, realm, good, reference="1", scheme="Bearer", headers=()):
    """A manifest that is given to who shows `good` (a token, or user:password)."""
    value = f"Bearer {good}" if scheme == "Bearer" else "Basic " + base64.b64encode(good.encode()).decode()

    def step(request, wire):
        if request.header("authorization") == value:
            manifest(BODY, OCI_MANIFEST)(request, wire)
        else:
            unauthorized(realm, f"repository:{repo}:pull", scheme, headers)(request, wire)

    for name in (reference, digest(BODY)):
        up.at(f"/v2/{repo}/manifests/{name}", step)


def here(up, repo, host=FAR):
    return f"https://{host}:{up.port}/token/{repo}"


def pull(gateway, repo, registry="broken.test", reference="1", **how):
    return gateway.pull(registry, f"{repo}/manifests/{reference}", **how)


def test_a_token_is_fetched_and_kept(gateway, up, repo):
    guarded(up, repo, here(up, repo), SECRETS["token"])
    up.at(f"/token/{repo}", token(SECRETS["token"]))
    for _ in range(3):
        assert pull(gateway, repo).body == BODY
    requests = up.asked(f"/token/{repo}")
    assert len(requests) == 1
    assert requests[0].method == "GET" and requests[0].header("authorization") is None
    assert "service=broken" in requests[0].target and "scope=repository" in requests[0].target
    assert len(up.asked(f"/v2/{repo}/manifests/1")) + len(up.asked(f"/v2/{repo}/manifests/{digest(BODY)}")) >= 2


def test_a_token_with_credentials(gateway, up, repo):
    guarded(up, repo, here(up, repo), SECRETS["token"])
    up.at(f"/token/{repo}", token(SECRETS["token"]))
    assert pull(gateway, repo, "cred.test").body == BODY
    value = base64.b64encode(f"robot:{SECRETS['password']}".encode()).decode()
    assert up.asked(f"/token/{repo}")[0].header("authorization") == f"Basic {value}"


def test_tokens_with_and_without_credentials_are_two(gateway, up, repo):
    """What a robot account may see is not given to a registry entry without it."""
    guarded(up, repo, here(up, repo), SECRETS["token"])
    up.at(f"/token/{repo}", lambda request, wire: (token(SECRETS["token"]) if request.header("authorization")
                                                   else error(401, "UNAUTHORIZED", "log in"))(request, wire))
    assert pull(gateway, repo, "cred.test").body == BODY
    assert_denied(pull(gateway, repo, "broken.test"), reason="upstream_auth")


def test_basic(gateway, up, repo):
    guarded(up, repo, "broken", f"robot:{SECRETS['password']}", scheme="Basic")
    assert pull(gateway, repo, "cred.test").body == BODY
    assert_denied(pull(gateway, repo, "broken.test"), "refused", reason="upstream_auth")


def test_one_fetch_for_many(gateway, up, repo):
    for n in range(10):
        guarded(up, repo, here(up, repo), SECRETS["token"], reference=f"tag-{n}")
    up.at(f"/token/{repo}", slow(0.5, token(SECRETS["token"])))
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: pull(gateway, repo, reference=f"tag-{n}"), range(10)))
    assert [a.status for a in answers] == [200] * 10
    assert len(up.asked(f"/token/{repo}")) == 1


def test_a_token_that_went_bad_is_fetched_again_once(gateway, up, repo):
    guarded(up, repo, here(up, repo), "old-" + SECRETS["token"])
    up.at(f"/token/{repo}", token("old-" + SECRETS["token"]), token("new-" + SECRETS["token"]))
    assert pull(gateway, repo).body == BODY
    guarded(up, repo, here(up, repo), "new-" + SECRETS["token"])
    assert pull(gateway, repo).body == BODY
    assert len(up.asked(f"/token/{repo}")) == 2


def test_unauthorized_for_ever_is_never_shown(gateway, up, repo):
    up.at(f"/token/{repo}", token(SECRETS["token"]))
    up.at(f"/v2/{repo}/manifests/1", unauthorized(here(up, repo)))
    got = pull(gateway, repo)
    assert_denied(got, "broken.test", "refused", "authentication required", reason="upstream_auth")
    assert len(up.asked(f"/v2/{repo}/manifests/1")) <= 4
    assert_denied(pull(gateway, repo, method="GET"), reason="upstream_auth")
    first = pull(gateway, repo, method="HEAD")
    assert first.status == 403  # plain, whatever `denials` says: the registry refused, not the site


def test_unauthorized_for_ever_with_our_credentials(gateway, up, repo):
    up.at(f"/token/{repo}", token(SECRETS["token"]))
    up.at(f"/v2/{repo}/manifests/1", unauthorized(here(up, repo)))
    got = pull(gateway, repo, "cred.test")
    assert_failed(got, "cred.test", 502, "upstream_auth")
    assert "robot" in got.error["message"] and SECRETS["password"] not in got.error["message"]


def test_unauthorized_without_a_challenge(gateway, up, repo):
    up.at(f"/v2/{repo}/manifests/1", error(401, "UNAUTHORIZED", "no way in"))
    assert_denied(pull(gateway, repo), "no way in", reason="upstream_auth")


@pytest.mark.parametrize("host, reason", [
    *((host, "realm_host") for host in ("realm.unlisted.test", "127.0.0.99", "[::1]", "2130706531",
                                        "[::ffff:127.0.0.99]", "[64:ff9b::7f00:63]")),
    *((host, "private_address") for host in ("169.254.169.254", "[fd00:ec2::254]", "100.100.100.200")),
])
def test_a_realm_elsewhere(gateway, bed, up, repo, host, reason):
    before = len(bed.canary.connections)
    guarded(up, repo, f"https://{host}:{bed.canary.port}/token", SECRETS["token"])
    got = pull(gateway, repo, "cred.test")
    assert_denied(got, reason=reason)
    assert len(bed.canary.connections) == before


def test_the_words_name_the_realm_and_the_key(gateway, up, repo):
    guarded(up, repo, "https://realm.unlisted.test/token", SECRETS["token"])
    assert_denied(pull(gateway, repo), "realm.unlisted.test", "realm_hosts", reason="realm_host")


@pytest.mark.parametrize("realm", ["http://{far}:{port}/token", "https://user:pw@{far}:{tls}/token",
                                   "/token", "token",
                                   "ftp://{far}/token", "https://", "http://169.254.169.254/latest/meta-data"])
def test_realms_that_are_refused(gateway, bed, up, repo, realm):
    before = len(bed.canary.connections)
    guarded(up, repo, realm.format(far=FAR, port=bed.canary.port, tls=up.port), SECRETS["token"])
    assert_denied(pull(gateway, repo, "cred.test"), reason="realm_host")
    assert len(bed.canary.connections) == before
    assert not any(r.header("authorization") for r in bed.canary.requests)


def test_an_empty_realm_is_none(gateway, up, repo):
    """As if the challenge were not there: what is left is a refusal, here of the gateway's own credentials."""
    guarded(up, repo, "", SECRETS["token"])
    assert_failed(pull(gateway, repo, "cred.test"), "cred.test", 502, "upstream_auth")
    assert_denied(pull(gateway, repo), reason="upstream_auth")


def test_a_listed_realm(gateway, up, repo):
    guarded(up, repo, here(up, repo, "localhost"), SECRETS["token"])
    up.at(f"/token/{repo}", token(SECRETS["token"]))
    assert pull(gateway, repo, "realm.test").body == BODY
    assert up.asked(f"/token/{repo}")[0].address == "127.0.0.1"
    assert_denied(pull(gateway, repo, "broken.test"), "localhost", reason="realm_host")


def test_a_challenge_among_others(gateway, up, repo):
    """Several challenges, quoted commas and escaped quotes, in one header and in several."""
    realm = here(up, repo)

    def step(request, wire):
        if request.header("authorization") == "Bearer " + SECRETS["token"]:
            return manifest(BODY, OCI_MANIFEST)(request, wire)
        fields = [("WWW-Authenticate", 'Negotiate, Digest realm="a, \\"b\\"", nonce="x,y"'),
                  ("WWW-Authenticate", f'bearer REALM="{realm}" , service="broken, inc",scope="repository:{repo}:pull"')]
        return answer(401, b"{}", fields)(request, wire)

    up.at(f"/v2/{repo}/manifests/1", step)
    up.at(f"/v2/{repo}/manifests/{digest(BODY)}", step)
    up.at(f"/token/{repo}", token(SECRETS["token"]))
    assert pull(gateway, repo).body == BODY


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer realm", 'Bearer realm="', "Bearer realm=" + "x" * 60000,
                                   'Bearer realm="a",realm="b"', ",,,,", "Bearer " + "a=b," * 5000, '"', "\x01\x02"])
def test_challenges_that_are_none(gateway, up, repo, value):
    up.at(f"/v2/{repo}/manifests/1", answer(401, b"{}", [("WWW-Authenticate", value)]))
    assert_denied(pull(gateway, repo), reason="upstream_auth")


def json(body):
    return answer(200, body, [("Content-Type", "application/json")])


def token_faults():
    return {
        "401": error(401, "UNAUTHORIZED", "who are you"),
        "403": error(403, "DENIED", "not you"),
        "404": answer(404, b"nothing"),
        "429": answer(429, b"{}", [("Retry-After", "9")]),
        "500": answer(500, b"oops"),
        "no JSON": json(b"<html>"),
        "cut JSON": json(b'{"token":"abc'),
        "an array": json(b'["token"]'),
        "no token": json(b'{"expires_in":300}'),
        "empty token": json(b'{"token":""}'),
        "a number for a token": json(b'{"token":12}'),
        "a token that would split the header": json(b'{"token":"a\\r\\nX-Evil: 1"}'),
        "a token with a NUL": json(b'{"token":"a\\u0000b"}'),
        "deep": json(b'{"token":' + b"[" * 200000),
        "nothing": json(b""),
        "cut": raw(head(200, [("Content-Length", 500)]) + b'{"token":"abc"'),
        "reset": raw(b"HTTP/1.1 200 OK\r\nConte", end="reset"),
        "gzip": answer(200, b"\x1f\x8b\x08\x00", [("Content-Encoding", "gzip")]),
        "hangs": raw(b"", end="hang"),
        "endless headers": endless(b"HTTP/1.1 200 OK\r\n", b"X-Pad: " + b"x" * 1000 + b"\r\n"),
    }


@pytest.mark.parametrize("fault", token_faults())
def test_token_endpoints_that_fail(gateway, up, repo, fault):
    guarded(up, repo, here(up, repo), SECRETS["token"])
    up.at(f"/token/{repo}", token_faults()[fault])
    got = pull(gateway, repo, "limited-tokens.test" if fault == "429" else "broken.test")
    if fault in ("401", "403"):
        assert_denied(got, reason="upstream_auth")
    elif fault == "429":
        assert_oci_error(got, 429, "upstream_limit")
    elif fault == "hangs":
        assert_failed(got, "broken.test", 504, "upstream_timeout")
    else:
        assert_failed(got, "broken.test")
    assert not any(r.header("x-evil") for r in up.asked(f"/v2/{repo}/manifests/1"))


def test_a_token_of_fifty_mib(gateway, up, repo):
    guarded(up, repo, here(up, repo), SECRETS["token"])
    start = head(200, [("Content-Type", "application/json"), ("Content-Length", 50 * MIB)]) + b'{"token":"'
    up.at(f"/token/{repo}", endless(start, b"x" * 65536, limit=50 * MIB - 10))
    assert_failed(pull(gateway, repo), "broken.test")
    assert up.sent.get(f"/token/{repo}", 0) < 32 * MIB


def test_a_token_endpoint_that_redirects(gateway, bed, up, repo):
    """Credentials were sent with that request: no hop is followed to anywhere else."""
    guarded(up, repo, here(up, repo), SECRETS["token"])
    before = len(bed.canary.connections)
    up.at(f"/token/{repo}", redirect(f"http://127.0.0.99:{bed.canary.port}/token"))
    assert_failed(pull(gateway, repo, "cred.test"), "cred.test")
    assert len(bed.canary.connections) == before


def test_a_clients_own_authorization_stays_here(gateway, up, repo):
    guarded(up, repo, here(up, repo), SECRETS["token"])
    up.at(f"/token/{repo}", token(SECRETS["token"]))
    value = "Basic " + base64.b64encode(f"me:{SECRETS['client']}".encode()).decode()
    for authorization in (value, "Bearer " + SECRETS["client"]):
        assert pull(gateway, repo, headers=[("Authorization", authorization), ("Cookie", SECRETS["client"]),
                                            ("Proxy-Authorization", authorization), ("X-Forwarded-For", "6.6.6.6")]).status == 200
    for request in up.asked(f"/v2/{repo}/manifests/1") + up.asked(f"/token/{repo}"):
        assert request.header("authorization") in (None, "Bearer " + SECRETS["token"])
        for name in ("cookie", "proxy-authorization", "x-forwarded-for"):
            assert request.header(name) is None
