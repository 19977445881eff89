// SPDX-License-Identifier: Apache-2.0
//
// A denial's sentence: whose words it is made of, what is filled in, and how it is cut.

#include "gateway/denial/denial.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define D256 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

Test(denial, sentences) {
    static const struct {
        const char *why;
        struct denial_words words;
        const char *says;
    } rows[] = {
        {"own words alone", {.own = "own words"}, "own words"},
        {"own words, then the site's", {.own = "own words", .site_message = "Ask us."}, "own words. Ask us."},
        {"a rule's message stands alone",
         {.own = "own words", .site_message = "Ask us.", .rule_message = "Not this one."},
         "Not this one."},
        {"an empty rule's message is none", {.own = "own words", .rule_message = ""}, "own words"},
        {"an empty site's message is none", {.own = "own words", .site_message = ""}, "own words"},
        {"every placeholder",
         {.rule_message = "{image}|{registry}|{rule}|{who}|{id}",
          .image = "docker.io/a/b:1",
          .registry = "docker.io",
          .rule = "P-17",
          .who = "ci",
          .id = "4f"},
         "docker.io/a/b:1|docker.io|P-17|ci|4f"},
        {"placeholders in the site's message, one of them twice",
         {.own = "No.", .site_message = "({id}) {id}", .id = "4f"},
         "No. (4f) 4f"},
        {"nobody is anonymous", {.rule_message = "{who} {rule}.", .who = "", .rule = ""}, "anonymous ."},
        {"values are not templates", {.rule_message = "{image} {id}", .image = "{id}", .id = "4f"}, "{id} 4f"},
        {"values are printable", {.rule_message = "{image}", .image = "a\r\nb\x1b\xff"}, "a  b??"},
        {"own words are printable", {.own = "a\nb\x07"}, "a b?"},
        {"nothing at all", {.own = NULL}, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[DENIAL_SENTENCE_MAX + 1];
        denial_sentence(&rows[i].words, out);
        cr_expect_str_eq(out, rows[i].says, "%s: '%s'", rows[i].why, out);
    }
}

/// `count` copies of `unit` in fresh memory.
static char *repeat(const char *unit, size_t count) {
    char *s = calloc(count + 1, strlen(unit));
    for (size_t i = 0; i < count; i++)
        memcpy(s + i * strlen(unit), unit, strlen(unit));
    return s;
}

static bool ends_with(const char *s, const char *tail) {
    return strlen(s) >= strlen(tail) && strcmp(s + strlen(s) - strlen(tail), tail) == 0;
}

Test(denial, too_long_the_gateways_words_are_cut) {
    char out[DENIAL_SENTENCE_MAX + 1];
    char *own = repeat("o", 1000);
    char *umlauts = repeat("ä", 500);
    char *site = repeat("s", 300);
    char *full = repeat("s", DENIAL_SENTENCE_MAX);
    char *image = repeat("i", 700);

    denial_sentence(&(struct denial_words){.own = own}, out);
    cr_expect_eq(strlen(out), DENIAL_SENTENCE_MAX);
    cr_expect(ends_with(out, "o..."), "own words alone: %s", out);

    denial_sentence(&(struct denial_words){.own = umlauts}, out);
    cr_expect(strlen(out) <= DENIAL_SENTENCE_MAX && ends_with(out, "ä..."), "between characters: %s", out);

    denial_sentence(&(struct denial_words){.own = own, .site_message = site}, out);
    cr_expect_eq(strlen(out), DENIAL_SENTENCE_MAX - 1, "after a cut no full stop is added");
    cr_expect(ends_with(out, site) && strstr(out, "o... s"), "the site's words are whole: %s", out);

    denial_sentence(&(struct denial_words){.own = own, .site_message = full}, out);
    cr_expect_str_eq(out, full, "no room for own words");

    denial_sentence(&(struct denial_words){.rule_message = full, .own = own, .site_message = site}, out);
    cr_expect_str_eq(out, full, "a rule's message of the greatest length");

    denial_sentence(&(struct denial_words){.rule_message = "{image} is not allowed, ask us ({id}) {image}",
                                           .image = image,
                                           .id = "4f"},
                    out);
    cr_expect(strlen(out) <= DENIAL_SENTENCE_MAX && strlen(out) > DENIAL_SENTENCE_MAX - 4, "%zu", strlen(out));
    cr_expect(strstr(out, "i... is not allowed, ask us (4f) ii") && ends_with(out, "i..."), "values are cut: %s", out);
    free(own);
    free(umlauts);
    free(site);
    free(full);
    free(image);
}

Test(denial, templates) {
    char *full = repeat("s", DENIAL_SENTENCE_MAX);
    char *over = repeat("s", DENIAL_SENTENCE_MAX + 1);
    const struct {
        const char *why, *text, *says; ///< `says` NULL: valid.
    } rows[] = {
        {"plain text", "Ask platform@example.com: https://wiki.example/images", NULL},
        {"all placeholders", "{image} {registry} {rule} {who} {id}", NULL},
        {"only a placeholder", "{id}", NULL},
        {"UTF-8", "Nicht zulässig – fragen Sie uns", NULL},
        {"the greatest length", full, NULL},
        {"longer", over, "401 bytes"},
        {"an unknown placeholder", "{user} may not", "'{user}'"},
        {"a placeholder in upper case", "{Image}", "'{Image}'"},
        {"an empty placeholder", "{}", "'{}'"},
        {"doubled braces", "{{image}}", "placeholder"},
        {"an open brace", "see {image", "'{'"},
        {"a closing brace", "see image}", "'}'"},
        {"empty", "", "empty"},
        {"blank", "   ", "empty"},
        {"a line break", "a\nb", "byte 2"},
        {"a tab", "a\tb", "byte 2"},
        {"an escape", "\x1b[31m", "byte 1"},
        {"broken UTF-8", "ab\xff", "byte 3"},
        {"a line separator", "a\xe2\x80\xa8", "byte 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {""};
        bool valid = denial_template_valid(rows[i].text, &err);
        cr_expect_eq(valid, rows[i].says == NULL, "%s: %s", rows[i].why, err.text);
        if (rows[i].says)
            cr_expect(strstr(err.text, rows[i].says), "%s: '%s' does not say %s", rows[i].why, err.text, rows[i].says);
    }
    free(full);
    free(over);
}

Test(denial, own_words) {
    static const struct {
        const char *why;
        enum denial_reason reason;
        struct denial_subject subject;
        const char *says;
    } rows[] = {
        {"an unlisted registry",
         REASON_REGISTRY_NOT_LISTED,
         {.action = ACTION_PULL, .image = "quay.io/a/b:1", .registry = "quay.io"},
         "quay.io/a/b:1 may not be pulled: quay.io is not one of this site's registries: add it to \"registries\""},
        {"what stands for unlisted registries",
         REASON_REGISTRY_NOT_LISTED,
         {.action = ACTION_PULL, .image = "unlisted.pullgate.invalid/a/b:1", .registry = "unlisted.pullgate.invalid"},
         "a/b:1 may not be pulled: its registry is not one of this site's registries"},
        {"a rule",
         REASON_RULE,
         {.action = ACTION_PULL, .image = "docker.io/acme/app:1", .rule = "rules[2]"},
         "docker.io/acme/app:1 may not be pulled: denied by rule rules[2]"},
        {"no rule",
         REASON_NO_RULE,
         {.action = ACTION_PULL, .image = "docker.io/acme/app:1", .detail = "unused"},
         "docker.io/acme/app:1 may not be pulled: no rule allows it"},
        {"a digest without a link",
         REASON_NO_LINK,
         {.action = ACTION_PULL, .image = "docker.io/acme/app@" D256},
         "docker.io/acme/app@" D256 " may not be pulled: pull it by an allowed tag first, or allow this digest"},
        {"a push",
         REASON_ACTION,
         {.action = ACTION_PUSH, .image = "docker.io/acme/app:1"},
         "docker.io/acme/app:1 may not be pushed: pushes are not permitted"},
        {"a deletion",
         REASON_ACTION,
         {.action = ACTION_DELETE, .image = "docker.io/acme/app:1"},
         "docker.io/acme/app:1 may not be deleted: deletions are not permitted"},
        {"the catalogue", REASON_ACTION, {.action = ACTION_LIST}, "the catalogue of a registry may not be listed"},
        {"a list",
         REASON_NO_RULE,
         {.action = ACTION_LIST, .image = "docker.io/acme/app"},
         "docker.io/acme/app may not be listed: no rule allows it"},
        {"a redirect, in the target's own words",
         REASON_REDIRECT_HOST,
         {.action = ACTION_PULL,
          .image = "ghcr.io/a/b:1",
          .detail = "add cdn.example to \"redirect_hosts\" of ghcr.io"},
         "ghcr.io/a/b:1 may not be pulled: add cdn.example to \"redirect_hosts\" of ghcr.io"},
        {"a stranger's text",
         REASON_MALFORMED,
         {.action = ACTION_PULL, .image = "ghcr.io/a/b:1", .detail = "bad \x1b[0m\n key"},
         "ghcr.io/a/b:1 may not be pulled: bad ?[0m  key"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[512];
        denial_own_words(rows[i].reason, &rows[i].subject, out, sizeof out);
        cr_expect_str_eq(out, rows[i].says, "%s: '%s'", rows[i].why, out);
    }
    for (int reason = REASON_NONE; reason <= REASON_LOOP; reason++) {
        char out[512];
        struct denial_subject empty = {.action = ACTION_PULL};
        denial_own_words((enum denial_reason)reason, &empty, out, sizeof out);
        cr_expect(strlen(out) > 8, "%s has words without any detail: '%s'",
                  denial_reason_word((enum denial_reason)reason), out);
    }
}

Test(denial, own_words_keep_the_why_of_a_long_image) {
    char *repository = repeat("a", 500);
    char image[600];
    char out[DENIAL_SENTENCE_MAX + 1];
    snprintf(image, sizeof image, "docker.io/%s:tag", repository);
    struct denial_subject subject = {.action = ACTION_PULL, .image = image, .rule = "P-17"};
    denial_own_words(REASON_RULE, &subject, out, sizeof out);
    cr_expect(strncmp(out, "docker.io/aaa", 13) == 0 && strstr(out, "a...a") && strstr(out, "a:tag may not"), "%s",
              out);
    cr_expect(ends_with(out, "denied by rule P-17"), "%s", out);
    char small[8];
    denial_own_words(REASON_RULE, &subject, small, sizeof small);
    cr_expect_str_eq(small, "dock...", "cut to its room");
    free(repository);
}

Test(denial, reasons_have_distinct_words) {
    for (int i = REASON_NONE; i <= REASON_LOOP; i++)
        for (int j = REASON_NONE; j < i; j++)
            cr_expect_str_neq(denial_reason_word((enum denial_reason)i), denial_reason_word((enum denial_reason)j));
    cr_expect_str_eq(denial_reason_word(REASON_UPSTREAM_AUTH), "upstream_auth");
    cr_expect_str_eq(denial_reason_word(REASON_REGISTRY_NOT_LISTED), "registry_not_listed");
}
