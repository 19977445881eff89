// SPDX-License-Identifier: Apache-2.0
//
// --report: the JSON, posted to the gateway as this machine.

#include "gateway/doctor/network.h"

#include "mirrors/base/mem.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_OK = 200, STATUS_LAST_GOOD = 299 };

static const char path[] = "/pullgate/v1/report";

/// A gateway's URL alone means the path there.
static char *whole_url(const struct doctor *d, const char *url) {
    const char *base = url != NULL && url[0] != '\0' ? url : d->site->gateway;
    const char *host = strstr(base, "://");
    const char *slash = strchr(host != NULL ? host + 3 : base, '/');
    if (slash == NULL)
        return mem_printf("%s%s", base, path);
    return slash[1] == '\0' ? mem_printf("%.*s%s", (int)(slash - base), base, path) : mem_strdup(base);
}

static bool judge(CURLcode code, long status, const char *error, const struct buf *answer, struct err *err) {
    if (code != CURLE_OK)
        return err_set(err, "the report was not sent: %s", error[0] != '\0' ? error : curl_easy_strerror(code));
    if (status < STATUS_OK || status > STATUS_LAST_GOOD)
        return err_set(err, "the gateway did not take the report (%ld): %.200s", status,
                       answer->data != NULL ? answer->data : "");
    return true;
}

bool report_send(const struct doctor *d, const char *url, const struct buf *json, struct buf *answer, struct err *err) {
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE] = "";
    long status = 0;
    char *whole = whole_url(d, url);
    CURL *e = machine_request(d, whole, SEND_SECONDS, answer, error, &headers);
    CURLcode code = CURLE_FAILED_INIT;
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    if (e != NULL) {
        curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, json->data);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)json->len);
        code = curl_easy_perform(e);
        curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_cleanup(e);
    }
    curl_slist_free_all(headers);
    free(whole);
    return judge(code, status, error, answer, err);
}
