# SPDX-License-Identifier: Apache-2.0
"""A TLS client that says which server name it wants, through a CONNECT tunnel too."""

import http.client
import socket
import ssl

from gateway import ADDRESS, ASK_LIMIT, read_answer


def context(ca=None, certificate=None):
    """Trusts `ca` (a file), or nobody is checked; shows `certificate` (certificate, key)."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    else:
        made.load_verify_locations(str(ca))
    if certificate is not None:
        made.load_cert_chain(*map(str, certificate))
    return made


def connect(port, name, how, session=None, sock=None):
    """A TLS connection for this server name (None: without one)."""
    sock = sock or socket.create_connection((ADDRESS, port), timeout=ASK_LIMIT)
    try:
        return how.wrap_socket(sock, server_hostname=name, session=session)
    except OSError:
        sock.close()
        raise


def send(sock, target, host, method="GET", headers=(), body=b""):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{key}: {value}" for key, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def receive(sock, gateway, method="GET"):
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    answer = read_answer(response, method)
    answer.phrase = response.reason
    answer.gateway = gateway
    return answer


def ask_on(sock, gateway, target, host, method="GET", headers=(), body=b""):
    send(sock, target, host, method, headers, body)
    return receive(sock, gateway, method)


def ask(gateway, port, name, target, how, host=None, method="GET", headers=(), body=b""):
    """One request on a connection of its own."""
    with connect(port, name, how) as sock:
        return ask_on(sock, gateway, target, host or name or ADDRESS, method, headers, body)


def tunnel_head(target, host=None, headers=()):
    return "\r\n".join([f"CONNECT {target} HTTP/1.1", f"Host: {host or target}",
                        *(f"{key}: {value}" for key, value in headers), "", ""]).encode()


def open_tunnel(gateway, target, host=None, headers=(), port=None):
    """CONNECT: the socket, and the answer; where that is no 200 the socket is of no more use."""
    sock = gateway.connect(port=port)
    sock.sendall(tunnel_head(target, host, headers))
    head = b""
    while b"\r\n\r\n" not in head:  # not one byte more: what follows belongs to TLS
        got = sock.recv(1)
        if not got:
            break
        head += got
    status, _, phrase = head.split(b"\r\n", 1)[0].partition(b" ")[2].partition(b" ")
    return sock, int(status or 0), phrase.decode()
