# SPDX-License-Identifier: Apache-2.0
"""Small images for the scripted upstream."""

import json

from upstream import blob, digest, manifest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def descriptor(content, media_type, **more):
    return {"mediaType": media_type, "digest": digest(content), "size": len(content), **more}


def document(layers, config=b"{}", **more):
    """A manifest as a dict, for tests that spoil it."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, OCI_CONFIG),
        "layers": [descriptor(layer, OCI_LAYER) for layer in layers],
        **more,
    }


def encode(doc):
    return json.dumps(doc, ensure_ascii=False).encode()


def script_manifest(up, repo, body, media_type=OCI_MANIFEST, tag="1", **how):
    """The same answer by tag and by digest, HEAD and GET; returns the digest."""
    step = manifest(body, media_type, **how)
    up.at(f"/v2/{repo}/manifests/{tag}", step)
    up.at(f"/v2/{repo}/manifests/{digest(body)}", step)
    return digest(body)


def script_image(up, repo, layers, tag="1", **more):
    """A good image; returns the manifest's bytes."""
    body = encode(document(layers, **more))
    script_manifest(up, repo, body, tag=tag)
    for content in [b"{}", *layers]:
        up.at(f"/v2/{repo}/blobs/{digest(content)}", blob(content))
    return body
