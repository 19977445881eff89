// SPDX-License-Identifier: Apache-2.0
//
// Reports of machines: what is taken, what is kept, who makes room, how they stand, and that a restart keeps them.

#include "gateway/compliance/listing.h"
#include "gateway/compliance/rate.h"
#include "gateway/compliance/reports.h"
#include "gateway/compliance/told.h"
#include "gateway/compliance/verdict.h"
#include "gateway/doctor/report.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const catalog[] = {PULLGATE_CATALOG_SOURCE, NULL};
static const int64_t now = 1790000000;

#define HEAD "{\"format\":1,\"machine\":\"web-1\",\"time\":\"2026-09-21T10:00:00Z\""
#define CLIENT(uses, leaves) "{\"name\":\"docker\",\"version\":\"29\",\"uses\":\"" uses "\",\"leaves\":\"" leaves "\"}"
#define FINDING(severity) "{\"client\":\"docker\",\"severity\":\"" severity "\",\"code\":\"fallback\",\"what\":\"w\"}"

static struct told *told(const char *text) {
    struct err err = {""};
    struct told *t = told_parse(text, strlen(text), &err);
    cr_assert_not_null(t, "%s: %s", text, err.text);
    return t;
}

static struct told *of_machine(const char *machine, const char *id) {
    char *text = mem_printf("{\"format\":1,\"machine\":\"%s\",\"machine_id\":\"%s\",\"time\":\"2026-09-21T10:00:00Z\","
                            "\"verdict\":\"closed\"}",
                            machine, id);
    struct told *t = told(text);
    free(text);
    return t;
}

// --- what is taken ---

static const struct {
    const char *why, *text, *error; ///< NULL: taken, with `verdict`.
    enum told_verdict verdict;
} told_rows[] = {
    {"the least", HEAD ",\"verdict\":\"closed\"}", NULL, TOLD_CLOSED},
    {"a newer doctor may say more", HEAD ",\"verdict\":\"closed\",\"news\":[{}]}", NULL, TOLD_CLOSED},
    {"nulls are nothing told",
     HEAD ",\"verdict\":\"unknown\",\"machine_id\":null,\"gateway\":null,\"site\":null,\"pullgate\":null}", NULL,
     TOLD_UNKNOWN},
    {"a tool that nothing binds can leave, and only the network closes it: a warning of doctor's",
     HEAD ",\"verdict\":\"closed\",\"clients\":[" CLIENT("no", "yes") "],\"findings\":[" FINDING("warning") "]}", NULL,
     TOLD_CLOSED},
    {"an open finding is open, whatever the verdict says",
     HEAD ",\"verdict\":\"closed\",\"findings\":[" FINDING("open") "]}", NULL, TOLD_OPEN},
    {"what could not be told is not closed", HEAD ",\"verdict\":\"closed\",\"findings\":[" FINDING("unknown") "]}",
     NULL, TOLD_UNKNOWN},
    {"a warning opens nothing", HEAD ",\"verdict\":\"closed\",\"findings\":[" FINDING("warning") "]}", NULL,
     TOLD_CLOSED},
    {"open stays open", HEAD ",\"verdict\":\"open\"}", NULL, TOLD_OPEN},
    {"nothing", "", "no JSON", 0},
    {"a part", HEAD, "no JSON", 0},
    {"a key twice", HEAD ",\"verdict\":\"open\",\"verdict\":\"closed\"}", "no JSON", 0},
    {"a list", "[]", "\"format\"", 0},
    {"another format", "{\"format\":2}", "\"format\"", 0},
    {"no machine", "{\"format\":1,\"time\":\"2026-09-21T10:00:00Z\",\"verdict\":\"closed\"}", "\"machine\"", 0},
    {"a machine of another type",
     "{\"format\":1,\"machine\":1,\"time\":\"2026-09-21T10:00:00Z\",\"verdict\":\"closed\"}", "\"machine\"", 0},
    {"no time", "{\"format\":1,\"machine\":\"m\",\"verdict\":\"closed\"}", "\"time\"", 0},
    {"a time that is none", "{\"format\":1,\"machine\":\"m\",\"time\":\"noon\",\"verdict\":\"closed\"}", "\"time\"", 0},
    {"no verdict", HEAD "}", "\"verdict\"", 0},
    {"a verdict of its own", HEAD ",\"verdict\":\"fine\"}", "\"verdict\"", 0},
    {"clients that are no list", HEAD ",\"verdict\":\"closed\",\"clients\":{}}", "\"clients\"", 0},
    {"a client that is no object", HEAD ",\"verdict\":\"closed\",\"clients\":[1]}", "\"clients\"", 0},
    {"a client without a name", HEAD ",\"verdict\":\"closed\",\"clients\":[{\"uses\":\"yes\",\"leaves\":\"no\"}]}",
     "\"name\"", 0},
    {"a client in other words", HEAD ",\"verdict\":\"closed\",\"clients\":[" CLIENT("maybe", "no") "]}", "\"clients\"",
     0},
    {"a finding of another severity", HEAD ",\"verdict\":\"closed\",\"findings\":[" FINDING("fatal") "]}",
     "\"findings\"", 0},
    {"a finding without a code",
     HEAD ",\"verdict\":\"closed\",\"findings\":[{\"client\":\"c\",\"severity\":\"open\",\"what\":\"w\"}]}", "\"code\"",
     0},
    {"counts that are none", HEAD ",\"verdict\":\"closed\",\"counted\":{\"open\":-1,\"unknown\":0,\"warnings\":0}}",
     "\"counted\"", 0},
};

Test(compliance, told) {
    for (size_t i = 0; i < sizeof told_rows / sizeof told_rows[0]; i++) {
        struct err err = {""};
        struct told *t = told_parse(told_rows[i].text, strlen(told_rows[i].text), &err);
        cr_expect_eq(t != NULL, told_rows[i].error == NULL, "%s: %s", told_rows[i].why, err.text);
        if (t != NULL)
            cr_expect_eq(t->verdict, told_rows[i].verdict, "%s: %d", told_rows[i].why, (int)t->verdict);
        else
            cr_expect_not_null(strstr(err.text, told_rows[i].error), "%s: %s", told_rows[i].why, err.text);
        told_free(t);
    }
}

Test(compliance, never_echoed) {
    struct err err = {""};
    const char *text = "{\"format\":1,\"machine\":\"m\",\"verdict\":\"hunter2\"}";
    cr_expect_null(told_parse(text, strlen(text), &err));
    cr_expect_null(strstr(err.text, "hunter2"), "%s", err.text);
    cr_expect_null(told_parse("hunter2", 7, &err));
    cr_expect_null(strstr(err.text, "hunter2"), "%s", err.text);
}

/// What is kept is a report, and reads back as the same.
static void expect_stable(const struct told *t) {
    struct told *again = told(t->text);
    cr_expect_str_eq(again->text, t->text);
    cr_expect_eq(again->verdict, t->verdict);
    cr_expect_eq(again->open, t->open);
    cr_expect_eq(again->unknown, t->unknown);
    cr_expect_eq(again->warnings, t->warnings);
    told_free(again);
}

Test(compliance, kept_is_bounded) {
    struct buf b;
    buf_init(&b, REPORT_TEXT_MAX);
    buf_adds(&b, HEAD ",\"machine_id\":\"id\",\"verdict\":\"open\",\"clients\":[");
    for (int i = 0; i < TOLD_CLIENTS_MAX; i++)
        buf_addf(
            &b,
            "%s{\"name\":\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\""
            "\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\",\"version\":\"1\",\"uses\":\"yes\",\"leaves\":\"no\"}",
            i > 0 ? "," : "");
    buf_adds(&b, "],\"findings\":[");
    for (int i = 0; i < 100; i++)
        buf_addf(&b,
                 "%s{\"client\":\"c%d\",\"severity\":\"%s\",\"code\":\"x\",\"where\":\"/etc/%d\",\"what\":\"%0300d\"}",
                 i > 0 ? "," : "", i,
                 i % 3 == 0   ? "open"
                 : i % 3 == 1 ? "unknown"
                              : "ok",
                 i, i);
    buf_adds(&b, "]}");
    cr_assert_not(b.overflow);
    struct told *t = told(b.data);
    cr_expect_leq(t->len, TOLD_TEXT_MAX);
    cr_expect_eq(t->open, 34, "all are counted");
    cr_expect_eq(t->unknown, 33, "all are counted");
    cr_expect_null(strstr(t->text, "\"unknown\",\"code\""), "the worst are kept");
    cr_expect_not_null(strstr(t->text, "\"c0\""), "the worst are kept");
    struct json *root = json_parse(t->text, t->len, JSON_STRICT, NULL);
    cr_assert_not_null(root, "%s", t->text);
    cr_expect_leq(json_get(root, "findings")->count, TOLD_FINDINGS_MAX);
    cr_expect_gt(json_get(root, "findings")->count, 0);
    json_free(root);
    expect_stable(t);
    told_free(t);
    buf_deinit(&b);
}

Test(compliance, too_much) {
    struct err err = {""};
    char *text = mem_zalloc(REPORT_TEXT_MAX + 1, 1);
    memset(text, ' ', REPORT_TEXT_MAX + 1);
    cr_expect_null(told_parse(text, REPORT_TEXT_MAX + 1, &err));
    cr_expect_not_null(strstr(err.text, "over 65536 bytes"), "%s", err.text);
    free(text);
    struct buf b;
    buf_init(&b, REPORT_TEXT_MAX);
    buf_adds(&b, HEAD ",\"verdict\":\"closed\",\"clients\":[" CLIENT("yes", "no"));
    for (int i = 0; i < TOLD_CLIENTS_MAX; i++)
        buf_adds(&b, "," CLIENT("yes", "no"));
    buf_adds(&b, "]}");
    cr_expect_null(told_parse(b.data, b.len, &err), "one client too many");
    buf_deinit(&b);
}

Test(compliance, printable) {
    struct told *t = told("{\"format\":1,\"machine\":\"a\\u001b[31mb\\u202e\\nc\",\"time\":\"2026-09-21T10:00:00Z\","
                          "\"verdict\":\"closed\"}");
    cr_expect_str_eq(t->machine, "a?[31mb? c", "%s", t->machine);
    expect_stable(t);
    told_free(t);
}

// --- how they stand ---

static const struct {
    const char *why;
    const char *report; ///< NULL: never.
    int64_t age;
    const char *site; ///< The gateway's.
    enum compliance status;
} verdict_rows[] = {
    {"nothing open, lately, this site", HEAD ",\"verdict\":\"closed\",\"site\":\"0123456789ab\"}", 60, "0123456789ab",
     COMPLIANCE_COMPLIANT},
    {"at the last moment", HEAD ",\"verdict\":\"closed\",\"site\":\"0123456789ab\"}", 3600, "0123456789ab",
     COMPLIANCE_COMPLIANT},
    {"too old", HEAD ",\"verdict\":\"closed\",\"site\":\"0123456789ab\"}", 3601, "0123456789ab", COMPLIANCE_OUTDATED},
    {"another site", HEAD ",\"verdict\":\"closed\",\"site\":\"ffffffffffff\"}", 60, "0123456789ab",
     COMPLIANCE_OUTDATED},
    {"what is open stays open", HEAD ",\"verdict\":\"open\",\"site\":\"ffffffffffff\"}", 999999, "0123456789ab",
     COMPLIANCE_NON_COMPLIANT},
    {"something could not be told", HEAD ",\"verdict\":\"unknown\",\"site\":\"0123456789ab\"}", 60, "0123456789ab",
     COMPLIANCE_UNKNOWN},
    {"too old goes before what could not be told", HEAD ",\"verdict\":\"unknown\"}", 3601, "0123456789ab",
     COMPLIANCE_OUTDATED},
    {"no description was at hand there", HEAD ",\"verdict\":\"closed\"}", 60, "0123456789ab", COMPLIANCE_UNKNOWN},
    {"nor is there one here", HEAD ",\"verdict\":\"closed\",\"site\":\"0123456789ab\"}", 60, "", COMPLIANCE_COMPLIANT},
    {"never reported", NULL, 0, "0123456789ab", COMPLIANCE_UNKNOWN},
    {"a clock that went back", HEAD ",\"verdict\":\"closed\",\"site\":\"0123456789ab\"}", -60, "0123456789ab",
     COMPLIANCE_COMPLIANT},
    {"a clock that was years ahead", HEAD ",\"verdict\":\"closed\",\"site\":\"0123456789ab\"}", -3601, "0123456789ab",
     COMPLIANCE_OUTDATED},
    {"what is open is open at any time", HEAD ",\"verdict\":\"open\",\"site\":\"0123456789ab\"}", -999999,
     "0123456789ab", COMPLIANCE_NON_COMPLIANT},
};

Test(compliance, verdict) {
    for (size_t i = 0; i < sizeof verdict_rows / sizeof verdict_rows[0]; i++) {
        struct told *t = verdict_rows[i].report != NULL ? told(verdict_rows[i].report) : NULL;
        struct compliance_terms terms = {now, 3600, verdict_rows[i].site};
        const char *why = NULL;
        enum compliance c = compliance_judge(t, now - verdict_rows[i].age, &terms, &why);
        cr_expect_eq(c, verdict_rows[i].status, "%s: %s", verdict_rows[i].why, compliance_word(c));
        cr_expect(why != NULL && why[0] != '\0', "%s: no why", verdict_rows[i].why);
        told_free(t);
    }
}

// --- how often ---

Test(compliance, rate) {
    struct rate *r = rate_new(60);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rate_take(r, "a", 1, 3, now), 0, "within the bound");
    cr_expect_eq(rate_take(r, "a", 1, 3, now + 10), 50, "until the window ends");
    cr_expect_eq(rate_take(r, "b", 1, 3, now + 10), 0, "others are not meant");
    cr_expect_eq(rate_take(r, "a", 1, 3, now + 60), 0, "a new window");
    cr_expect_eq(rate_take(r, "a", 1, 3, now - 1000), 0, "a clock that went back does not lock anyone out");
    char key[16];
    for (int i = 0; i < RATE_ENTRIES_MAX + 10; i++)
        rate_take(r, key, (size_t)snprintf(key, sizeof key, "%d", i), 3, now);
    cr_expect_eq(rate_take(r, "a", 1, 3, now), 0, "bounded: a was forgotten");
    rate_free(r);
}

Test(compliance, who_is_slowed) {
    struct reports *r = reports_new(NULL, NULL, NULL, NULL);
    for (int i = 0; i < REPORTS_BY_NAME; i++)
        cr_expect_eq(reports_wait(r, "user:ann", "10.0.0.1", now), 0);
    cr_expect_gt(reports_wait(r, "user:ann", "10.0.0.2", now), 0, "a name counts wherever it comes from");
    cr_expect_eq(reports_wait(r, "user:bob", "10.0.0.1", now), 0, "and another is another");
    for (int i = 0; i < REPORTS_BY_ADDRESS; i++)
        cr_expect_eq(reports_wait(r, NULL, "2001:db8::1", now), 0);
    cr_expect_gt(reports_wait(r, NULL, "2001:db8::ffff", now), 0, "a /64 is one");
    cr_expect_eq(reports_wait(r, NULL, "2001:db8:0:1::1", now), 0, "another /64 is another");
    cr_expect_eq(reports_wait(r, NULL, "", now), 0, "no address at all");
    reports_free(r);
}

// --- what is kept ---

static size_t kept_count(struct reports *r) {
    size_t count = 0;
    struct kept **list = reports_all(r, &count);
    reports_release(r, list, count);
    return count;
}

static bool is_kept(struct reports *r, const char *name) {
    size_t count = 0;
    bool found = false;
    struct kept **list = reports_all(r, &count);
    for (size_t i = 0; i < count; i++)
        found = found || strcmp(list[i]->name, name) == 0;
    reports_release(r, list, count);
    return found;
}

Test(compliance, keys) {
    struct reports *r = reports_new(NULL, NULL, NULL, NULL);
    reports_keep(r, "user:ann", "10.0.0.1", of_machine("a", "1"), now);
    reports_keep(r, "user:ann", "10.0.0.2", of_machine("b", "2"), now + 1);
    cr_expect_eq(kept_count(r), 1, "one name, one report");
    reports_keep(r, NULL, "10.0.0.1", of_machine("a", "1"), now);
    reports_keep(r, NULL, "10.0.0.1", of_machine("a", "2"), now);
    reports_keep(r, NULL, "10.0.0.2", of_machine("a", "1"), now);
    reports_keep(r, NULL, "10.0.0.2", of_machine("renamed", "1"), now);
    cr_expect_eq(kept_count(r), 4, "the others by address and machine-id");
    reports_keep(r, "10.0.0.1 1", "10.0.0.9", of_machine("a", "1"), now);
    cr_expect_eq(kept_count(r), 5, "a name is never taken for an address");
    size_t count = 0;
    struct kept **list = reports_all(r, &count);
    cr_expect(list[0]->verified && list[1]->verified && !list[2]->verified, "the identified first");
    cr_expect_str_eq(list[0]->name, "10.0.0.1 1", "who reported last");
    cr_expect_str_eq(list[1]->told->machine, "b", "the last report");
    reports_free(NULL);
    reports_release(r, list, count);
    reports_free(r);
}

Test(compliance, room) {
    struct reports *r = reports_new(NULL, NULL, NULL, NULL);
    char address[64], id[16];
    reports_keep(r, "user:first", "10.0.0.1", of_machine("m", "x"), now);
    for (int i = 0; i < REPORTS_PER_ADDRESS_MAX + 5; i++) {
        snprintf(id, sizeof id, "%d", i);
        reports_keep(r, NULL, "10.9.9.9", of_machine("m", id), now);
    }
    cr_expect_eq(kept_count(r), 1 + REPORTS_PER_ADDRESS_MAX, "one address has so many at most");
    cr_expect_not(is_kept(r, "10.9.9.9 4"), "its oldest made room");
    cr_expect(is_kept(r, "10.9.9.9 5"));
    for (int i = 0; i < REPORTS_MAX; i++) {
        snprintf(address, sizeof address, "10.1.%d.%d", i / 250, i % 250);
        reports_keep(r, NULL, address, of_machine("m", "1"), now);
    }
    cr_expect_eq(kept_count(r), REPORTS_MAX);
    cr_expect(is_kept(r, "user:first"), "strangers never push out who was identified");
    for (int i = 0; i < REPORTS_MAX; i++) {
        snprintf(address, sizeof address, "user:%d", i);
        reports_keep(r, address, "10.0.0.1", of_machine("m", "1"), now);
    }
    cr_expect_eq(kept_count(r), REPORTS_MAX);
    cr_expect_not(is_kept(r, "user:first"), "the identified make room for each other");
    cr_expect(is_kept(r, "user:0"));
    cr_expect_not(reports_keep(r, NULL, "10.0.0.1", of_machine("m", "1"), now), "there is no room for strangers now");
    cr_expect_eq(kept_count(r), REPORTS_MAX);
    cr_expect(is_kept(r, "user:0"), "not even the oldest of the identified makes room for one");
    cr_expect(reports_keep(r, "user:0", "10.0.0.1", of_machine("m", "1"), now), "who is kept reports again");
    reports_free(r);
}

Test(compliance, room_of_a_network) {
    struct reports *r = reports_new(NULL, NULL, NULL, NULL);
    char address[64];
    for (int i = 0; i < REPORTS_PER_ADDRESS_MAX + 5; i++) {
        snprintf(address, sizeof address, "2001:db8::%x", i + 1);
        cr_expect(reports_keep(r, NULL, address, of_machine("m", "1"), now));
    }
    cr_expect_eq(kept_count(r), REPORTS_PER_ADDRESS_MAX, "a /64 is one address, however many it has");
    cr_expect_not(is_kept(r, "2001:db8::5 1"), "its oldest made room");
    cr_expect(is_kept(r, "2001:db8::6 1"));
    cr_expect(reports_keep(r, NULL, "2001:db8::6", of_machine("m", "1"), now), "the same again");
    cr_expect(reports_keep(r, NULL, "2001:db8:0:1::1", of_machine("m", "1"), now), "another network is another");
    cr_expect_eq(kept_count(r), REPORTS_PER_ADDRESS_MAX + 1);
    for (int i = 0; i < REPORTS_PER_ADDRESS_MAX; i++) {
        snprintf(address, sizeof address, "::ffff:10.0.%d.%d", i / 250, i % 250);
        reports_keep(r, NULL, address, of_machine("m", "1"), now);
    }
    cr_expect_eq(kept_count(r), 2 * REPORTS_PER_ADDRESS_MAX + 1, "IPv4 addresses in IPv6 are no network");
    reports_free(r);
}

// --- over a restart ---

static char *make_directory(void) {
    char *path = mem_strdup("/tmp/pullgate-compliance-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
    return path;
}

static void remove_directory(char *path) {
    char *file = mem_printf("%s/" REPORTS_FILE, path);
    unlink(file);
    cr_expect_eq(rmdir(path), 0, "nothing else was left there");
    free(file);
    free(path);
}

static void remember(void *ctx, const char *sentence) {
    snprintf(ctx, ERR_TEXT_MAX, "%s", sentence);
}

Test(compliance, restart) {
    char *directory = make_directory();
    char *inside = mem_printf("%s/state", directory);
    struct reports *r = reports_new(inside, NULL, NULL, NULL);
    reports_free(r);
    cr_expect_neq(access(inside, F_OK), 0, "nothing is made where nothing was reported");
    r = reports_new(inside, NULL, NULL, NULL);
    reports_keep(r, "user:\"ann\"", "10.0.0.1", of_machine("a", "1"), now);
    reports_keep(r, NULL, "10.0.0.2", of_machine("b", "2"), now + 5);
    reports_keep(r, NULL, "10.0.0.3", of_machine("c", "3"), now + 6);
    reports_free(r);
    struct stat st;
    char *file = mem_printf("%s/" REPORTS_FILE, inside);
    cr_assert_eq(stat(file, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    r = reports_new(inside, NULL, NULL, NULL);
    size_t count = 0;
    struct kept **list = reports_all(r, &count);
    cr_assert_eq(count, 3);
    cr_expect_str_eq(list[0]->name, "user:\"ann\"");
    cr_expect(list[0]->verified);
    cr_expect_eq(list[0]->received, now);
    cr_expect_str_eq(list[1]->name, "10.0.0.3 3", "in their order");
    cr_expect_str_eq(list[2]->address, "10.0.0.2");
    cr_expect_not(list[2]->verified);
    cr_expect_str_eq(list[2]->told->machine, "b");
    reports_release(r, list, count);
    reports_free(r);
    free(file);
    remove_directory(inside);
    rmdir(directory);
    free(directory);
}

Test(compliance, damaged_file) {
    static const struct {
        const char *why, *line;
    } rows[] = {
        {"no JSON", "{\"address\":"},
        {"no report", "{\"address\":\"10.0.0.1\",\"received\":1}"},
        {"a report that is none", "{\"address\":\"10.0.0.1\",\"received\":1,\"report\":{\"format\":1}}"},
        {"no address", "{\"received\":1,\"report\":" HEAD ",\"verdict\":\"closed\"}}"},
        {"no time", "{\"address\":\"10.0.0.1\",\"report\":" HEAD ",\"verdict\":\"closed\"}}"},
        {"something behind the report",
         "{\"address\":\"a\",\"received\":1,\"report\":" HEAD ",\"verdict\":\"closed\"},\"x\":1}"},
        {"an empty line", ""},
        {"a time before time",
         "{\"address\":\"a\",\"received\":-9223372036854775808,\"report\":" HEAD ",\"verdict\":\"closed\"}}"},
    };
    char *directory = make_directory(), heard[ERR_TEXT_MAX] = "";
    char *file = mem_printf("%s/" REPORTS_FILE, directory);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        FILE *f = fopen(file, "w");
        cr_assert_not_null(f);
        fprintf(f, "%s\n{\"address\":\"10.0.0.7\",\"received\":7,\"report\":" HEAD ",\"verdict\":\"closed\"}}\n",
                rows[i].line);
        fclose(f);
        struct reports *r = reports_new(directory, remember, heard, NULL);
        cr_expect_eq(kept_count(r), 1, "%s: what is good is kept", rows[i].why);
        cr_expect(is_kept(r, "10.0.0.7"), "%s", rows[i].why);
        cr_expect_not_null(strstr(heard, "1 of its lines"), "%s: %s", rows[i].why, heard);
        reports_free(r);
    }
    free(file);
    remove_directory(directory);
}

Test(compliance, no_place) {
    char heard[ERR_TEXT_MAX] = "";
    struct reports *r = reports_new("/dev/null/state", remember, heard, NULL);
    cr_expect_str_eq(heard, "", "a place that is not there holds nothing");
    reports_keep(r, "user:ann", "10.0.0.1", of_machine("a", "1"), now);
    cr_expect_eq(kept_count(r), 1, "it is kept all the same");
    reports_free(r);
    cr_expect_not_null(strstr(heard, "/dev/null/state"), "and somebody hears: %s", heard);
}

// --- many at once ---

static void *report_often(void *arg) {
    struct reports *r = arg;
    char name[32];
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "user:%d", i % 50);
        reports_wait(r, name, "10.0.0.1", now);
        reports_keep(r, name, "10.0.0.1", of_machine("m", "1"), now + i);
    }
    return NULL;
}

Test(compliance, threads) {
    char *directory = make_directory();
    struct reports *r = reports_new(directory, NULL, NULL, NULL);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, report_often, r);
    for (int i = 0; i < 200; i++)
        cr_expect_leq(kept_count(r), 50);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(kept_count(r), 50);
    reports_free(r);
    r = reports_new(directory, NULL, NULL, NULL);
    cr_expect_eq(kept_count(r), 50);
    reports_free(r);
    remove_directory(directory);
}

// --- told of ---

static struct config *configured(const char *text) {
    struct err err = {""};
    struct config *c = config_parse(text, strlen(text), NULL, catalog, &err);
    cr_assert_not_null(c, "%s", err.text);
    return c;
}

static struct json *listed(struct reports *r, const struct config *c, const char *query) {
    char name[LISTING_NAME_MAX + 1];
    struct listing_filter filter;
    struct err err = {""};
    struct buf b;
    buf_init(&b, LISTING_TEXT_MAX);
    cr_assert(listing_filter_parse(query, strlen(query), &filter, name, &err), "%s: %s", query, err.text);
    cr_assert(listing_write(r, c, &filter, now, &b));
    struct json *root = json_parse(b.data, b.len, JSON_STRICT, &err);
    cr_assert_not_null(root, "%s: %s", b.data, err.text);
    buf_deinit(&b);
    return root;
}

/// The names of the machines listed, in order.
static void expect_listed(struct reports *r, const struct config *c, const char *query, const char *names) {
    struct json *root = listed(r, c, query);
    struct buf b;
    buf_init(&b, 4096);
    for (const struct json *m = json_get(root, "machines")->child; m != NULL; m = m->next)
        buf_addf(&b, "%s;", json_get_string(m, "name"));
    cr_expect_str_eq(b.data != NULL ? b.data : "", names, "%s", query);
    buf_deinit(&b);
    json_free(root);
}

static void report(struct reports *r, const struct config *c, const char *name, const char *machine,
                   const char *verdict, int64_t at) {
    char *text = mem_printf("{\"format\":1,\"machine\":\"%s\",\"time\":\"2026-09-21T10:00:00Z\",\"verdict\":\"%s\","
                            "\"site\":\"%s\",\"findings\":[" FINDING("warning") "]}",
                            machine, verdict, c->site_hash);
    char *address = mem_printf("10.0.0.%zu", strlen(machine));
    reports_keep(r, name, address, told(text), at);
    free(address);
    free(text);
}

Test(compliance, listing) {
    struct config *c =
        configured("{\"compliance\":{\"outdated_after\":\"1h\",\"expected\":[\"host:a\",\"bb\",\"ccc\"]}}");
    struct reports *r = reports_new(NULL, NULL, NULL, NULL);
    report(r, c, "host:a", "x", "closed", now - 10);
    report(r, c, "host:o&d", "x", "open", now - 20);
    report(r, c, "host:old", "x", "closed", now - 4000);
    report(r, c, NULL, "bb", "closed", now - 5);
    expect_listed(r, c, "", "host:old;host:o&d;host:a;10.0.0.2;ccc;");
    expect_listed(r, c, "status=compliant", "host:a;10.0.0.2;");
    expect_listed(r, c, "status=non-compliant", "host:o&d;");
    expect_listed(r, c, "status=outdated&", "host:old;");
    expect_listed(r, c, "&status=unknown", "ccc;");
    expect_listed(r, c, "name=host%3ao%26d", "host:o&d;");
    expect_listed(r, c, "name=bb", "10.0.0.2;");
    expect_listed(r, c, "name=bb&status=outdated", "");
    uint64_t counts[COMPLIANCE_COUNT];
    listing_count(r, c, now, counts);
    cr_expect(counts[COMPLIANCE_COMPLIANT] == 2 && counts[COMPLIANCE_NON_COMPLIANT] == 1 &&
              counts[COMPLIANCE_OUTDATED] == 1 && counts[COMPLIANCE_UNKNOWN] == 1);
    struct json *root = listed(r, c, "name=bb");
    const struct json *m = json_get(root, "machines")->child;
    cr_expect(!json_get(m, "verified")->boolean && json_get(m, "expected")->boolean);
    cr_expect_null(json_get(m, "report"), "findings are told when they are asked for");
    cr_expect_eq(json_get(json_get(root, "counts"), "non-compliant")->integer, 1, "of all, whatever the filter");
    json_free(root);
    root = listed(r, c, "name=host:a&findings=yes");
    m = json_get(root, "machines")->child;
    cr_expect_eq(json_get(json_get(m, "report"), "findings")->count, 1);
    json_free(root);
    reports_free(r);
    config_unref(c);
}

Test(compliance, forgotten) {
    struct config *c = configured("{\"compliance\":{\"forget_after\":\"2d\",\"expected\":[\"host:gone\"]}}");
    struct reports *r = reports_new(NULL, NULL, NULL, NULL);
    report(r, c, "host:gone", "x", "closed", now - 172801);
    report(r, c, "host:other", "y", "closed", now - 172801);
    report(r, c, NULL, "zz", "closed", now - 172801);
    report(r, c, "host:a", "x", "closed", now - 10);
    report(r, c, NULL, "bb", "closed", now - 172800);
    expect_listed(r, c, "status=compliant", "host:a;");
    expect_listed(r, c, "status=outdated", "10.0.0.2;");
    expect_listed(r, c, "status=unknown", "host:gone;");
    expect_listed(r, c, "name=host:other", "");
    reports_free(r);
    config_unref(c);
}

Test(compliance, expected_names_are_not_claimed) {
    struct config *c = configured("{\"compliance\":{\"expected\":[\"cert:web-1\",\"user:ci\",\"web-2\"]}}");
    struct reports *r = reports_new(NULL, NULL, NULL, NULL);
    report(r, c, NULL, "cert:web-1", "closed", now);
    report(r, c, NULL, "user:ci", "closed", now);
    report(r, c, NULL, "web-2", "closed", now);
    struct json *root = listed(r, c, "status=unknown");
    const struct json *m = json_get(root, "machines")->child;
    cr_assert(m != NULL && m->next != NULL && m->next->next == NULL, "both are still missing");
    cr_expect_str_eq(json_get_string(m, "name"), "cert:web-1");
    cr_expect_str_eq(json_get_string(m->next, "name"), "user:ci");
    json_free(root);
    report(r, c, "cert:web-1", "anything", "closed", now);
    report(r, c, "user:ci", "anything", "closed", now);
    expect_listed(r, c, "status=unknown", "");
    reports_free(r);
    config_unref(c);
}

Test(compliance, filters_refused) {
    static const struct {
        const char *why, *query;
    } rows[] = {
        {"another status", "status=open"},
        {"another key", "stat=open"},
        {"no value", "status"},
        {"half an escape", "name=%4"},
        {"an escape that is none", "name=%zz"},
        {"a NUL", "name=%00"},
        {"findings in other words", "findings=1"},
        {"an escape at the very end", "name=a%"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[LISTING_NAME_MAX + 1];
        struct listing_filter filter;
        struct err err = {""};
        cr_expect_not(listing_filter_parse(rows[i].query, strlen(rows[i].query), &filter, name, &err), "%s",
                      rows[i].why);
        cr_expect_neq(err.text[0], '\0', "%s", rows[i].why);
    }
    char name[LISTING_NAME_MAX + 1], *query = mem_printf("name=%0*d", LISTING_NAME_MAX + 1, 0);
    struct listing_filter filter;
    cr_expect_not(listing_filter_parse(query, strlen(query), &filter, name, NULL), "too long");
    free(query);
}
