# SPDX-License-Identifier: Apache-2.0
"""Who asks: certificates, passwords, the gateway's own tokens; and what those are told whom it does not know."""

import base64
import crypt
import datetime
import json
import urllib.parse

import pytest

import tls
from bed import FAR, SECRETS, certificate, openssl
from gateway import ADDRESS, assert_oci_error, free_port
from images import script_image

OWN = "gateway.example.test"
LAYER = b"for those who may" * 100
PASSWORD = "correct horse " + SECRETS["password"]
FORMER_PASSWORD = "wrong " + SECRETS["client"]
RULES = [{"allow": ["take.test/**"], "who": ["user:alice", "cert:ci.example.test", "cert:cn-only", "user:robot"]},
         {"allow": ["take.test/open/**"]}]


def basic(user, password):
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def bearer(token):
    return "Authorization", f"Bearer {token}"


@pytest.fixture(scope="module")
def people(bed, tmp_path_factory):
    """An authority for clients and certificates of several sorts."""
    folder = tmp_path_factory.mktemp("people")
    ca, stranger = authority(folder, "clients"), authority(folder, "strangers")
    made = {"ca": ca[0], "folder": folder}
    made["good"] = certificate(folder, "good", "DNS:ci.example.test", ca)
    made["stranger"] = certificate(folder, "stranger", "DNS:ci.example.test", stranger)
    made["cn"] = certificate(folder, "cn-only", "IP:10.0.0.1", ca)
    for name, start, end in (("ended", -30, -1), ("future", 5, 30)):
        made[name] = dated(folder, name, ca, start, end)
    made["crl"] = revocations(folder, ca, made["good"][0])
    return made


def authority(folder, name):
    """One that may sign revocation lists, too."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert,
            "-days", "30", "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    return cert, key


def dated(folder, name, ca, start, end):
    """A client certificate that is good from `start` to `end`, in days from now."""
    day = lambda n: (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=n)).strftime("%Y%m%d%H%M%SZ")
    work = folder / f"{name}-ca"
    work.mkdir()
    (work / "index").write_text("")
    (work / "serial").write_text("1000\n")
    settings = work / "ca.cnf"
    settings.write_text(f"""[ca]
default_ca = c
[c]
database = {work}/index
serial = {work}/serial
new_certs_dir = {work}
default_md = sha256
policy = any
x509_extensions = ext
[any]
commonName = supplied
[ext]
subjectAltName = DNS:ci.example.test
""")
    key, request, cert = folder / f"{name}.key", folder / f"{name}.csr", folder / f"{name}.pem"
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out",
            request, "-subj", f"/CN={name}")
    openssl("ca", "-batch", "-config", settings, "-cert", ca[0], "-keyfile", ca[1], "-startdate", day(start), "-enddate",
            day(end), "-in", request, "-out", cert, "-notext")
    return cert, key


def revocations(folder, ca, revoked):
    work = folder / "crl"
    work.mkdir()
    (work / "index").write_text("")
    (work / "number").write_text("01\n")
    settings = work / "ca.cnf"
    settings.write_text(f"[ca]\ndefault_ca = c\n[c]\ndatabase = {work}/index\ncrlnumber = {work}/number\n"
                        "default_md = sha256\ndefault_crl_days = 30\n")
    crl = folder / "clients.crl"
    common = ("-config", settings, "-cert", ca[0], "-keyfile", ca[1])
    openssl("ca", *common, "-gencrl", "-out", folder / "empty.crl")
    openssl("ca", *common, "-revoke", revoked)
    openssl("ca", *common, "-gencrl", "-out", crl)
    return crl


@pytest.fixture
def knows(bed, own_gateway, people, tmp_path):
    """A gateway with an htpasswd file and tokens of its own, and one TLS listener with these keys."""

    def make(rules=RULES, identity=None, **listener):
        port = free_port()
        users = tmp_path / "users.htpasswd"
        users.write_text(f"alice:{crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_SHA512, rounds=5000))}\n")
        users.chmod(0o600)
        listener = {"address": f"{ADDRESS}:{port}", "tls": "auto", "names": [OWN, "localhost"], "takeover": True, **listener}
        made = own_gateway([listener], rules=rules, more={
            "state_directory": str(tmp_path / "state"), "identity": {"htpasswd": str(users), **(identity or {})}},
            registries={"take.test": {"endpoints": [f"https://{FAR}:{bed.tls.port}"], "ca": str(bed.ca),
                                      "private_addresses": ["127.0.0.0/8"]}})
        made.tls_port, made.listener, made.users = port, listener, users
        made.trust = tls.context(tmp_path / "state" / "ca.crt")
        return made

    return make


def ask(gateway, target, *headers, shows=None, name=OWN, **how):
    context = gateway.trust if shows is None else tls.context(certificate=shows)
    return tls.ask(gateway, gateway.tls_port, name, target, context, headers=headers, **how)


def manifest_of(repo):
    return f"/v2/take.test/{repo}/manifests/1"


# --- who is nobody ---


def test_none_ignores_what_stands_in_authorization(knows, up, repo):
    gateway = knows(rules=[{"allow": ["take.test/**"]}])
    script_image(up, repo, [LAYER])
    for header in (basic("alice", "wrong"), bearer("nonsense"), ("Authorization", SECRETS["client"])):
        got = ask(gateway, manifest_of(repo), header)
        assert got.status == 200
        assert "who" not in got.line and SECRETS["client"] not in json.dumps(got.line)
    assert not [request for request in up.asked(f"/v2/{repo}/manifests/1") if request.header("authorization")]


def test_required_without_challenge_is_a_denial_with_a_sentence(knows, up, repo):
    gateway = knows(identify="required")
    got = ask(gateway, manifest_of(repo))
    assert_oci_error(got, 403, "unidentified")
    assert got.error["code"] == "DENIED" and got.header("www-authenticate") is None
    assert ask(gateway, "/v2/").status == 200
    head = ask(gateway, manifest_of(repo) + "?ns=take.test", method="HEAD")
    assert head.status == 200 and head.line["decision"] == "deny"  # final, as every denial
    assert not up.asked(f"/v2/{repo}/manifests/1")


def test_required_with_challenge_asks(knows, repo):
    gateway = knows(identify="required", challenge=True)
    got = ask(gateway, manifest_of(repo))
    assert (got.status, got.error["code"], got.line["reason"]) == (401, "UNAUTHORIZED", "unidentified")
    assert got.header("www-authenticate") == \
        f'Bearer realm="https://{OWN}/token",service="{OWN}",scope="repository:take.test/{repo}:pull"'
    got = ask(gateway, "/v2/", host=f"{OWN}:{gateway.tls_port}")
    assert got.status == 401
    assert got.header("www-authenticate") == \
        f'Bearer realm="https://{OWN}:{gateway.tls_port}/token",service="{OWN}:{gateway.tls_port}"'


@pytest.mark.parametrize("challenge", [False, True])
@pytest.mark.parametrize("target, method", [("/nothing", "GET"), ("/v2/x/../y/manifests/1", "GET"), ("/v2/take.test/a/manifests/%2e", "GET"),
                                            ("/v2/take.test/a/manifests/1", "PATCH"), ("/pullgate/v1/report", "GET")])
def test_nobody_learns_what_was_wrong_with_a_request(knows, challenge, target, method):
    gateway = knows(identify="required", challenge=challenge)
    got = ask(gateway, target, method=method)
    assert got.status == (401 if challenge else 403) and got.line["reason"] == "unidentified", got
    assert (got.header("www-authenticate") is not None) == challenge
    known = ask(gateway, target, basic("alice", PASSWORD), method=method)
    assert known.status not in (200, 401) and known.line["reason"] in ("request", "action"), known
    assert ask(gateway, target, basic("alice", FORMER_PASSWORD), method=method).line["reason"] == "credential"


@pytest.mark.parametrize("host", ["evil\"x", "a b", "x\",service=\"y", ""])
def test_a_challenge_holds_no_strangers_words(knows, host):
    got = ask(knows(identify="required", challenge=True), "/v2/", host=host)
    assert got.status in (400, 401)
    if got.status == 401:
        assert got.header("www-authenticate") == f'Bearer realm="https://{OWN}/token",service="{OWN}"'


def test_optional_takes_nobody_for_anyone(knows, up, repo):
    gateway = knows(identify="optional")
    script_image(up, f"open/{repo}", [LAYER])
    assert ask(gateway, manifest_of(f"open/{repo}")).status == 200
    got = ask(gateway, manifest_of(repo))
    assert got.status == 403 and got.line["reason"] == "no_rule"
    assert ask(gateway, manifest_of(f"open/{repo}"), ("Authorization", "Basic Og==")).status == 200  # podman's nobody


def test_optional_with_challenge_asks_those_who_might_be_somebody(knows, repo):
    gateway = knows(identify="optional", challenge=True)
    assert ask(gateway, manifest_of(repo)).status == 401  # a rule allows it to somebody else
    assert ask(gateway, manifest_of("x").replace("take.test", "nobodys.test")).status == 403


# --- passwords ---


@pytest.mark.parametrize("challenge", [False, True])
def test_a_password(knows, up, repo, challenge):
    gateway = knows(identify="required", challenge=challenge)
    body = script_image(up, repo, [LAYER])
    for _ in range(3):
        got = ask(gateway, manifest_of(repo), basic("alice", PASSWORD))
        assert (got.status, got.body) == (200, body)
        assert (got.line["who"], got.line["how"]) == ("user:alice", "password")
    got = ask(gateway, "/v2/", basic("alice", PASSWORD))
    assert got.status == 200


@pytest.mark.parametrize("identify", ["optional", "required"])
@pytest.mark.parametrize("challenge", [False, True])
@pytest.mark.parametrize("header", [basic("alice", FORMER_PASSWORD), basic("mallory", PASSWORD), basic("", "x"), basic("alice", ""),
                                    ("Authorization", "Basic !!!"), ("Authorization", "Basic"), bearer("a.b.c"),
                                    ("Authorization", "Negotiate abc"), bearer("x" * 20000)], ids=range(9))
def test_a_bad_credential_is_never_taken_for_nobody(knows, up, repo, identify, challenge, header):
    gateway = knows(identify=identify, challenge=challenge)
    script_image(up, f"open/{repo}", [LAYER])
    got = ask(gateway, manifest_of(f"open/{repo}"), header)
    assert (got.status, got.error["code"]) == ((401, "UNAUTHORIZED") if challenge else (403, "DENIED"))
    assert got.line["reason"] == "credential" and "who" not in got.line
    for secret in (FORMER_PASSWORD, PASSWORD, "a.b.c"):
        assert secret not in gateway.output()


def test_too_many_failures_are_slowed(knows, repo):
    gateway = knows(identify="required", challenge=True, identity={"login_failures": 3})
    statuses = [ask(gateway, "/v2/", basic("alice", f"guess {n}")) for n in range(6)]
    assert statuses[0].status == 401 and statuses[-1].status == 429
    assert int(statuses[-1].header("retry-after")) > 0
    assert ask(gateway, "/v2/", basic("alice", PASSWORD)).status == 429


# --- tokens ---


def token_of(gateway, *headers, scope=None, form=None, **how):
    query = urllib.parse.urlencode({"service": OWN, **({"scope": scope} if scope else {})})
    if form is not None:
        got = ask(gateway, "/token", *headers, ("Content-Type", "application/x-www-form-urlencoded"), method="POST",
                  body=urllib.parse.urlencode({"service": OWN, **form}).encode(), **how)
    else:
        got = ask(gateway, f"/token?{query}", *headers, **how)
    return got, json.loads(got.body).get("token") or json.loads(got.body).get("access_token") if got.status == 200 else None


def test_a_token_for_a_password(knows, up, repo):
    gateway = knows(identify="required", challenge=True)
    body = script_image(up, repo, [LAYER])
    scope = f"repository:take.test/{repo}:pull"
    got, token = token_of(gateway, basic("alice", PASSWORD), scope=scope)
    assert token and got.header("cache-control") == "no-store"
    assert got.line["who"] in ("alice", "user:alice") and token not in gateway.output()
    got = ask(gateway, manifest_of(repo), bearer(token))
    assert (got.status, got.body, got.line["who"], got.line["how"]) == (200, body, "user:alice", "token")
    assert ask(gateway, "/v2/", bearer(token)).status == 200
    assert ask(gateway, manifest_of("another/one"), bearer(token)).status == 401  # a scope only narrows
    _, token = token_of(gateway, form={"grant_type": "password", "username": "alice", "password": PASSWORD, "scope": scope})
    assert ask(gateway, manifest_of(repo), bearer(token)).status == 200
    assert PASSWORD not in gateway.output()


@pytest.mark.parametrize("ends, least, most", [(30, 299, 300), (90 / 86400, 1, 90)])  # in days; in seconds
def test_a_token_ends_with_the_certificate_it_was_given_for(knows, tmp_path, ends, least, most):
    ca = authority(tmp_path, "authority")
    gateway = knows(identify="required", challenge=True, client_ca=str(ca[0]))
    got, token = token_of(gateway, shows=dated(tmp_path, "shown", ca, -1, ends))
    assert token and least <= json.loads(got.body)["expires_in"] <= most, got.body


def test_no_token_for_a_bad_password_or_nobody(knows):
    gateway = knows(identify="required", challenge=True)
    for headers in ([basic("alice", "no")], []):
        got, _ = token_of(gateway, *headers)
        assert got.status == 401 and got.line["reason"] == "credential"


def test_nobodys_token_where_nobody_may_ask(knows, up, repo):
    gateway = knows(identify="optional", challenge=True)
    script_image(up, f"open/{repo}", [LAYER])
    assert ask(gateway, "/v2/").status == 401  # where clients look for it
    got, token = token_of(gateway, scope=f"repository:take.test/open/{repo}:pull")
    assert got.status == 200 and token
    assert ask(gateway, manifest_of(f"open/{repo}"), bearer(token)).status == 200
    assert ask(gateway, "/v2/", bearer(token)).status == 200


def test_no_tokens_without_challenge(knows):
    gateway = knows(identify="required")
    assert ask(gateway, "/token").status == 403  # as anything else that is not there
    assert ask(gateway, "/token", basic("alice", PASSWORD)).status == 404


def test_tokens_on_taken_over_names(knows, up, repo):
    """The realm is the name that the client asked."""
    gateway = knows(identify="required", challenge=True)
    script_image(up, repo, [LAYER])
    got = ask(gateway, f"/v2/{repo}/manifests/1", name="take.test")
    assert got.header("www-authenticate") == \
        f'Bearer realm="https://take.test/token",service="take.test",scope="repository:{repo}:pull"'
    got, token = token_of(gateway, basic("alice", PASSWORD), scope=f"repository:{repo}:pull", name="take.test")
    assert ask(gateway, f"/v2/{repo}/manifests/1", bearer(token), name="take.test").status == 200


# --- certificates ---


def test_a_certificate(knows, up, repo, people):
    gateway = knows(identify="required", client_ca=str(people["ca"]))
    body = script_image(up, repo, [LAYER])
    got = ask(gateway, manifest_of(repo), shows=people["good"])
    assert (got.status, got.body, got.line["who"], got.line["how"]) == (200, body, "cert:ci.example.test", "certificate")
    got = ask(gateway, manifest_of(repo))
    assert_oci_error(got, 403, "unidentified")
    got = ask(gateway, manifest_of(repo), basic("alice", PASSWORD))
    assert (got.status, got.line["who"]) == (200, "user:alice")


@pytest.mark.parametrize("identify", ["optional", "required"])
@pytest.mark.parametrize("which", ["ended", "future", "stranger"])
def test_a_bad_certificate_is_denied_with_the_reason(knows, people, up, repo, which, identify):
    gateway = knows(identify=identify, client_ca=str(people["ca"]))
    script_image(up, f"open/{repo}", [LAYER])
    got = ask(gateway, manifest_of(f"open/{repo}"), shows=people[which])
    assert_oci_error(got, 403, "credential")
    assert "client certificate" in got.error["message"]
    assert ask(gateway, manifest_of(f"open/{repo}"), basic("alice", PASSWORD), shows=people[which]).status == 403
    assert ask(gateway, "/v2/", shows=people[which]).status == 200


def test_a_certificate_that_must_be_shown(knows, people, up, repo):
    gateway = knows(identify="required", client_ca=str(people["ca"]), client_certificate="required")
    script_image(up, repo, [LAYER])
    got = ask(gateway, manifest_of(repo), basic("alice", PASSWORD))
    assert_oci_error(got, 403, "unidentified")
    assert "yours is missing" in got.error["message"]
    assert ask(gateway, manifest_of(repo), shows=people["good"]).status == 200


def test_a_name_from_the_common_name(knows, people, up, repo):
    gateway = knows(identify="required", client_ca=str(people["ca"]), name_from=["cn"])
    script_image(up, repo, [LAYER])
    assert ask(gateway, manifest_of(repo), shows=people["cn"]).line["who"] == "cert:cn-only"


def test_a_revocation_holds_on_the_open_connection(knows, people, up, repo, tmp_path):
    """After a reload the certificate is judged again; a resumed session is no way around."""
    crl = tmp_path / "crl.pem"
    crl.write_bytes((people["folder"] / "empty.crl").read_bytes())
    gateway = knows(identify="required", client_ca=str(people["ca"]), client_crl=str(crl))
    script_image(up, repo, [LAYER])
    context = tls.context(certificate=people["good"])
    with tls.connect(gateway.tls_port, OWN, context) as sock:
        assert tls.ask_on(sock, gateway, manifest_of(repo), OWN).status == 200
        session = sock.session
        crl.write_bytes(people["crl"].read_bytes())
        gateway.reload()
        got = tls.ask_on(sock, gateway, manifest_of(repo), OWN)
        assert_oci_error(got, 403, "credential")
        assert "revoked" in got.error["message"]
    with tls.connect(gateway.tls_port, OWN, context, session=session) as sock:
        assert_oci_error(tls.ask_on(sock, gateway, manifest_of(repo), OWN), 403, "credential")


def test_a_resumed_session_is_the_same_person(knows, people, up, repo):
    gateway = knows(identify="required", client_ca=str(people["ca"]))
    script_image(up, repo, [LAYER])
    context = tls.context(certificate=people["good"])
    with tls.connect(gateway.tls_port, OWN, context) as sock:
        assert tls.ask_on(sock, gateway, manifest_of(repo), OWN).line["who"] == "cert:ci.example.test"
        session = sock.session
    with tls.connect(gateway.tls_port, OWN, context, session=session) as sock:
        assert tls.ask_on(sock, gateway, manifest_of(repo), OWN).line["who"] == "cert:ci.example.test"


def test_a_certificate_inside_of_a_tunnel(bed, own_gateway, people, up, repo, tmp_path):
    port = free_port()
    gateway = own_gateway([{"address": f"{ADDRESS}:{port}", "connect": "takeover", "client_ca": str(people["ca"]),
                            "identify": "required"}], rules=RULES,
                          more={"state_directory": str(tmp_path / "state")},
                          registries={"take.test": {"endpoints": [f"https://{FAR}:{bed.tls.port}"], "ca": str(bed.ca),
                                                    "private_addresses": ["127.0.0.0/8"]}})
    script_image(up, repo, [LAYER])
    for shows, status in ((people["good"], 200), (None, 403)):
        sock, opened, _ = tls.open_tunnel(gateway, "take.test:443", port=port)
        assert opened == 200  # CONNECT itself is never challenged
        with tls.connect(0, "take.test", tls.context(certificate=shows), sock=sock) as secure:
            assert tls.ask_on(secure, gateway, f"/v2/{repo}/manifests/1", "take.test").status == status


# --- from where ---


@pytest.mark.parametrize("header, expected", [
    (["203.0.113.9"], "203.0.113.9"),
    (["10.0.0.1, 203.0.113.9"], "203.0.113.9"),
    (["203.0.113.9, 10.0.0.1"], "203.0.113.9"),  # 10/8 is trusted here
    (["203.0.113.9", "10.0.0.1"], "203.0.113.9"),
    (["198.51.100.1, 203.0.113.9, 10.0.0.1"], "203.0.113.9"),
    (["2001:db8::1"], "2001:db8::1"),
    (["[2001:db8::1]:4711"], "2001:db8::1"),
    (["203.0.113.9:4711"], "203.0.113.9"),
    (["unknown"], ADDRESS),
    (["203.0.113.9, unknown"], ADDRESS),
    ([""], ADDRESS),
    ([",,,,"], ADDRESS),
    ([], ADDRESS),
])
def test_a_trusted_proxy_says_where_the_client_is(knows, header, expected):
    gateway = knows(trusted_proxies=[f"{ADDRESS}/32", "10.0.0.0/8"])
    got = ask(gateway, "/v2/", *[("X-Forwarded-For", value) for value in header])
    assert got.line["client"] == expected


def test_nobody_else_is_believed(knows):
    assert ask(knows(), "/v2/", ("X-Forwarded-For", "203.0.113.9")).line["client"] == ADDRESS
    gateway = knows(trusted_proxies=["10.0.0.0/8"])
    assert ask(gateway, "/v2/", ("X-Forwarded-For", "203.0.113.9")).line["client"] == ADDRESS


def test_a_rule_for_an_address(knows, up, repo):
    gateway = knows(rules=[{"allow": ["take.test/**"], "who": ["address:203.0.113.0/24"]}], trusted_proxies=[f"{ADDRESS}/32"])
    script_image(up, repo, [LAYER])
    assert ask(gateway, manifest_of(repo), ("X-Forwarded-For", "203.0.113.9")).status == 200
    assert ask(gateway, manifest_of(repo), ("X-Forwarded-For", "198.51.100.9")).status == 403
