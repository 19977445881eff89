# SPDX-License-Identifier: Apache-2.0
"""A private CA and one server certificate for every name of the bed. Made anew for each run; valid for two days."""

import base64
import os
import subprocess

from .names import all_names


def openssl(*argv, data=None):
    return subprocess.run(("openssl", *argv), input=data, check=True, capture_output=True).stdout


class Pki:
    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.ca, self.ca_key = f"{folder}/ca.crt", f"{folder}/ca.key"
        self.certificate, self.key = f"{folder}/server.crt", f"{folder}/server.key"
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *curve, "-keyout", self.ca_key, "-out", self.ca, "-days", "2", "-subj", "/CN=bed CA",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        names = ",".join(f"DNS:{name}" for name in all_names())
        extensions = f"{folder}/extensions"
        with open(extensions, "w", encoding="ascii") as file:
            file.write(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
        request = openssl("req", "-new", *curve, "-keyout", self.key, "-subj", "/CN=bed")
        openssl("x509", "-req", "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days", "2", "-extfile",
                extensions, "-out", self.certificate, data=request)

    def certificate_der_base64(self):
        return base64.b64encode(openssl("x509", "-in", self.certificate, "-outform", "DER")).decode()

    def sign_es256(self, data):
        """An ECDSA signature in JOSE's form: r and s, 32 bytes each."""
        der = openssl("dgst", "-sha256", "-sign", self.key, data=data)
        assert der[0] == 0x30, "an ASN.1 sequence of two integers"
        numbers, at = [], 2
        for _ in range(2):
            length = der[at + 1]
            numbers.append(int.from_bytes(der[at + 2:at + 2 + length], "big"))
            at += 2 + length
        return b"".join(number.to_bytes(32, "big") for number in numbers)
