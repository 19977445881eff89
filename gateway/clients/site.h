// SPDX-License-Identifier: Apache-2.0
//
// What a client machine must know of its site: where the gateway is, what it serves, and what is meant to go past it.
//
// The same facts travel three ways: out of the gateway's own configuration (--config), from the running gateway
// (GET /pullgate/v1/site), and from the copy that `pullgate client --write` leaves on the machine
// (CLIENT_SITE_PATH), which `pullgate doctor` reads. The last two are this JSON:
//
//     { "format": 1, "gateway": "https://gateway.example.com", "proxy": "http://gateway.example.com:3128",
//       "message": "Ask platform@example.com",
//       "registries": [ { "name": "docker.io", "hosts": ["registry-1.docker.io", "auth.docker.io"] } ],
//       "direct": ["registry.corp.example.com"], "no_proxy": ["git.corp.example.com"], "takeover": false,
//       "monitor": true,
//       "ca": "/etc/pullgate/ca.crt", "certificate": "…", "key": "…", "headers": { "X-Team": "…" },
//       "led": true, "led_address": "10.0.0.5" }
//
// "ca", "certificate", "key", "headers", "led" and "led_address" are the machine's own: only the copy on the machine
// has them, and the copy is readable by its owner alone where it has headers. A `struct client_site` is plain memory;
// one thread.

#pragma once

#include "mirrors/base/buf.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { CLIENT_SITE_TEXT_MAX = 1024 * 1024, CLIENT_SITE_FORMAT = 1 };

#define CLIENT_SITE_PATH "/etc/pullgate/client.json"
#define CLIENT_CA_PATH "/etc/pullgate/ca.crt"

struct site_registry {
    char *name;   ///< Canonical: docker.io; or a wildcard as configured.
    char **hosts; ///< Its endpoints', realm and redirect hosts (host[:port], wildcards too): what an egress rule must
                  ///< stop.
    size_t host_count;
};

struct site_header {
    char *name, *value;
};

struct client_site {
    char *gateway; ///< URL without a path and without the port that goes without saying: "https://gateway.example.com".
    char *host;    ///< Its host[:port] as clients write it.
    bool plain;    ///< http.
    char *proxy;   ///< URL of the listener that refuses CONNECT, or NULL: there is none.
    char *message; ///< The site's own words, or NULL.
    struct site_registry *registries;
    size_t registry_count;
    char **direct; ///< Registries that clients are to reach themselves; no wildcards.
    size_t direct_count;
    char **no_proxy; ///< Hosts that are not to be asked through the proxy, besides the gateway and `direct`.
    size_t no_proxy_count;
    bool takeover;           ///< Clients meet the gateway under the registries' own names.
    bool monitor;            ///< The gateway denies nothing, and only tells what it would deny. Written where true.
    char *ca;                ///< PEM file on the client machine, or NULL: the system's trust is enough.
    char *certificate, *key; ///< The machine's own, for mutual TLS; both or neither.
    struct site_header *headers;
    size_t header_count;
    bool led;          ///< The machine's hosts file leads registries' names to the gateway (--takeover).
    char *led_address; ///< To this address (--address), or NULL: where the gateway's name leads.
};

/// From the JSON above. Unknown keys are ignored (a newer gateway may say more); another "format" is an error.
struct client_site *client_site_parse(const char *text, size_t len, struct err *err);

/// Ask the gateway at `url` for it (blocking, at most 10 s). `ca`, `certificate`, `key` may be NULL.
struct client_site *client_site_ask(const char *url, const char *ca, const char *certificate, const char *key,
                                    struct err *err);

/// The JSON above; `own` says whether the machine's own keys are in it. Stable: equal sites give equal bytes.
bool client_site_write(const struct client_site *site, bool own, struct buf *out);

/// The first 12 hex of the SHA-256 of client_site_write(own = false): which description a report was made against.
enum { CLIENT_SITE_HASH_HEX = 12 };
void client_site_hash(const struct client_site *site, char out[CLIENT_SITE_HASH_HEX + 1]);

/// Does this entry of "no_proxy" stand for everything ("*", a block of all addresses)?
bool no_proxy_is_everything(const char *entry);

void client_site_free(struct client_site *site);
