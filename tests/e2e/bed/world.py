# SPDX-License-Identifier: Apache-2.0
"""All the hosts of the bed but gateways and clients."""

from . import names
from .pki import Pki
from .registry import Ghcr, Hub
from .scripted import Forbidden, Scripted
from .tokens import TokenIssuer


class Bed:
    """The registries and everything around them; gateways and clients are fixtures of their own."""

    def __init__(self, folder):
        self.folder, self.pki = folder, Pki(f"{folder}/pki")
        issuer = TokenIssuer(self.pki)
        self.hub = Hub(folder, self.pki, issuer)
        self.ghcr = Ghcr(folder, self.pki, issuer)
        self.corp = Scripted("corp.example", names.CORP, self.pki)
        self.realm = Scripted("realm.example", names.REALM, self.pki)
        self.realm.realm = "https://tokens.elsewhere.example/token"
        self.realm_tokens = Forbidden(names.REALM_TOKENS, self.pki)
        self.moved = Scripted("moved.example", names.MOVED, self.pki)
        self.moved.blobs_at = "https://blobs.elsewhere.example"
        self.moved_blobs = Forbidden(names.MOVED_BLOBS, self.pki)
        self.inside = Scripted("inside.example", names.INSIDE, self.pki)
        self.foreign = Forbidden(names.FOREIGN, self.pki)
        self.stranger = Scripted("stranger.example", names.STRANGER, self.pki)

    def registries(self):
        """The "registries" of a site that trusts the bed's CA and knows that all its hosts have private addresses."""
        ours = {"ca": self.pki.ca, "private_addresses": names.PRIVATE}
        return {
            "docker.io": ours,  # realm and redirect hosts come from the catalogue
            "ghcr.io": ours,
            "corp.example": ours,
            "realm.example": ours,
            "moved.example": ours,
            "inside.example": {"ca": self.pki.ca},  # nobody said that it may be private
        }

    def listeners(self, address, plain_address=None):
        tls = {"certificate": self.pki.certificate, "key": self.pki.key}
        listeners = [{"address": f"{address}:443", "tls": tls}, {"address": f"{address}:80"}]
        if plain_address:
            listeners += [{"address": f"{plain_address}:443", "tls": tls, "denials": "plain"}, {"address": f"{plain_address}:80", "denials": "plain"}]
        return listeners
