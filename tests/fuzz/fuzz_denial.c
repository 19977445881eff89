// SPDX-License-Identifier: Apache-2.0
//
// The words and answers of denials, from any template and any text. Input: four lines: template, own words, image,
// user agent. The sentence must be bounded and printable, and every body JSON.

#include "gateway/denial/denial.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

static char *next_line(const char **at, const char *end) {
    const char *line = *at;
    const char *stop = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;
    *at = stop ? stop + 1 : end;
    return mem_strndup(line, (size_t)((stop ? stop : end) - line));
}

static void check_line(const char *s) {
    for (; *s; s++)
        require((unsigned char)*s >= 0x20 && *s != 0x7f);
}

static void check_answer(const char *sentence, enum client_kind client, const char *target) {
    static const uint8_t secret[32] = {1};
    struct denials *d = denials_new(secret);
    struct route_context ctx = {.default_registry = "docker.io"};
    struct route r;
    struct denial_answer a;
    route_parse(&ctx, "GET", 3, target, strlen(target), &r);
    denials_answer(d, DENIALS_FINAL, &r, client, REASON_RULE, sentence, "id", 0, &a);
    struct err err = {""};
    struct json *body = json_parse(a.body, a.body_len, JSON_STRICT, &err);
    require(body != NULL && a.content_length == a.body_len);
    json_free(body);
    if (a.location)
        check_line(a.location);
    denial_answer_deinit(&a);
    denials_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char by_digest[] =
        "/v2/a/manifests/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const char *at = (const char *)data;
    const char *end = at + size;
    char *template = next_line(&at, end);
    char *own = next_line(&at, end);
    char *image = next_line(&at, end);
    char *user_agent = next_line(&at, end);

    char sentence[DENIAL_SENTENCE_MAX + 1];
    char words[64];
    struct denial_words rule = {.rule_message = template, .image = image, .id = "id"};
    struct denial_words site = {.site_message = template, .own = own, .image = image, .who = user_agent};
    struct denial_subject subject = {.action = ACTION_PULL, .image = image, .detail = own};
    bool valid = denial_template_valid(template, NULL);
    denial_sentence(valid ? &rule : &site, sentence);
    check_line(sentence);
    denial_own_words(REASON_URLS, &subject, words, sizeof words);
    check_line(words);
    check_answer(sentence, denial_client(user_agent, strlen(user_agent), false), "/v2/a/manifests/1");
    check_answer(own, CLIENT_DOCKER, by_digest);
    free(template);
    free(own);
    free(image);
    free(user_agent);
    return 0;
}
