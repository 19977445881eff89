// SPDX-License-Identifier: Apache-2.0
//
// What a listener's keys say of who may use it and what it is called: names, takeover, CONNECT, client certificates,
// identification, proxies in front of it. What contradicts is found once the whole listener was read.

#include "gateway/config/access.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- names ---

static void add_name(struct listener_config *l, const char *host) {
    for (size_t i = 0; i < l->name_count; i++)
        if (strcmp(l->names[i], host) == 0)
            return;
    l->names = mem_resize(l->names, l->name_count + 1, sizeof *l->names);
    l->names[l->name_count++] = mem_strdup(host);
}

bool read_bare_host(struct reader *r, const struct json *value, struct hostport *out) {
    if (value->type != JSON_STRING)
        return read_expected(r, "a host name or an address", value);
    if (!hostport_parse(value->string, value->string_len, out, r->err))
        return read_fail_again(r);
    return out->port == 0 ||
           read_fail(r, "expected a host name or an address without a port, found \"%.80s\"", value->string);
}

static bool read_one_name(struct reader *r, const struct json *value, void *into) {
    struct hostport at;
    if (!read_bare_host(r, value, &at))
        return false;
    add_name(into, at.host);
    return true;
}

bool access_read_names(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    if (value->count == 0 || value->count > LISTENER_NAMES_MAX)
        return read_fail(r, "expected 1 to %d names, found %zu", LISTENER_NAMES_MAX, value->count);
    return read_each(r, value, read_one_name, into);
}

// --- words ---

bool access_read_takeover(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct listener_config *l = into;
    l->takeover = value->boolean;
    return true;
}

bool access_read_challenge(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct listener_config *l = into;
    l->challenge = value->boolean;
    return true;
}

bool access_read_connect(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    static const char *const words[] = {"off", "refuse", "takeover", NULL};
    static const enum connect_mode modes[] = {CONNECT_OFF, CONNECT_REFUSE, CONNECT_TAKEOVER};
    struct listener_config *l = into;
    int word = 0;
    if (!read_word(r, value, words, &word))
        return false;
    l->connect = modes[word];
    return true;
}

bool access_read_crl_expired(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    static const char *const words[] = {"refuse", "accept", NULL};
    struct listener_config *l = into;
    int word = 0;
    if (!read_word(r, value, words, &word))
        return false;
    l->crl_expired_accepted = word == 1;
    return true;
}

bool access_read_client_certificate(struct reader *r, const struct read_key *key, const struct json *value,
                                    void *into) {
    static const char *const words[] = {"optional", "required", NULL};
    struct listener_config *l = into;
    int word = 0;
    if (!read_word(r, value, words, &word))
        return false;
    l->client_certificate = word == 0 ? CLIENT_CERTIFICATE_OPTIONAL : CLIENT_CERTIFICATE_REQUIRED;
    return true;
}

bool access_read_identify(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    static const char *const words[] = {"none", "optional", "required", NULL};
    static const enum identify modes[] = {IDENTIFY_NONE, IDENTIFY_OPTIONAL, IDENTIFY_REQUIRED};
    struct listener_config *l = into;
    int word = 0;
    if (!read_word(r, value, words, &word))
        return false;
    l->identify = modes[word];
    return true;
}

// --- client certificates ---

bool access_read_client_ca(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct listener_config *l = into;
    return read_path(r, value, &l->client_ca) && read_check_file(r, l->client_ca, FILE_CERTIFICATES);
}

bool access_read_client_crl(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct listener_config *l = into;
    return read_path(r, value, &l->client_crl) && read_check_file(r, l->client_crl, FILE_PUBLIC);
}

static bool read_one_kind(struct reader *r, const struct json *value, void *into) {
    static const char *const words[] = {"uri", "dns", "email", "cn", NULL};
    static const enum peer_name_from kinds[] = {PEER_URI, PEER_DNS, PEER_EMAIL, PEER_COMMON_NAME};
    struct listener_config *l = into;
    int word = 0;
    if (!read_word(r, value, words, &word))
        return false;
    for (size_t i = 0; i < l->name_from_count; i++)
        if (l->name_from[i] == kinds[word])
            return read_fail(r, "\"%s\" is here twice", words[word]);
    l->name_from[l->name_from_count++] = kinds[word]; // At most one of each, so it fits.
    return true;
}

bool access_read_name_from(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    if (value->count == 0)
        return read_fail(r, "expected at least one of \"uri\", \"dns\", \"email\" and \"cn\"");
    return read_each(r, value, read_one_kind, into);
}

// --- proxies in front ---

static bool read_one_proxy(struct reader *r, const struct json *value, void *into) {
    struct listener_config *l = into;
    if (value->type != JSON_STRING)
        return read_expected(r, "an address block such as \"10.0.0.0/8\"", value);
    if (!cidr_parse(value->string, &l->trusted_proxies[l->trusted_proxy_count], r->err))
        return read_fail_again(r);
    l->trusted_proxy_count++;
    return true;
}

bool access_read_trusted_proxies(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct listener_config *l = into;
    if (value->count > TRUSTED_PROXIES_MAX)
        return read_fail(r, "expected at most %d address blocks, found %zu", TRUSTED_PROXIES_MAX, value->count);
    l->trusted_proxies = mem_zalloc(value->count + 1, sizeof *l->trusted_proxies);
    return read_each(r, value, read_one_proxy, l);
}

// --- one listener as a whole ---

static bool check_tls(struct reader *r, const struct listener_config *l) {
    if (l->takeover && !l->tls)
        return read_fail(r, "takeover: clients speak TLS with a registry's name, and this listener has no \"tls\"");
    if (l->connect == CONNECT_TAKEOVER && l->tls)
        return read_fail(r, "connect: \"takeover\" stands on a listener without \"tls\": the TLS is inside the tunnel");
    return true;
}

/// Inside a tunnel the client's certificate is asked for as well.
static bool asks_in_tls(const struct listener_config *l) {
    return l->tls || l->connect == CONNECT_TAKEOVER;
}

static bool check_client_certificates(struct reader *r, const struct listener_config *l) {
    if (l->client_ca != NULL && !asks_in_tls(l))
        return read_fail(r, "client_ca: client certificates need \"tls\" (or \"connect\": \"takeover\")");
    if (l->client_ca != NULL)
        return true;
    if (l->client_certificate != CLIENT_CERTIFICATE_NONE)
        return read_fail(r, "client_certificate: it needs \"client_ca\", the authority of those certificates");
    if (l->client_crl != NULL)
        return read_fail(r, "client_crl: it needs \"client_ca\", the authority of those certificates");
    if (l->crl_expired_accepted)
        return read_fail(r, "crl_expired: it needs \"client_crl\"");
    return l->name_from_count == 0 || read_fail(r, "name_from: it needs \"client_ca\"");
}

static bool check_identify(struct reader *r, const struct listener_config *l) {
    if (l->challenge && l->identify == IDENTIFY_NONE)
        return read_fail(r,
                         "challenge: with \"identify\": \"none\" nobody is asked who they are: write \"optional\" or "
                         "\"required\"");
    return true;
}

bool access_check(struct reader *r, const struct listener_config *l) {
    return check_tls(r, l) && check_client_certificates(r, l) && check_identify(r, l);
}

// --- what was not written ---

static void default_name_from(struct listener_config *l) {
    static const enum peer_name_from usual[NAME_FROM_MAX] = {PEER_URI, PEER_DNS, PEER_EMAIL, PEER_COMMON_NAME};
    if (l->name_from_count > 0)
        return;
    memcpy(l->name_from, usual, sizeof usual);
    l->name_from_count = NAME_FROM_MAX;
}

static bool is_every_address(const char *host) {
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/// For a certificate of ours: its address, and, where nothing is written, what this machine is called.
static void default_names(struct listener_config *l) {
    char host[HOST_MAX + 1] = "";
    struct hostport at;
    bool loopback = strncmp(l->at.host, "127.", 4) == 0 || strcmp(l->at.host, "::1") == 0;
    if (l->name_count == 0 && loopback)
        add_name(l, "localhost");
    else if (l->name_count == 0 && gethostname(host, sizeof host - 1) == 0 &&
             hostport_parse(host, strlen(host), &at, NULL) && at.port == 0)
        add_name(l, at.host);
    if (!is_every_address(l->at.host))
        add_name(l, l->at.host);
    if (l->name_count == 0)
        add_name(l, "localhost");
}

void access_complete(struct listener_config *l) {
    default_name_from(l);
    if (l->client_ca != NULL && l->client_certificate == CLIENT_CERTIFICATE_NONE)
        l->client_certificate = CLIENT_CERTIFICATE_OPTIONAL;
    if (l->tls_auto)
        default_names(l);
}

void access_deinit(struct listener_config *l) {
    for (size_t i = 0; i < l->name_count; i++)
        free(l->names[i]);
    free(l->names);
    free(l->client_ca);
    free(l->client_crl);
    free(l->trusted_proxies);
}
