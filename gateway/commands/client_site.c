// SPDX-License-Identifier: Apache-2.0
//
// Where `pullgate client` has its site from; see client_site.h.

#include "gateway/commands/client_site.h"

#include "gateway/clients/rooted.h"
#include "gateway/clients/url.h"
#include "gateway/config/config.h"
#include "gateway/config/reader.h"
#include "mirrors/base/mem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

// --- files ---

static bool read_file(const char *path, struct buf *text, struct err *err) {
    FILE *in = fopen(path, "re");
    struct stat st;
    if (in == NULL || fstat(fileno(in), &st) != 0 || S_ISDIR(st.st_mode)) {
        if (in != NULL)
            fclose(in);
        return err_set(err, "%s: it cannot be read", path);
    }
    char block[16 * 1024];
    for (size_t len; (len = fread(block, 1, sizeof block, in)) > 0;)
        buf_add(text, block, len);
    bool ok = ferror(in) == 0 && !text->overflow;
    fclose(in);
    return ok || err_set(err, "%s: it cannot be read, or is longer than %zu bytes", path, text->max);
}

static bool holds_certificates(const char *pem, size_t len) {
    BIO *in = BIO_new_mem_buf(pem, (int)len);
    X509 *first = in != NULL ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    bool yes = first != NULL;
    X509_free(first);
    BIO_free(in);
    ERR_clear_error();
    return yes;
}

char *client_ca_read(const char *path, struct err *err) {
    struct buf text;
    buf_init(&text, CLIENT_SITE_TEXT_MAX);
    bool ok = read_file(path, &text, err);
    if (ok && (text.data == NULL || strlen(text.data) != text.len || !holds_certificates(text.data, text.len)))
        ok = err_set(err, "%s: expected certificates in PEM", path);
    if (ok && strstr(text.data, "PRIVATE KEY-----") != NULL)
        ok = err_set(err, "%s: it holds a private key, which no client may have", path);
    char *pem = ok ? buf_steal(&text) : NULL;
    buf_deinit(&text);
    return pem;
}

// --- the site ---

static struct client_site *parse_text(const char *path, const struct buf *text, struct err *err) {
    struct client_site *site = client_site_parse(text->data != NULL ? text->data : "", text->len, err);
    if (site == NULL)
        err_prefix(err, "%s: ", path);
    return site;
}

static struct client_site *from_file(const char *path, struct err *err) {
    struct buf text;
    buf_init(&text, CLIENT_SITE_TEXT_MAX);
    struct client_site *site = read_file(path, &text, err) ? parse_text(path, &text, err) : NULL;
    buf_deinit(&text);
    return site;
}

/// What an earlier --write left; NULL without a sentence when there is nothing.
static struct client_site *from_machine(const char *root, struct err *err) {
    struct buf text;
    buf_init(&text, CLIENT_SITE_TEXT_MAX);
    struct client_site *site =
        rooted_look(root, CLIENT_SITE_PATH, &text) ? parse_text(CLIENT_SITE_PATH, &text, err) : NULL;
    buf_deinit(&text);
    return site;
}

static void replace(char **at, const char *with) {
    if (with == NULL || (*at != NULL && strcmp(*at, with) == 0))
        return;
    free(*at);
    *at = mem_strdup(with);
}

static bool set_gateway(struct client_site *site, const char *text, struct err *err) {
    struct gateway_url url;
    if (!gateway_url_parse(text, &url, err))
        return err_prefix(err, "--gateway: ");
    free(site->gateway);
    free(site->host);
    site->gateway = gateway_url_text(&url);
    site->host = gateway_url_host(&url);
    site->plain = url.plain;
    return true;
}

/// A listener whose certificate is its own authority's: clients need that CA, whether it was given here or not.
static bool has_own_authority(const struct config *c) {
    for (size_t i = 0; i < c->listener_count; i++)
        if (c->listeners[i].tls_auto)
            return true;
    return false;
}

static struct client_site *from_config(const struct site_options *o, struct err *err) {
    struct config *c = config_load(o->config, NULL, err);
    if (c == NULL)
        return NULL;
    struct client_site *site = config_site(c, err);
    if (site != NULL && site->ca == NULL && !site->plain && has_own_authority(c))
        site->ca = mem_strdup(CLIENT_CA_PATH);
    config_unref(c);
    if (site == NULL)
        err_prefix(err, "%s: ", o->config);
    return site;
}

/// What is known of the same gateway serves where it does not answer.
static struct client_site *from_before(const struct site_options *o, const struct client_site *machine,
                                       struct err *err) {
    struct gateway_url url;
    if (machine == NULL || !gateway_url_parse(o->gateway, &url, NULL))
        return NULL;
    char *text = gateway_url_text(&url);
    bool same = strcmp(text, machine->gateway) == 0;
    free(text);
    if (!same)
        return NULL;
    fprintf(stderr, "pullgate client: %s\n%s%s is used in its place.\n", err->text, o->root, CLIENT_SITE_PATH);
    return from_machine(o->root, err);
}

/// A path of the client machine's, as it is here; NULL where nothing is there.
static char *here(const struct site_options *o, const char *path) {
    return path != NULL && rooted_has(o->root, path) ? mem_printf("%s%s", o->root, path) : NULL;
}

static struct client_site *from_gateway(const struct site_options *o, const struct client_site *machine,
                                        struct err *err) {
    const struct client_site none = {0}, *own = machine != NULL ? machine : &none;
    char *ca = o->ca != NULL ? mem_strdup(o->ca) : here(o, own->ca);
    char *certificate = here(o, o->certificate != NULL ? o->certificate : own->certificate);
    char *key = here(o, o->key != NULL ? o->key : own->key);
    bool both = certificate != NULL && key != NULL;
    struct client_site *site = client_site_ask(o->gateway, ca, both ? certificate : NULL, both ? key : NULL, err);
    free(ca);
    free(certificate);
    free(key);
    return site != NULL ? site : from_before(o, machine, err);
}

static struct client_site *find(const struct site_options *o, const struct client_site *machine, struct err *err) {
    if (o->config != NULL)
        return from_config(o, err);
    if (o->site != NULL)
        return from_file(o->site, err);
    if (o->gateway != NULL)
        return from_gateway(o, machine, err);
    if (machine != NULL)
        return from_machine(o->root, err);
    err_set(err,
            "which gateway? Say it with --gateway URL, with --config FILE (the gateway's configuration), or with "
            "--site FILE; %s%s is not there, or not to be read",
            o->root, CLIENT_SITE_PATH);
    return NULL;
}

// --- the machine's own ---

static void add_header(struct client_site *site, const char *name, size_t len, const char *value) {
    site->headers = mem_resize(site->headers, site->header_count + 1, sizeof(struct site_header));
    site->headers[site->header_count++] =
        (struct site_header){.name = mem_strndup(name, len), .value = mem_strdup(value)};
}

static void drop_headers(struct client_site *site) {
    for (size_t i = 0; i < site->header_count; i++) {
        free(site->headers[i].name);
        mem_wipe(site->headers[i].value);
    }
    site->header_count = 0;
}

static bool is_token(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (s[i] <= ' ' || (unsigned char)s[i] >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", s[i]) != NULL)
            return false;
    return len > 0;
}

static bool is_value(const char *s) {
    size_t len = strlen(s);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
            return false;
    return len <= CLIENT_WORD_MAX;
}

/// Twice in a hosts.toml, a name would make the file unusable, and clients that cannot read it go to the registry.
static bool has_header(const struct client_site *site, const char *name, size_t len) {
    for (size_t i = 0; i < site->header_count; i++)
        if (strlen(site->headers[i].name) == len && strncasecmp(site->headers[i].name, name, len) == 0)
            return true;
    return false;
}

/// The header's value is not repeated in the error: it may be a password.
static bool set_headers(struct client_site *site, const struct site_options *o, struct err *err) {
    if (o->header_count > 0)
        drop_headers(site);
    for (size_t i = 0; i < o->header_count; i++) {
        const char *colon = strchr(o->headers[i], ':');
        size_t len = colon != NULL ? (size_t)(colon - o->headers[i]) : 0;
        if (!is_token(o->headers[i], len) || !is_value(colon))
            return err_set(err, "--header: expected \"Name: value\", one line of at most %d bytes", CLIENT_WORD_MAX);
        if (has_header(site, o->headers[i], len))
            return err_set(err, "--header: %.*s is given twice", (int)len, o->headers[i]);
        add_header(site, o->headers[i], len, colon + 1 + strspn(colon + 1, " "));
    }
    return true;
}

static bool is_path(const char *s) {
    return s[0] == '/' && is_value(s);
}

static bool set_certificate(struct client_site *site, const struct site_options *o, struct err *err) {
    if ((o->certificate == NULL) != (o->key == NULL))
        return err_set(err, "--certificate and --key belong together");
    if (o->certificate != NULL && (!is_path(o->certificate) || !is_path(o->key)))
        return err_set(err, "--certificate and --key: expected absolute paths, as they are on the client machine");
    replace(&site->certificate, o->certificate);
    replace(&site->key, o->key);
    return true;
}

/// Without an option, what an earlier --write was given stays.
static void keep_own(struct client_site *site, const struct client_site *machine) {
    if (machine == NULL)
        return;
    if (site->ca == NULL)
        replace(&site->ca, machine->ca);
    site->led = machine->led;
    replace(&site->led_address, machine->led_address);
    if (site->certificate == NULL) {
        replace(&site->certificate, machine->certificate);
        replace(&site->key, machine->key);
    }
    for (size_t i = 0; site->header_count < machine->header_count && i < machine->header_count; i++)
        add_header(site, machine->headers[i].name, strlen(machine->headers[i].name), machine->headers[i].value);
}

static bool set_proxy(struct client_site *site, const char *text, struct err *err) {
    struct gateway_url url;
    if (text == NULL)
        return true;
    if (!gateway_url_parse(text, &url, err))
        return err_prefix(err, "--proxy: ");
    free(site->proxy);
    site->proxy = gateway_url_text(&url);
    return true;
}

static bool add_own(struct client_site *site, const struct site_options *o, const struct client_site *machine,
                    struct err *err) {
    keep_own(site, machine);
    if (o->gateway != NULL && !set_gateway(site, o->gateway, err))
        return false;
    replace(&site->ca, o->ca != NULL ? CLIENT_CA_PATH : NULL);
    return set_proxy(site, o->proxy, err) && set_certificate(site, o, err) && set_headers(site, o, err);
}

struct client_site *client_site_find(const struct site_options *o, struct err *err) {
    struct err broken = {""};
    struct client_site *machine = from_machine(o->root, &broken);
    if (broken.text[0] != '\0')
        fprintf(stderr, "pullgate client: %s%s: what it said of this machine is not used.\n", o->root, broken.text);
    struct client_site *site = find(o, machine, err);
    if (site != NULL && !add_own(site, o, machine, err)) {
        client_site_free(site);
        site = NULL;
    }
    client_site_free(machine);
    return site;
}
