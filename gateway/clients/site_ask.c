// SPDX-License-Identifier: Apache-2.0
//
// A site's description, asked of the gateway itself: one request, no redirects, no proxy (the proxy that a client
// machine has may be the gateway's own, which refuses). Blocks; for commands only.

#include "gateway/clients/site.h"

#include "gateway/clients/url.h"
#include "mirrors/base/mem.h"

#include <curl/curl.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_SECONDS = 10, STATUS_OK = 200, STATUS_UNAUTHORIZED = 401, STATUS_FORBIDDEN = 403, STATUS_NOT_FOUND = 404 };

static size_t take(char *data, size_t size, size_t count, void *into) {
    return buf_add(into, data, size * count) ? size * count : 0;
}

static void prepare(CURL *e, const char *url, const char *ca, const char *certificate, const char *key,
                    struct buf *body, char *error) {
    curl_easy_setopt(e, CURLOPT_URL, url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_TIMEOUT, (long)ASK_SECONDS);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "pullgate/" PULLGATE_VERSION);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, body);
    if (ca != NULL)
        curl_easy_setopt(e, CURLOPT_CAINFO, ca);
    if (certificate != NULL)
        curl_easy_setopt(e, CURLOPT_SSLCERT, certificate);
    if (key != NULL)
        curl_easy_setopt(e, CURLOPT_SSLKEY, key);
}

static bool judge_status(long status, struct err *err) {
    switch (status) {
    case STATUS_OK:
        return true;
    case STATUS_UNAUTHORIZED:
    case STATUS_FORBIDDEN:
        return err_set(err,
                       "it wants to know who asks (%ld): name a client certificate, or take its description from a "
                       "file (--config, --site)",
                       status);
    case STATUS_NOT_FOUND:
        return err_set(err, "it does not describe its site (404): is this pullgate, and of this version?");
    default:
        return err_set(err, "it answered %ld", status);
    }
}

/// Is it the authority that is missing? A wrong name or an expired certificate would fail with any --ca.
static bool is_untrusted(CURL *e, CURLcode code) {
    long verified = X509_V_OK;
    curl_easy_getinfo(e, CURLINFO_SSL_VERIFYRESULT, &verified);
    return code == CURLE_PEER_FAILED_VERIFICATION &&
           (verified == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT || verified == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
            verified == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
            verified == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE);
}

static bool set_untrusted(const char *ca, const char *error, struct err *err) {
    static const char where[] = "`pullgate ca show`, on the gateway, prints the one that pullgate made";
    if (ca == NULL)
        return err_set(err,
                       "its certificate is signed by no authority that this machine trusts (%s): name that authority's "
                       "certificate with --ca FILE; %s",
                       error, where);
    return err_set(err,
                   "its certificate is not signed by the authority in %s (%s): name the right one with --ca FILE; %s",
                   ca, error, where);
}

static bool get(CURL *e, const char *ca, const char *error, struct err *err) {
    long status = 0;
    CURLcode code = curl_easy_perform(e);
    if (is_untrusted(e, code))
        return set_untrusted(ca, error, err);
    if (code != CURLE_OK)
        return err_set(err, "%s", error[0] != '\0' ? error : curl_easy_strerror(code));
    curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
    return judge_status(status, err);
}

static struct client_site *ask(const char *url, const char *ca, const char *certificate, const char *key,
                               struct err *err) {
    char error[CURL_ERROR_SIZE] = "";
    struct buf body;
    CURL *e = curl_easy_init();
    if (e == NULL) {
        err_set(err, "libcurl cannot be used");
        return NULL;
    }
    buf_init(&body, CLIENT_SITE_TEXT_MAX);
    prepare(e, url, ca, certificate, key, &body, error);
    struct client_site *site =
        get(e, ca, error, err) ? client_site_parse(body.data != NULL ? body.data : "", body.len, err) : NULL;
    curl_easy_cleanup(e);
    buf_deinit(&body);
    return site;
}

struct client_site *client_site_ask(const char *url, const char *ca, const char *certificate, const char *key,
                                    struct err *err) {
    struct gateway_url at;
    if (!gateway_url_parse(url, &at, err))
        return NULL;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    char *base = gateway_url_text(&at), *full = mem_printf("%s/pullgate/v1/site", base);
    struct client_site *site = ask(full, ca, certificate, key, err);
    if (site == NULL)
        err_prefix(err, "%s: ", base);
    free(base);
    free(full);
    return site;
}
