# SPDX-License-Identifier: Apache-2.0
"""The site's own issuer: its tokens are good as Bearer and as a password, what is wrong with one is in the log alone."""

import base64
import hashlib
import hmac
import http.client
import json
import time

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from bed import FAR
from gateway import ADDRESS, free_port, read_answer
from images import script_image
from upstream import answer

ISSUER, AUDIENCE = "https://login.example.test", "pullgate"
RULES = [{"allow": ["broken.test/**"], "who": ["user:alice@example.test", "group:release"]}]


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, size):
    return text(value.to_bytes(size, "big"))


class Issuer:
    """One RSA and one EC key, and their JWKS."""

    def __init__(self):
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())

    def jwks(self, *kids):
        r, e = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        keys = {"rsa": {"kty": "RSA", "alg": "RS256", "n": number(r.n, 256), "e": number(r.e, 3)},
                "ec": {"kty": "EC", "crv": "P-256", "x": number(e.x, 32), "y": number(e.y, 32)}}
        return json.dumps({"keys": [{"kid": kid, "use": "sig", **keys[kid]} for kid in kids or keys]}).encode()

    def sign(self, alg, data):
        if alg == "RS256":
            return self.rsa.sign(data, padding.PKCS1v15(), hashes.SHA256())
        if alg == "ES256":
            r, s = decode_dss_signature(self.ec.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if alg == "HS256":  # the public key as a secret: an old confusion
            pem = self.rsa.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            return hmac.new(pem, data, hashlib.sha256).digest()
        return b""

    def token(self, alg="RS256", kid=None, head=None, **claims):
        now = int(time.time())
        head = {"alg": alg, "kid": kid or {"ES256": "ec"}.get(alg, "rsa"), "typ": "JWT", **(head or {})}
        body = {"iss": ISSUER, "aud": AUDIENCE, "sub": "0815", "email": "alice@example.test", "iat": now, "exp": now + 600, **claims}
        body = {key: value for key, value in body.items() if value is not None}
        data = f"{text(json.dumps(head).encode())}.{text(json.dumps(body).encode())}"
        return f"{data}.{text(self.sign(alg, data.encode()))}"


@pytest.fixture(scope="module")
def issuer():
    return Issuer()


@pytest.fixture(params=["a file", "a URL"])
def knows(request, bed, up, own_gateway, issuer, tmp_path, repo):
    """A gateway that asks who it is, and has the issuer's keys from a file or from the issuer's own server."""
    jwks, path = tmp_path / "jwks.json", f"/keys/{repo}"
    jwks.write_bytes(issuer.jwks())
    up.at(path, answer(200, issuer.jwks(), [("Content-Type", "application/json")]))
    source = {"jwks": str(jwks)}
    if request.param == "a URL":
        source = {"jwks": f"https://{FAR}:{up.port}{path}", "ca": str(bed.ca)}
    port = free_port()
    gateway = own_gateway([{"address": f"{ADDRESS}:{port}", "identify": "required"}], rules=RULES, more={
        "state_directory": str(tmp_path / "state"),
        "identity": {"oidc": [{"issuer": ISSUER, "audience": AUDIENCE, "name_claim": "email", "groups_claim": "roles", **source}]}})
    gateway.asking, gateway.keys = port, path
    return gateway


def ask(gateway, repo, authorization):
    connection = http.client.HTTPConnection(ADDRESS, gateway.asking, timeout=20)
    connection.request("GET", f"/v2/broken.test/{repo}/manifests/1", headers={"Authorization": authorization})
    got = read_answer(connection.getresponse(), "GET")
    connection.close()
    got.gateway = gateway
    return got


def basic(password):
    return "Basic " + base64.b64encode(f"whoever:{password}".encode()).decode()


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_a_good_token(knows, issuer, up, repo, alg):
    body = script_image(up, repo, [b"layer" * 100])
    token = issuer.token(alg)
    for authorization in (f"Bearer {token}", basic(token)):
        got = ask(knows, repo, authorization)
        assert (got.status, got.body) == (200, body)
        assert (got.line["who"], got.line["how"]) == ("user:alice@example.test", "oidc")
    assert token not in knows.output()


def test_a_group_of_the_token(knows, issuer, up, repo):
    script_image(up, repo, [b"layer" * 100])
    assert ask(knows, repo, f"Bearer {issuer.token(email='bob@example.test', roles=['dev', 'release'])}").status == 200
    got = ask(knows, repo, f"Bearer {issuer.token(email='bob@example.test', roles=['dev'])}")
    assert (got.status, got.line["reason"], got.line["who"]) == (403, "no_rule", "user:bob@example.test")


def wrong(issuer):
    now = int(time.time())
    good = issuer.token()
    head, body, signature = good.split(".")
    other = Issuer()
    return {
        "expired": issuer.token(exp=now - 3600),
        "no end": issuer.token(exp=None),
        "not yet": issuer.token(nbf=now + 3600),
        "audience": issuer.token(aud="somebody-else"),
        "audiences": issuer.token(aud=["a", "b"]),
        "no audience": issuer.token(aud=None),
        "issuer": issuer.token(iss="https://evil.example.test"),
        "no name": issuer.token(email=None),
        "name of another type": issuer.token(email=["alice@example.test"]),
        "none": issuer.token("none"),
        "hs256": issuer.token("HS256"),
        "another key": other.token(),
        "another key's kid": issuer.token("RS256", kid="ec"),
        "unknown kid": issuer.token(kid="nobody"),
        "critical": issuer.token(head={"crit": ["exp"]}),
        "its own key": issuer.token(head={"jwk": json.loads(other.jwks("rsa"))["keys"][0]}),
        "cut": f"{head}.{body}.{signature[:-8]}",
        "changed": f"{head}.{text(json.dumps({'iss': ISSUER, 'aud': AUDIENCE, 'email': 'alice@example.test', 'exp': now + 600}).encode())}.{signature}",
        "huge": issuer.token(more="x" * 20000),
    }


def test_a_token_that_is_not_good_is_never_nobody(knows, issuer, up, repo):
    script_image(up, repo, [b"layer" * 100])
    for why, token in wrong(issuer).items():
        got = ask(knows, repo, f"Bearer {token}")
        assert got.status == 403, (why, got.status)
        assert got.line["reason"] == "credential" and "who" not in got.line, (why, got.line)
        assert "alice" not in got.body.decode(), why
    assert ask(knows, repo, f"Bearer {issuer.token()}").status == 200


def test_the_issuer_is_not_asked_for_every_unknown_kid(knows, issuer, up, repo):
    before = len(up.asked(knows.keys))
    for n in range(20):
        assert ask(knows, repo, f"Bearer {issuer.token(kid=f'unknown-{n}')}").status == 403
    assert len(up.asked(knows.keys)) <= before + 1
