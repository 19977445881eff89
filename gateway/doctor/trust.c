// SPDX-License-Identifier: Apache-2.0
//
// Certificate files that clients name: there, readable, the gateway's, and not about to end.

#include "gateway/doctor/below.h"
#include "gateway/doctor/doctor.h"

#include "mirrors/base/mem.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CERTIFICATES_MAX = 1000, DAY_SECONDS = 86400, DATE_TEXT = 32 };

static const char *const system_bundles[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                             "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

struct certificates {
    X509 **at;
    size_t count;
};

static void read_pem(const char *text, size_t len, struct certificates *out) {
    BIO *bio = BIO_new_mem_buf(text, (int)len);
    for (X509 *one; bio != NULL && out->count < CERTIFICATES_MAX && (one = PEM_read_bio_X509(bio, NULL, NULL, NULL));) {
        out->at = mem_resize(out->at, out->count + 1, sizeof *out->at);
        out->at[out->count++] = one;
    }
    BIO_free(bio);
}

static void certificates_deinit(struct certificates *c) {
    for (size_t i = 0; i < c->count; i++)
        X509_free(c->at[i]);
    free(c->at);
    *c = (struct certificates){0};
}

static enum below read_file(const char *root, const char *path, struct certificates *out) {
    struct buf text;
    enum below found = below_text(root, path, &text);
    if (found == BELOW_OK)
        read_pem(text.data, text.len, out);
    buf_deinit(&text);
    return found;
}

// --- when it ends ---

static int64_t ends_at(const X509 *certificate) {
    struct tm parts = {0};
    return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

static void date_text(int64_t at, char out[DATE_TEXT]) {
    time_t seconds = (time_t)at;
    struct tm parts;
    out[0] = '\0';
    if (gmtime_r(&seconds, &parts) != NULL)
        strftime(out, DATE_TEXT, "%Y-%m-%d", &parts);
}

/// Of several certificates in a CA file the last to end counts: one of them will do.
static int64_t last_end(const struct certificates *c) {
    int64_t last = 0;
    for (size_t i = 0; i < c->count; i++)
        if (ends_at(c->at[i]) > last)
            last = ends_at(c->at[i]);
    return last;
}

static void judge_end(struct doctor *d, const char *client, const char *code, const char *path, int64_t end,
                      const char *what, const char *todo) {
    char date[DATE_TEXT];
    date_text(end, date);
    if (end <= d->now)
        report_add(d->report, FINDING_WARNING, code, client, path, todo, NULL, "%s ended on %s", what, date);
    else if (end - d->now < (int64_t)ENDS_SOON_DAYS * DAY_SECONDS)
        report_add(d->report, FINDING_WARNING, code, client, path, todo, NULL, "%s ends on %s, in %lld days", what,
                   date, (long long)((end - d->now) / DAY_SECONDS));
}

// --- a CA ---

static bool share_one(const struct certificates *a, const struct certificates *b) {
    for (size_t i = 0; i < a->count; i++)
        for (size_t j = 0; j < b->count; j++)
            if (X509_cmp(a->at[i], b->at[j]) == 0)
                return true;
    return false;
}

static void judge_ca_content(struct doctor *d, const char *client, const char *path, const struct certificates *found) {
    struct certificates wanted = {0};
    const char *ca = d->site != NULL ? d->site->ca : NULL;
    if (ca != NULL && read_file(d->root, ca, &wanted) == BELOW_OK && wanted.count > 0 && !share_one(found, &wanted))
        report_add(d->report, FINDING_WARNING, "wrong_ca", client, path, "Name the site's CA file instead.",
                   fix_command(client), "it holds other certificates than %s: the gateway may not be trusted with it",
                   ca);
    judge_end(d, client, "ca_ends", path, last_end(found), "the CA that it trusts the gateway with",
              "Get the gateway's new CA, and write the client's configuration again.");
    certificates_deinit(&wanted);
}

void judge_ca(struct doctor *d, const char *client, const char *path, const char *where) {
    struct certificates found = {0};
    enum below result = read_file(d->root, path, &found);
    if (result == BELOW_FORBIDDEN)
        doctor_unreadable(d, client, path, "the CA file may not be read by this user");
    else if (result != BELOW_OK)
        report_add(d->report, FINDING_WARNING, "missing_ca", client, where, "Put the gateway's CA there.",
                   fix_command(client), "the CA file %s is not there: the client fails, or goes elsewhere", path);
    else if (found.count == 0)
        report_add(d->report, FINDING_WARNING, "missing_ca", client, path, "Put the gateway's CA there.",
                   fix_command(client), "the CA file holds no certificate");
    else
        judge_ca_content(d, client, path, &found);
    certificates_deinit(&found);
}

static bool system_trusts(struct doctor *d, const struct certificates *ca) {
    for (size_t i = 0; i < sizeof system_bundles / sizeof *system_bundles; i++) {
        struct certificates bundle = {0};
        read_file(d->root, system_bundles[i], &bundle);
        bool shared = share_one(ca, &bundle);
        certificates_deinit(&bundle);
        if (shared)
            return true;
    }
    return false;
}

void judge_no_ca(struct doctor *d, const char *client, const char *where) {
    if (d->site == NULL || d->site->plain || d->site->ca == NULL)
        return;
    struct certificates ca = {0};
    if (read_file(d->root, d->site->ca, &ca) == BELOW_OK && !system_trusts(d, &ca))
        report_add(d->report, FINDING_WARNING, "missing_ca", client, where, "Name the site's CA file there.",
                   fix_command(client), "no CA is named, and the system does not trust the gateway's (%s)",
                   d->site->ca);
    certificates_deinit(&ca);
}

// --- a client certificate ---

void judge_certificate(struct doctor *d, const char *client, const char *certificate, const char *key) {
    struct certificates found = {0};
    enum below result = read_file(d->root, certificate, &found);
    if (result == BELOW_FORBIDDEN)
        doctor_unreadable(d, client, certificate, "the client certificate may not be read by this user");
    else if (result != BELOW_OK || found.count == 0)
        report_add(d->report, FINDING_WARNING, "missing_certificate", client, certificate,
                   "Put the machine's certificate there.", NULL, "the client certificate is not there");
    else
        judge_end(d, client, "certificate_ends", certificate, ends_at(found.at[0]), "the client certificate",
                  "Have the machine's certificate renewed.");
    if (key != NULL && key[0] != '\0' && !below_is_there(d->root, key) && result == BELOW_OK)
        report_add(d->report, FINDING_WARNING, "missing_certificate", client, key, "Put the certificate's key there.",
                   NULL, "the client certificate's key is not there");
    certificates_deinit(&found);
}
