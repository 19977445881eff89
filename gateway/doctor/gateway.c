// SPDX-License-Identifier: Apache-2.0
//
// Asking the gateway: does it answer, is it who it should be, does it deny.

#include "gateway/doctor/below.h"
#include "gateway/doctor/network.h"
#include "gateway/policy/canary.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = CLIENT_SITE_TEXT_MAX, STATUS_OK = 200, STATUS_UNAUTHORIZED = 401, STATUS_FORBIDDEN = 403 };

struct asked {
    CURLcode code;
    long status;
    char error[CURL_ERROR_SIZE];
    bool has_id; ///< The answer has a request id, as all of a gateway's own have.
    struct buf body;
};

static void ask(const struct doctor *d, const char *path, struct asked *out) {
    struct curl_slist *headers;
    struct curl_header *id;
    char *url = mem_printf("%s%s", d->site->gateway, path);
    *out = (struct asked){.code = CURLE_FAILED_INIT};
    buf_init(&out->body, BODY_MAX);
    CURL *e = machine_request(d, url, GATEWAY_SECONDS, &out->body, out->error, &headers);
    if (e != NULL) {
        out->code = curl_easy_perform(e);
        curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &out->status);
        out->has_id = curl_easy_header(e, "X-Request-Id", 0, CURLH_HEADER, -1, &id) == CURLHE_OK;
        curl_easy_cleanup(e);
    }
    curl_slist_free_all(headers);
    free(url);
}

// --- does it answer ---

static const char *words(const struct asked *a) {
    return a->error[0] != '\0' ? a->error : curl_easy_strerror(a->code);
}

static void judge_failure(struct doctor *d, const struct asked *a) {
    const char *url = d->site->gateway;
    switch (a->code) {
    case CURLE_PEER_FAILED_VERIFICATION:
        report_add(
            d->report, FINDING_OPEN, "gateway_wrong_certificate", "gateway", url,
            "Compare the CA on this machine with `pullgate ca show` on the gateway; if they are the same, somebody "
            "stands between.",
            NULL, "its certificate is not good for this machine (CA: %s): %s",
            d->site->ca != NULL ? d->site->ca : "the system's", words(a));
        return;
    case CURLE_SSL_CACERT_BADFILE:
        report_add(d->report, FINDING_OPEN, "missing_ca", "gateway", d->site->ca, "Put the gateway's CA there.",
                   "pullgate client NAME... --ca FILE --write", "the CA file for the gateway cannot be used: %s",
                   words(a));
        return;
    case CURLE_SSL_CERTPROBLEM:
        report_add(d->report, FINDING_OPEN, "missing_certificate", "gateway", d->site->certificate,
                   "Have the machine's certificate renewed.", NULL, "the machine's own certificate cannot be used: %s",
                   words(a));
        return;
    default:
        report_add(d->report, FINDING_OPEN, "gateway_down", "gateway", url,
                   "Start the gateway, or mend the way to it. Clients that can leave it do so now.", NULL,
                   "it does not answer: %s", words(a));
    }
}

/// False: there is no use in asking more.
static bool judge_answer(struct doctor *d, const struct asked *a) {
    const char *url = d->site->gateway;
    if (a->code != CURLE_OK) {
        judge_failure(d, a);
        return false;
    }
    if (a->status == STATUS_UNAUTHORIZED || a->status == STATUS_FORBIDDEN) {
        report_add(d->report, FINDING_UNKNOWN, "gateway_refuses_machine", "gateway", url,
                   "Give this machine a certificate or a header that the gateway knows.",
                   "pullgate client NAME... --certificate FILE --key FILE --write",
                   "it answers, but wants to know who asks (%ld): whether it denies could not be asked", a->status);
        return false;
    }
    if (a->status != STATUS_OK) {
        report_add(d->report, FINDING_OPEN, "gateway_down", "gateway", url,
                   "Look at the gateway, and at what stands before it.", NULL,
                   "it answers /v2/ with %ld in the place of 200", a->status);
        return false;
    }
    report_add(d->report, FINDING_OK, "gateway_answers", "gateway", url, NULL, NULL, "it answers");
    return true;
}

// --- does it deny ---

/// {"errors":[{"code":"DENIED", ...}]}
static bool is_denial(const struct asked *a) {
    struct json *root = json_parse(a->body.data != NULL ? a->body.data : "", a->body.len, JSON_STRICT, NULL);
    const struct json *errors = json_get(root, "errors");
    const struct json *first = errors != NULL && errors->type == JSON_ARRAY ? errors->child : NULL;
    const char *code = json_get_string(first, "code");
    bool denied = code != NULL && strcmp(code, "DENIED") == 0;
    json_free(root);
    return denied;
}

static void judge_canary(struct doctor *d) {
    struct asked a;
    ask(d, "/v2/" CANARY_REPOSITORY "/manifests/" CANARY_TAG "?ns=" CANARY_REGISTRY, &a);
    if (a.code != CURLE_OK)
        judge_failure(d, &a);
    else if (a.status == STATUS_FORBIDDEN && a.has_id && is_denial(&a))
        report_add(d->report, FINDING_OK, "gateway_denies", "gateway", d->site->gateway, NULL, NULL,
                   "it denies what no policy allows (" CANARY_IMAGE ")");
    else if (a.status == STATUS_UNAUTHORIZED)
        report_add(d->report, FINDING_UNKNOWN, "gateway_refuses_machine", "gateway", d->site->gateway,
                   "Give this machine a certificate or a header that the gateway knows.",
                   "pullgate client NAME... --certificate FILE --key FILE --write",
                   "it wants to know who asks: whether it denies could not be asked");
    else
        report_add(d->report, FINDING_OPEN, "gateway_does_not_deny", "gateway", d->site->gateway,
                   "Look at what answers under this name: it is no pullgate, or something stands before it.", NULL,
                   "asked for " CANARY_IMAGE ", which every gateway denies, it answers %ld%s", a.status,
                   a.status == STATUS_FORBIDDEN ? ", but not as a gateway does" : "");
    buf_deinit(&a.body);
}

void gateway_judge(struct doctor *d) {
    struct asked a;
    if (d->site->plain)
        report_add(d->report, FINDING_WARNING, "gateway_plain", "gateway", d->site->gateway,
                   "Give the gateway a listener with TLS.", NULL,
                   "it is asked without TLS: whoever stands between can pose as it");
    ask(d, "/v2/", &a);
    bool usable = judge_answer(d, &a);
    buf_deinit(&a.body);
    if (usable)
        judge_canary(d);
}

// --- its description ---

static void replace(char **at, const char *value) {
    free(*at);
    *at = mem_strdup(value);
}

/// A machine may have been given another name for the gateway, or another proxy: that is no other site. Nor is the mode
/// anything that clients are configured for.
static void take_own(struct client_site *site, const struct client_site *from) {
    replace(&site->gateway, from->gateway);
    replace(&site->host, from->host);
    replace(&site->proxy, from->proxy);
    site->plain = from->plain;
    site->monitor = from->monitor;
}

static void compare_site(struct doctor *d, struct client_site *site) {
    char now[CLIENT_SITE_HASH_HEX + 1], here[CLIENT_SITE_HASH_HEX + 1], there[CLIENT_SITE_HASH_HEX + 1];
    client_site_hash(site, now);
    client_site_hash(d->site, here);
    take_own(site, d->site);
    client_site_hash(site, there);
    if (strcmp(here, there) == 0)
        report_gateway(d->report, d->site->gateway, now); // By which the gateway knows that the machine is up to date.
    else {
        char *url = report_shell_word(d->site->gateway),
             *command = mem_printf("pullgate doctor --gateway %s --fix", url);
        report_add(d->report, FINDING_WARNING, "site_outdated", "gateway", CLIENT_SITE_PATH,
                   "Write the clients' configuration again.", command,
                   "the gateway describes its site otherwise now: registries may have been added, or taken out");
        free(command);
        free(url);
    }
}

void gateway_judge_mode(struct doctor *d, bool monitor) {
    if (monitor)
        report_add(d->report, FINDING_WARNING, "gateway_monitor", "gateway", d->site->gateway,
                   "When its log shows what the rules should let through, take \"mode\": \"monitor\" out of its "
                   "configuration.",
                   NULL, "it is in monitor mode: it lets every image through, and only logs what it would deny");
}

void gateway_judge_site(struct doctor *d) {
    struct asked a;
    ask(d, "/pullgate/v1/site", &a);
    struct client_site *site = a.code == CURLE_OK && a.status == STATUS_OK
                                   ? client_site_parse(a.body.data != NULL ? a.body.data : "", a.body.len, NULL)
                                   : NULL;
    gateway_judge_mode(d, site != NULL ? site->monitor : d->site->monitor);
    if (site != NULL)
        compare_site(d, site);
    client_site_free(site);
    buf_deinit(&a.body);
}
