// SPDX-License-Identifier: Apache-2.0
//
// The gateway's URL, read and written.

#include "gateway/clients/url.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char https[] = "https://";
static const char http[] = "http://";

static uint16_t usual_port(bool plain) {
    return plain ? HTTP_PORT_USUAL : HTTPS_PORT_USUAL;
}

bool gateway_url_parse(const char *text, struct gateway_url *out, struct err *err) {
    static const char expected[] = "expected a URL such as \"https://gateway.example.com\"";
    *out = (struct gateway_url){.plain = strncasecmp(text, http, sizeof http - 1) == 0};
    if (!out->plain && strncasecmp(text, https, sizeof https - 1) != 0)
        return err_set(err, "%s, found \"%.80s\"", expected, text);
    const char *host = text + (out->plain ? sizeof http : sizeof https) - 1;
    size_t len = strcspn(host, "/?#");
    if (memchr(host, '@', len) != NULL)
        return err_set(err, "expected no user name or password in a URL");
    if (host[len] != '\0' && strcmp(host + len, "/") != 0)
        return err_set(err, "%s: nothing stands behind the host and its port", expected);
    if (!hostport_parse(host, len, &out->at, err))
        return false;
    if (out->at.port == 0)
        out->at.port = usual_port(out->plain);
    return true;
}

char *gateway_url_host(const struct gateway_url *url) {
    struct hostport at = url->at;
    char text[HOSTPORT_TEXT_MAX + 1];
    if (at.port == usual_port(url->plain))
        at.port = 0;
    hostport_format(&at, text);
    return mem_strdup(text);
}

char *gateway_url_text(const struct gateway_url *url) {
    char *host = gateway_url_host(url), *text = mem_printf("%s%s", url->plain ? http : https, host);
    free(host);
    return text;
}
