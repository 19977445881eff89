// SPDX-License-Identifier: Apache-2.0
//
// What plan_write() did, as JSON for whatever runs it on many machines.

#include "gateway/clients/plan_inside.h"

#include <string.h>

enum { PRINT_JSON_MAX = 64 * 1024 };

/// What plan_write() did with a file, in one word.
static const char *did_word(enum plan_did did) {
    static const char *const words[] = {[DID_WRITE] = "written", [DID_NOTHING] = "unchanged", [DID_ASIDE] = "aside",
                                        [DID_LEAVE] = "left",    [DID_REFUSE] = "refused",    [DID_FAIL] = "failed"};
    return words[did];
}

static void print_string(const char *text, FILE *out) {
    struct buf json;
    buf_init(&json, PRINT_JSON_MAX);
    buf_add_json(&json, text, strlen(text));
    fputs(json.data, out);
    buf_deinit(&json);
}

static void print_json_files(const struct client_plan *p, FILE *out) {
    for (size_t i = 0; i < p->outcome_count; i++) {
        const struct plan_outcome *o = &p->outcomes[i];
        fputs(i > 0 ? ",{\"path\":" : "{\"path\":", out);
        print_string(o->path, out);
        fprintf(out, ",\"what\":\"%s\"", did_word(o->did));
        if (o->about[0] != '\0') {
            fputs(",\"about\":", out);
            print_string(o->about, out);
        }
        fputc('}', out);
    }
}

static void print_json_lines(const struct client_plan *p, const struct plan_lines *l, FILE *out) {
    size_t told = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (l == &p->runs && !plan_is_to_run(p, &l->lines[i]))
            continue;
        fputs(told++ > 0 ? "," : "", out);
        print_string(l->lines[i].text, out);
    }
}

void plan_print_json(const struct client_plan *p, FILE *out) {
    fprintf(out, "{\"changed\":%s,\"files\":[", p->changed ? "true" : "false");
    print_json_files(p, out);
    fputs("],\"run\":[", out);
    print_json_lines(p, &p->runs, out);
    fputs("],\"open\":[", out);
    print_json_lines(p, &p->open, out);
    fputs("],\"notes\":[", out);
    print_json_lines(p, &p->notes, out);
    fputs("]}\n", out);
}
