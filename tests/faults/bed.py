# SPDX-License-Identifier: Apache-2.0
"""The addresses, certificates, registries and configuration that the tests share."""

import socket
import ssl
import subprocess

from upstream import Manner

UPSTREAM_TIMEOUT = 3  # seconds; the gateway's limit until headers
FAR, FIRST, SECOND = "127.0.0.5", "127.0.0.6", "127.0.0.7"
MANNERS = {
    FAR: Manner.NORMAL,
    FIRST: Manner.NORMAL,
    SECOND: Manner.NORMAL,
    "127.0.0.1": Manner.NORMAL,  # "localhost": a redirect host that is not the endpoint's own
    "127.0.0.21": Manner.SILENT,
    "127.0.0.22": Manner.DEAF,
    "127.0.0.23": Manner.RESET,
    "127.0.0.24": Manner.RESET_AFTER_TLS,
    "127.0.0.25": Manner.HANG_AFTER_TLS,
    "127.0.0.26": Manner.NOT_TLS,
}
# Words that stand for secrets; none may ever be in the log or on the terminal.
SECRETS = {
    "password": "s3cr3t-password-7f31",
    "token": "s3cr3t-token-52aa",
    "presigned": "s3cr3t-signature-9c04",
    "client": "s3cr3t-client-1d2e",
    "userinfo": "s3cr3t-userinfo-6b17",
}

CERTIFICATE = """
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
subjectAltName = {names}
"""


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def certificate(directory, name, names, ca=None):
    """A CA when `ca` is None, else a server certificate for `names` signed by it; (certificate, key)."""
    settings = directory / f"{name}.cnf"
    settings.write_text(CERTIFICATE.format(names=names or "DNS:unused"))
    cert, key, request = (directory / f"{name}.{suffix}" for suffix in ("pem", "key", "csr"))
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
            "-out", request, "-subj", f"/CN={name}", "-config", settings)
    signer = ("-signkey", key) if ca is None else ("-CA", ca[0], "-CAkey", ca[1], "-CAcreateserial")
    openssl("x509", "-req", "-in", request, "-out", cert, "-days", "30", "-extfile", settings,
            "-extensions", "ca" if ca is None else "server", *signer)
    return cert, key


def tls_context(pair):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    return context


def registries(bed):
    servers = (bed.tls, bed.plain, bed.foreign, bed.misnamed, bed.chatty)
    tls, plain, foreign, misnamed, chatty = (server.port for server in servers)
    with socket.create_server(("127.0.0.40", 0)) as probe:
        closed = probe.getsockname()[1]

    def registry(*endpoints, **more):
        return {"endpoints": list(endpoints), "ca": str(bed.ca), "private_addresses": ["127.0.0.0/8", "::1/128"],
                **more}

    def at(address):
        return f"https://{address}:{tls}"

    found = {
        "broken.test": registry(at(FAR), redirect_hosts=["localhost"]),
        "limited.test": registry(at(FAR)),  # whoever says "later" is left alone for so long
        "limited-tokens.test": registry(at(FAR)),
        "cred.test": registry({"url": at(FAR), "credentials": "robot"}, redirect_hosts=["localhost"]),
        "realm.test": registry(at(FAR), realm_hosts=["localhost"]),
        "guard.test": registry(at(FAR), redirect_hosts=["localhost"], private_addresses=[f"{FAR}/32"]),
        "nowhere.test": registry(at(FAR), private_addresses=[]),
        "plain.test": registry(f"http://{FAR}:{plain}", redirect_hosts=["localhost"]),
        "foreign.test": registry(f"https://{FAR}:{foreign}"),
        "misnamed.test": registry(f"https://{FAR}:{misnamed}"),
        "chatty.test": registry(f"https://{FAR}:{chatty}"),
        "dead.test": registry(f"https://127.0.0.40:{closed}"),
        "dead-first.test": registry(f"https://127.0.0.40:{closed}", at(SECOND)),
        "sick-first.test": registry(at(FIRST), at(SECOND)),
        "both-sick.test": registry(at(FIRST), at(SECOND)),
        "missing-first.test": registry(at(FIRST), at(SECOND)),
        "deaf-first.test": registry(at("127.0.0.22"), at(SECOND)),
    }
    for name, address in {"silent": 21, "deaf": 22, "reset": 23, "reset-tls": 24, "hang-tls": 25, "ssh": 26}.items():
        found[f"{name}.test"] = registry(at(f"127.0.0.{address}"))
    return found


def configuration(bed, **limits):
    password = bed.directory / "robot.secret"
    password.write_text(SECRETS["password"] + "\n")
    password.chmod(0o600)
    return {
        "control": None,  # several gateways run side by side
        "store": None,  # but for tests that ask for one
        "message": "Ask platform@example.test ({id})",
        "credentials": {"robot": {"username": "robot", "password_file": str(password)}},
        "registries": registries(bed),
        "limits": {"upstream_timeout": f"{UPSTREAM_TIMEOUT}s", "connect_timeout": "1s", **limits},
    }
