# SPDX-License-Identifier: Apache-2.0
"""HTTPS servers of the bed that are written in Python: they keep what they were asked, and answer what a function says."""

import http.server
import socketserver
import ssl
import threading
import urllib.parse


class Request:
    def __init__(self, handler, body):
        self.method = handler.command
        self.target = handler.path
        self.path, _, self.query_string = handler.path.partition("?")
        self.query = urllib.parse.parse_qs(self.query_string, keep_blank_values=True)
        self.headers = handler.headers
        self.client = handler.client_address[0]
        self.body = body
        self.status = None

    def __repr__(self):
        return f"{self.method} {self.target} -> {self.status}"


class Answer:
    def __init__(self, status, body=b"", headers=(), content_type=None, length=None):
        self.status, self.body, self.headers = status, body if isinstance(body, bytes) else body.encode(), list(dict(headers).items())
        if content_type:
            self.headers.append(("Content-Type", content_type))
        self.length = len(self.body) if length is None else length


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(self, self.rfile.read(length) if length else b"")
        self.server.owner.requests.append(request)
        answer = self.server.owner.handle(request)
        request.status = answer.status
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(answer.length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            pass  # the other side went away

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def log_message(self, format, *args):
        pass


class _Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128
    context = None

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def get_request(self):
        sock, address = super().get_request()
        if self.context:
            # The handshake happens with the first read, in the connection's own thread.
            sock = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address

    def handle_error(self, request, client_address):
        pass


class Server:
    """One host. Subclasses say `handle(request) -> Answer`; `requests` is the access log."""

    def __init__(self, address, pki=None, port=443):
        self.requests = []
        self._listener = _Listener((address, port), _Handler)
        self._listener.owner = self
        if pki:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pki.certificate, pki.key)
            self._listener.context = context
        self._thread = threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def handle(self, request):
        raise NotImplementedError

    def mark(self):
        """A place in the access log, for since()."""
        return len(self.requests)

    def since(self, mark):
        return self.requests[mark:]

    def stop(self):
        self._listener.shutdown()
        self._listener.server_close()
