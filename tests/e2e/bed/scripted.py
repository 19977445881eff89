# SPDX-License-Identifier: Apache-2.0
"""Registries that do what a story needs and a real one does not do on request: pages, referrers, refusals, moved blobs."""

import json
import urllib.parse

from .images import OCI_INDEX, OCI_MANIFEST, Pushed, digest_of
from .web import Answer, Server


def oci_error(status, code, message, headers=()):
    return Answer(status, json.dumps({"errors": [{"code": code, "message": message}]}), headers, "application/json")


class Scripted(Server):
    """A registry in memory. `script` maps a path to a function of the request that answers in its place."""

    def __init__(self, name, address, pki):
        self.name, self.script = name, {}
        self._blobs, self._manifests, self._tags = {}, {}, {}
        self.realm = None  # challenge with this realm
        self.blobs_at = None  # redirect blobs to this origin
        self.page = None  # names per page of tags/list, whatever is asked
        super().__init__(address, pki)

    def push(self, repository, tag, document):
        for child in document.children:
            self.push(repository, None, child)
        for blob in document.blobs:
            self._blobs[(repository, digest_of(blob))] = blob
        self._manifests[(repository, document.digest)] = document
        if tag:
            self._manifests[(repository, tag)] = document
            self._tags.setdefault(repository, []).append(tag)
        return Pushed(self.name, repository, tag, document)

    def handle(self, request):
        if request.path in self.script:
            return self.script[request.path](request)
        if self.realm and "Authorization" not in request.headers:
            challenge = f'Bearer realm="{self.realm}",service="{self.name}",scope="repository:x:pull"'
            return oci_error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
        if request.path == "/v2/":
            return Answer(200, "{}", content_type="application/json")
        parts = request.path.split("/")
        if request.path.endswith("/tags/list"):
            return self._list("/".join(parts[2:-2]), request)
        repository, kind, reference = "/".join(parts[2:-2]), parts[-2], urllib.parse.unquote(parts[-1])
        if kind == "manifests":
            return self._manifest(repository, reference)
        if kind == "blobs":
            return self._blob(repository, reference, request)
        if kind == "referrers":
            return self._referrers(repository, reference, request)
        return oci_error(404, "UNSUPPORTED", "not here")

    def _manifest(self, repository, reference):
        document = self._manifests.get((repository, reference))
        if not document:
            return oci_error(404, "MANIFEST_UNKNOWN", f"{self.name} does not know this manifest")
        return Answer(200, document.bytes, {"Docker-Content-Digest": document.digest}, document.media_type)

    def _blob(self, repository, digest, request):
        if self.blobs_at:
            return Answer(307, b"", {"Location": self.blobs_at + request.target})
        blob = self._blobs.get((repository, digest))
        if blob is None:
            return oci_error(404, "BLOB_UNKNOWN", "no such blob")
        return Answer(200, blob, {"Docker-Content-Digest": digest}, "application/octet-stream")

    def _list(self, repository, request):
        tags = sorted(self._tags.get(repository, []))
        if "last" in request.query:
            tags = [tag for tag in tags if tag > request.query["last"][0]]
        most = min([n for n in (self.page, int(request.query.get("n", ["1000"])[0])) if n])
        headers = {}
        if len(tags) > most:
            headers["Link"] = f'</v2/{repository}/tags/list?last={tags[most - 1]}&n={most}>; rel="next"'
        return Answer(200, json.dumps({"name": repository, "tags": tags[:most]}), headers, "application/json")

    def _referrers(self, repository, subject, request):
        found = []
        for (where, key), document in sorted(self._manifests.items()):
            value = document.value
            if where == repository and key == document.digest and isinstance(value, dict) and value.get("subject", {}).get("digest") == subject:
                found.append({"mediaType": OCI_MANIFEST, "digest": document.digest, "size": len(document.bytes),
                              "artifactType": value["config"]["mediaType"]})
        wanted, headers = request.query.get("artifactType", [None])[0], {}
        if wanted:
            found = [entry for entry in found if entry["artifactType"] == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        return Answer(200, json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}), headers, OCI_INDEX)


class Forbidden(Server):
    """A host that the gateway must never contact: it would answer everything. `pages`: a path's bytes."""

    pages = {}  # of all such hosts

    def handle(self, request):
        if request.path in self.pages:
            return Answer(200, self.pages[request.path], content_type="application/octet-stream")
        return Answer(200, b'{"token":"t","access_token":"t"}', content_type="application/json")
