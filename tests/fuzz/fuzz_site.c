// SPDX-License-Identifier: Apache-2.0
//
// A site's description from a stranger. What is taken is written the same way again, and holds nothing that could end
// a line of a configuration file.

#include "gateway/clients/site.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

static void check_line(const char *s) {
    for (; s != NULL && *s != '\0'; s++)
        require((unsigned char)*s >= ' ' && *s != 0x7f);
}

static void check_lists(const struct client_site *s) {
    for (size_t i = 0; i < s->registry_count; i++) {
        check_line(s->registries[i].name);
        require(s->registries[i].name[0] != '\0' && strpbrk(s->registries[i].name, "/\"\\ ") == NULL);
    }
    for (size_t i = 0; i < s->direct_count; i++)
        require(strpbrk(s->direct[i], "/\"\\ ,*") == NULL && strcmp(s->direct[i], "..") != 0);
    for (size_t i = 0; i < s->no_proxy_count; i++)
        require(strpbrk(s->no_proxy[i], "\"\\ ,") == NULL);
    for (size_t i = 0; i < s->header_count; i++) {
        check_line(s->headers[i].value);
        require(strpbrk(s->headers[i].name, ": \"\\") == NULL);
    }
}

static void check_again(const struct client_site *s) {
    struct buf first, second;
    buf_init(&first, 8 * (size_t)CLIENT_SITE_TEXT_MAX);
    buf_init(&second, 8 * (size_t)CLIENT_SITE_TEXT_MAX);
    require(client_site_write(s, true, &first));
    struct client_site *again =
        first.len <= CLIENT_SITE_TEXT_MAX ? client_site_parse(first.data, first.len, NULL) : NULL;
    if (first.len <= CLIENT_SITE_TEXT_MAX)
        require(again != NULL && client_site_write(again, true, &second) && strcmp(first.data, second.data) == 0);
    client_site_free(again);
    buf_deinit(&first);
    buf_deinit(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {""};
    char hash[CLIENT_SITE_HASH_HEX + 1];
    struct client_site *s = client_site_parse((const char *)data, size, &err);
    if (s == NULL) {
        require(err.text[0] != '\0');
        return 0;
    }
    check_line(s->gateway);
    check_line(s->proxy);
    check_line(s->message);
    check_lists(s);
    check_again(s);
    client_site_hash(s, hash);
    client_site_free(s);
    return 0;
}
