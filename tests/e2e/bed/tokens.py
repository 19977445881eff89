# SPDX-License-Identifier: Apache-2.0
"""Registry tokens as Docker Hub's and GitHub's token servers give them: JWTs that docker-registry verifies."""

import base64
import json
import threading
import time

from .web import Answer, Server


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class TokenIssuer:
    """Signs ES256 JWTs with the bed's server key; docker-registry follows `x5c` to the bed's CA."""

    NAME = "bed"

    def __init__(self, pki):
        self._pki, self._lock, self._made = pki, threading.Lock(), {}
        self._head = base64url(json.dumps({"typ": "JWT", "alg": "ES256", "x5c": [pki.certificate_der_base64()]}).encode())

    def token(self, service, scopes):
        with self._lock:
            key = (service, tuple(scopes))
            if key not in self._made:
                self._made[key] = self._sign(service, scopes)
            return self._made[key]

    def _sign(self, service, scopes):
        access = []
        for scope in scopes:
            kind, name, actions = scope.rsplit(":", 1)[0].split(":", 1) + [scope.rsplit(":", 1)[1]]
            permitted = [] if name.startswith("private/") else ["pull"]
            access.append({"type": kind, "name": name, "actions": [a for a in actions.split(",") if a in permitted]})
        now = int(time.time())
        claims = {"iss": self.NAME, "aud": service, "sub": "", "exp": now + 3600, "nbf": now - 60, "iat": now, "jti": str(now), "access": access}
        body = self._head + b"." + base64url(json.dumps(claims).encode())
        return (body + b"." + base64url(self._pki.sign_es256(body))).decode()

    def answer(self, request):
        scopes = [part for value in request.query.get("scope", []) for part in value.split(" ") if part]
        token = self.token(request.query.get("service", [""])[0], scopes)
        return Answer(200, json.dumps({"token": token, "access_token": token, "expires_in": 3600}), content_type="application/json")


class TokenServer(Server):
    """auth.docker.io: anybody gets a token to pull; OAuth2's POST is not offered."""

    def __init__(self, address, pki, issuer):
        self._issuer = issuer
        super().__init__(address, pki)

    def handle(self, request):
        if request.method != "GET" or request.path != "/token":
            return Answer(404, "not here", content_type="text/plain")
        return self._issuer.answer(request)
