# SPDX-License-Identifier: Apache-2.0
"""An S3-style blob host over a folder: what docker-registry's S3 driver reads, and what its presigned redirects name.

As S3 does, it refuses a presigned request that also carries Authorization (400), one whose signature is wrong or missing
(403), and answers Range. Writing is not offered: images are pushed to a docker-registry that keeps files in the same folder.
"""

import hashlib
import hmac
import os
import urllib.parse
from xml.sax.saxutils import escape

from .web import Answer, Server

ACCESS_KEY, SECRET_KEY, REGION, BUCKET = "bed-access", "bed-secret", "us-east-1", "docker-images-prod"


def presigned_signature(method, path, query_string, host):
    """AWS Signature Version 4 in the query, as published: what X-Amz-Signature has to be."""
    pairs = urllib.parse.parse_qsl(query_string, keep_blank_values=True)
    said = dict(pairs)
    quote = lambda text: urllib.parse.quote(text, safe="-_.~")
    canonical_query = "&".join(f"{quote(k)}={quote(v)}" for k, v in sorted(pairs) if k != "X-Amz-Signature")
    request = "\n".join([method, path, canonical_query, f"host:{host}\n", said["X-Amz-SignedHeaders"], "UNSIGNED-PAYLOAD"])
    scope = said["X-Amz-Credential"].split("/", 1)[1]
    text = "\n".join(["AWS4-HMAC-SHA256", said["X-Amz-Date"], scope, hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + SECRET_KEY).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def error(status, code):
    return Answer(status, f"<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>", content_type="application/xml")


class S3(Server):
    def __init__(self, address, pki, folder):
        self._folder = folder
        super().__init__(address, pki)

    def handle(self, request):
        presigned = "X-Amz-Signature" in request.query
        authorized = "Authorization" in request.headers
        if presigned and authorized:
            return error(400, "InvalidArgument")
        if not presigned and not authorized:
            return error(403, "AccessDenied")
        if presigned:
            right = presigned_signature(request.method, request.path, request.query_string, request.headers["Host"])
            if not hmac.compare_digest(right, request.query["X-Amz-Signature"][0]):
                return error(403, "SignatureDoesNotMatch")
        bucket, _, key = urllib.parse.unquote(request.path).lstrip("/").partition("/")
        if bucket != BUCKET:
            return error(404, "NoSuchBucket")
        if request.method not in ("GET", "HEAD"):
            return error(501, "NotImplemented")
        return self._object(request, key) if key else self._list(request)

    def _object(self, request, key):
        path = os.path.normpath(f"{self._folder}/{key}")
        if not path.startswith(self._folder) or not os.path.isfile(path):
            return error(404, "NoSuchKey")
        with open(path, "rb") as file:
            body = file.read()
        headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "Accept-Ranges": "bytes"}
        content_type = "application/octet-stream"
        wanted = request.headers.get("Range", "")
        if not wanted.startswith("bytes="):
            return Answer(200, body, headers, content_type)
        first, _, last = wanted[6:].partition("-")
        first = int(first) if first else max(0, len(body) - int(last))
        last = int(last) if last and not wanted.startswith("bytes=-") else len(body) - 1
        if first >= len(body):
            return error(416, "InvalidRange")
        last = min(last, len(body) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return Answer(206, body[first:last + 1], headers, content_type)

    def _keys(self, prefix):
        """Keys that begin with `prefix`, in order."""
        folder, _, start = prefix.rpartition("/")
        top = f"{self._folder}/{folder}"
        try:
            names = sorted(n for n in os.listdir(top) if n.startswith(start))
        except OSError:
            return
        for name in names:
            path, key = f"{top}/{name}", f"{folder}/{name}".lstrip("/")
            if os.path.isdir(path):
                yield from self._keys(key + "/")
            else:
                yield key, os.path.getsize(path)

    def _list(self, request):
        ask = lambda name, default: request.query.get(name, [default])[0]
        prefix, delimiter, most = ask("prefix", ""), ask("delimiter", ""), int(ask("max-keys", "1000"))
        contents, common = [], []
        for key, size in self._keys(prefix):
            rest = key[len(prefix):]
            if delimiter and delimiter in rest:
                folder = prefix + rest.split(delimiter, 1)[0] + delimiter
                if folder not in common:
                    common.append(folder)
            else:
                contents.append((key, size))
            if len(contents) + len(common) >= most:
                break
        body = "".join(f"<Contents><Key>{escape(k)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag>"
                       f"<Size>{s}</Size><StorageClass>STANDARD</StorageClass></Contents>" for k, s in contents)
        body += "".join(f"<CommonPrefixes><Prefix>{escape(c)}</Prefix></CommonPrefixes>" for c in common)
        return Answer(200, f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{BUCKET}</Name>'
                      f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(contents) + len(common)}</KeyCount><MaxKeys>{most}</MaxKeys>"
                      f"<IsTruncated>false</IsTruncated>{body}</ListBucketResult>", content_type="application/xml")
