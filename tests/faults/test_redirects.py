# SPDX-License-Identifier: Apache-2.0
"""Redirects: at most five hops, https, to listed hosts; credentials stay behind; refused hops are named."""

import pytest

from bed import FAR, SECRETS
from gateway import assert_denied, assert_failed
from upstream import blob, digest, error, redirect, token, unauthorized

CONTENT = b"behind redirects" * 1000


def path_of(repo):
    return f"/v2/{repo}/blobs/{digest(CONTENT)}"


def pull(gateway, repo, registry="broken.test", **how):
    return gateway.pull(registry, f"{repo}/blobs/{digest(CONTENT)}", **how)


def chain(up, repo, hops):
    """`hops` redirects, then the content."""
    places = [path_of(repo)] + [f"/hop/{repo}/{n}" for n in range(1, hops + 1)]
    for here, there in zip(places, places[1:]):
        up.at(here, redirect(f"https://localhost:{up.port}{there}"))
    up.at(places[-1], blob(CONTENT))


@pytest.mark.parametrize("hops", [1, 5])
def test_up_to_five_hops(gateway, up, repo, hops):
    chain(up, repo, hops)
    got = pull(gateway, repo)
    assert (got.status, got.body) == (200, CONTENT)
    assert got.header("location") is None


def test_six_hops(gateway, up, repo):
    chain(up, repo, 6)
    assert_denied(pull(gateway, repo), reason="redirect")
    assert not up.asked(f"/hop/{repo}/6")


def test_a_loop_to_itself(gateway, up, repo):
    up.at(path_of(repo), redirect(path_of(repo)))
    assert_denied(pull(gateway, repo), reason="redirect")
    assert len(up.asked(path_of(repo))) <= 6


def test_a_loop_of_two(gateway, up, repo):
    up.at(path_of(repo), redirect(f"https://localhost:{up.port}/back/{repo}"))
    up.at(f"/back/{repo}", redirect(f"https://{FAR}:{up.port}{path_of(repo)}"))
    assert_denied(pull(gateway, repo), reason="redirect")
    assert len(up.asked(path_of(repo))) + len(up.asked(f"/back/{repo}")) <= 7


def test_a_relative_location(gateway, up, repo):
    up.at(path_of(repo), redirect(f"/elsewhere/{repo}"))
    up.at(f"/elsewhere/{repo}", blob(CONTENT))
    assert pull(gateway, repo).body == CONTENT


@pytest.mark.parametrize("location", ["", "https://", "\x01\x02", "http://[::1", "https://%zz/", "//",
                                      "https://localhost:99999/x", "https://localhost:0/x", "https://a b/",
                                      "ftp://localhost/x", "file:///etc/passwd", "gopher://localhost/x", "data:,x",
                                      "javascript:1", "unix:///run/x", "https://localhost\t.evil.test/"])
def test_locations_that_are_never_followed(gateway, up, repo, location):
    up.at(path_of(repo), redirect(location))
    got = pull(gateway, repo)
    assert_denied(got, reason="redirect")
    assert b"root:" not in got.body


@pytest.mark.parametrize("location", [None, "x" * 20000])
def test_a_redirect_without_a_usable_location(gateway, up, repo, location):
    """None, and one over 16 KiB."""
    up.at(path_of(repo), redirect(location))
    assert_failed(pull(gateway, repo), "broken.test")


def test_a_location_with_a_slash_too_many(gateway, up, repo):
    """libcurl reads the host behind it, and so does the gateway before it."""
    up.at(path_of(repo), redirect("https:///x"))
    assert_denied(pull(gateway, repo), reason="redirect_host")


def test_down_to_http(gateway, bed, up, repo):
    before = len(bed.canary.connections)
    up.at(path_of(repo), redirect(f"http://{FAR}:{bed.canary.port}/plain"))
    got = pull(gateway, repo)
    assert_denied(got, FAR, "http", reason="redirect")
    assert len(bed.canary.connections) == before


def test_http_where_the_endpoint_is_http(gateway, bed, repo):
    bed.plain.at(path_of(repo), redirect(f"http://{FAR}:{bed.plain.port}/plain/{repo}"))
    bed.plain.at(f"/plain/{repo}", blob(CONTENT))
    assert pull(gateway, repo, "plain.test").body == CONTENT


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_to_an_unlisted_host(gateway, up, repo, status):
    up.at(path_of(repo), redirect("https://cdn.unlisted.test/blob?X-Amz-Signature=" + SECRETS["presigned"], status))
    got = pull(gateway, repo)
    assert_denied(got, "cdn.unlisted.test", "redirect_hosts", reason="redirect_host")
    assert SECRETS["presigned"] not in got.error["message"]


# The reasons: of a registry that may reach loopback (the host is not listed), and of one that may not.
LOOPBACK, PRIVATE = ("redirect_host", "private_address"), ("private_address", "private_address")
UNLISTED, UNREADABLE = ("redirect_host", "redirect_host"), ("redirect", "redirect")
ODD_ADDRESSES = {
    **dict.fromkeys(["127.0.0.99", "127.1", "127.0.99", "2130706531", "0x7f000063", "0x7f.0.0.0x63", "0177.0.0.0143",
                     "017700000143", "[::1]", "[::ffff:127.0.0.99]", "[::ffff:7f00:63]", "[64:ff9b::7f00:63]",
                     "[64:ff9b::127.0.0.99]", "[2002:7f00:63::]", "127%2e0%2e0%2e99"], LOOPBACK),
    **dict.fromkeys(["[::127.0.0.99]", "0", "0.0.0.0", "[::]", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]",
                     "100.100.100.200", "10.0.0.1", "172.16.0.1", "192.168.0.1"], PRIVATE),
    "metadata.google.internal": UNLISTED,
    **dict.fromkeys(["127.0.0.99.", "LOCALHOST.", "\uff11\uff12\uff17.0.0.99"], UNREADABLE),
}


@pytest.mark.parametrize("host", ODD_ADDRESSES)
@pytest.mark.parametrize("registry", ["broken.test", "guard.test"])
def test_to_an_address_in_any_spelling(gateway, bed, up, repo, host, registry):
    """Refused in every spelling, whether or not the registry may reach private addresses; nothing is connected to."""
    before = len(bed.canary.connections)
    location = f"https://{host}:{bed.canary.port}/x".encode().decode("latin-1")
    up.at(path_of(repo), redirect(location))
    assert_denied(pull(gateway, repo, registry), reason=ODD_ADDRESSES[host][registry == "guard.test"])
    assert len(bed.canary.connections) == before


def test_a_private_address_behind_a_listed_name(gateway, up, repo):
    """localhost is listed, its address is not permitted: the guard looks at what is connected to."""
    before = up.connections.count("127.0.0.1")
    up.at(path_of(repo), redirect(f"https://localhost:{up.port}/x"))
    got = pull(gateway, repo, "guard.test")
    assert_denied(got, reason="private_address")
    assert up.connections.count("127.0.0.1") == before


def test_a_connection_of_another_registry_does_not_open_the_way(gateway, up, repo):
    """broken.test may reach localhost and leaves a warm connection; guard.test must not be carried by it."""
    chain(up, repo, 1)
    assert pull(gateway, repo, "broken.test").status == 200
    before = len(up.asked(f"/hop/{repo}/1"))
    assert_denied(pull(gateway, repo, "guard.test"), reason="private_address")
    assert len(up.asked(f"/hop/{repo}/1")) == before


def test_a_private_endpoint_that_is_not_permitted(gateway, up, repo):
    before = len(up.connections)
    got = pull(gateway, repo, "nowhere.test")
    assert_denied(got, reason="private_address")
    assert len(up.connections) == before


@pytest.mark.parametrize("form", ["https://{secret}@localhost:{port}/x", "https://user:{secret}@localhost:{port}/x",
                                  "https://localhost:{port}@evil.test/x", "https://:@localhost:{port}/x"])
def test_user_info_in_a_location(gateway, up, repo, form):
    up.at(path_of(repo), redirect(form.format(port=up.port, secret=SECRETS["userinfo"])))
    before = len(up.asked("/x"))
    assert_denied(pull(gateway, repo), reason="redirect")
    assert len(up.asked("/x")) == before


def test_credentials_do_not_go_along(gateway, up, repo):
    up.at(path_of(repo), lambda request, wire: (redirect(f"https://localhost:{up.port}/cdn/{repo}?X-Amz-Signature="
                                                         + SECRETS["presigned"])
                                                if request.header("authorization")
                                                else unauthorized(f"https://{FAR}:{up.port}/token/{repo}"))(request, wire))
    up.at(f"/token/{repo}", token(SECRETS["token"]))
    up.at(f"/cdn/{repo}", blob(CONTENT))
    got = pull(gateway, repo, "cred.test", headers=[("Authorization", "Bearer " + SECRETS["client"]), ("Cookie", "a=b")])
    assert got.body == CONTENT
    for request in up.asked(f"/cdn/{repo}"):
        assert request.header("authorization") is None and request.header("cookie") is None
    assert all(SECRETS["token"] in r.header("authorization") for r in up.asked(path_of(repo))[1:])


def test_credentials_do_not_go_to_another_port_of_the_host(gateway, bed, up, repo):
    up.at(path_of(repo), lambda request, wire: (redirect(f"https://{FAR}:{bed.foreign.port}/cdn/{repo}")
                                                if request.header("authorization")
                                                else unauthorized(f"https://{FAR}:{up.port}/token/{repo}"))(request, wire))
    up.at(f"/token/{repo}", token(SECRETS["token"]))
    assert_denied(pull(gateway, repo, "cred.test"), reason="redirect_host")
    assert not any(r.header("authorization") for r in bed.foreign.requests)


def test_a_challenge_from_a_redirect_host_is_not_answered(gateway, up, repo):
    """A CDN's 401 is an error; its realm is never asked with the registry's credentials."""
    up.at(path_of(repo), redirect(f"https://localhost:{up.port}/cdn/{repo}"))
    up.at(f"/cdn/{repo}", unauthorized(f"https://localhost:{up.port}/token/{repo}"))
    up.at(f"/token/{repo}", token("t"))
    got = pull(gateway, repo, "cred.test")
    assert_failed(got, "cred.test")
    assert not up.asked(f"/token/{repo}")


def test_a_redirect_host_that_has_nothing(gateway, up, repo):
    up.at(path_of(repo), redirect(f"https://localhost:{up.port}/cdn/{repo}"))
    up.at(f"/cdn/{repo}", error(403, "AccessDenied", "Request has expired"))
    assert_failed(pull(gateway, repo), "broken.test")
