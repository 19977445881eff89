// SPDX-License-Identifier: Apache-2.0
//
// What token servers and registries say. The first line of the input is a WWW-Authenticate, the rest a body: of a token
// answer and of an error. A token fits into a header, a message into one line of text, and what a challenge asks for
// adds nothing to the URL but the values of `service` and `scope`.

#include "mirrors/base/buf.h"
#include "mirrors/upstream/token.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_SIZE = 64, CODE_SIZE = 65 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static void check_token(const char *body, size_t len) {
    struct err err = {0};
    int64_t lifetime_s = -1;
    char *token = token_parse(body, len, &lifetime_s, &err);
    require((token != NULL) == (err.text[0] == '\0'));
    if (token == NULL)
        return;
    size_t n = strlen(token);
    require(n > 0 && n <= TOKEN_MAX && lifetime_s > 0 && lifetime_s <= TOKEN_LIFETIME_MAX_S);
    for (size_t i = 0; i < n; i++)
        require(token[i] > ' ' && token[i] <= '~');
    free(token);
}

/// Whole characters only, none of which steers a terminal.
static void check_printable(const char *text) {
    for (size_t left = strlen(text), n; left > 0; text += n, left -= n) {
        const unsigned char *c = (const unsigned char *)text;
        n = buf_utf8_len(c, left);
        require(n > 0 && *c >= ' ' && *c != 0x7f && !(c[0] == 0xc2 && c[1] < 0xa0));
    }
}

static void check_message(const char *body, size_t len, size_t size) {
    char message[MESSAGE_SIZE], code[CODE_SIZE], same[MESSAGE_SIZE];
    memset(message, 'x', sizeof(message));
    memset(code, 'x', sizeof(code));
    token_error_message(body, len, message, size, code);
    require(memchr(message, '\0', size) != NULL && memchr(code, '\0', sizeof(code)) != NULL);
    check_printable(message);
    require(strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == strlen(code));
    token_error_message(body, len, same, size, NULL);
    require(strcmp(message, same) == 0);
}

static char *part(const char *url, CURLUPart what, unsigned flags) {
    CURLU *u = curl_url();
    char *text = NULL;
    require(curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK);
    curl_url_get(u, what, &text, flags);
    curl_url_cleanup(u);
    return text;
}

static void check_same(const char *realm, const char *url, CURLUPart what, unsigned flags) {
    char *before = part(realm, what, flags), *after = part(url, what, flags);
    require((before == NULL) == (after == NULL) && (before == NULL || strcmp(before, after) == 0));
    curl_free(before);
    curl_free(after);
}

static size_t pairs(const char *query) {
    size_t count = query != NULL && *query != '\0';
    for (; query != NULL && (query = strchr(query, '&')) != NULL; query++)
        count++;
    return count;
}

static void check_query(const struct challenge *c, const char *url, const char *scope) {
    char *before = part(c->realm, CURLUPART_QUERY, 0), *after = part(url, CURLUPART_QUERY, 0);
    require(after != NULL);
    require(pairs(after) <= pairs(before) + 1 + (c->service[0] != '\0'));
    const char *last = after;
    for (const char *p = after; (p = strchr(p, '&')) != NULL; p++)
        last = p + 1;
    require(strncmp(last, "scope=", 6) == 0);
    for (char *space = after; (space = strchr(space, '+')) != NULL;)
        *space = ' ';
    int len = 0;
    char *value = curl_easy_unescape(NULL, last + 6, 0, &len);
    require((size_t)len == strlen(scope) && memcmp(value, scope, (size_t)len) == 0);
    curl_free(value);
    curl_free(before);
    curl_free(after);
}

static void check_url(const struct challenge *c) {
    char *url = token_url(c, "org/app");
    if (url == NULL)
        return;
    for (const char *p = url; *p != '\0'; p++)
        require((unsigned char)*p > ' ' && *p != 0x7f);
    check_same(c->realm, url, CURLUPART_SCHEME, 0);
    check_same(c->realm, url, CURLUPART_HOST, 0);
    check_same(c->realm, url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    check_same(c->realm, url, CURLUPART_PATH, 0);
    check_query(c, url, c->scope[0] != '\0' ? c->scope : "repository:org/app:pull");
    free(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct challenge_list list;
    const char *text = (const char *)data;
    const char *line_end = size > 0 ? memchr(text, '\n', size) : NULL;
    size_t line_len = line_end != NULL ? (size_t)(line_end - text) : size;
    size_t body_len = line_end != NULL ? size - line_len - 1 : 0;
    char *body = malloc(body_len > 0 ? body_len : 1); // Of exactly this size, so that a step too far is seen.
    memcpy(body, line_end != NULL ? line_end + 1 : text, body_len);
    memset(&list, 0, sizeof(list));
    challenge_parse(text, line_len, &list);
    for (size_t i = 0; i < list.count; i++)
        check_url(&list.item[i]);
    check_token(body, body_len);
    check_message(body, body_len, MESSAGE_SIZE);
    check_message(body, body_len, 1 + body_len % MESSAGE_SIZE);
    free(body);
    return 0;
}
