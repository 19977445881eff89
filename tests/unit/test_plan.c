// SPDX-License-Identifier: Apache-2.0
//
// Plans: what is merged, what is refused, what is kept of the old, and that nothing leaves the root.

#include "client_kit.h"

#include "gateway/clients/plan_inside.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const key[] = {"a", NULL};

static struct kit_run write_plan(struct client_plan *p, const char *root, bool strict) {
    struct kit_run r = {0};
    size_t len;
    FILE *out = open_memstream(&r.out, &len);
    r.ok = plan_write(p, root, strict, out, &r.result, &r.err);
    fclose(out);
    return r;
}

Test(plan, settings) {
    static const struct {
        const char *before, *after;
        bool strict_only, strict;
        size_t changed, same, refused, backups;
        const char *why;
    } rows[] = {
        {NULL, "# why\na = 1\n", false, false, 1, 0, 0, 0, "a file that is missing is made"},
        {"# ours\nb = 2 # kept\n", "# ours\nb = 2 # kept\n# why\na = 1\n", false, false, 1, 0, 0, 1,
         "what is there stays, comments included"},
        {"a = 1\n", "a = 1\n", false, false, 0, 1, 0, 0, "what says so already is not written"},
        {"a = 2\n", "a = 2\n", true, false, 0, 1, 1, 0, "what only --strict changes is named without it"},
        {"a = 2\n", "a = 1\n", true, true, 1, 0, 0, 1, "and changed with it"},
        {"a = [\n", "a = [\n", false, true, 0, 0, 1, 0, "what does not parse is refused and stays"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root();
        if (rows[i].before != NULL)
            kit_put(root, "/etc/x/f.toml", rows[i].before);
        struct client_plan *p = plan_new();
        struct plan_file *f = plan_file(p, "/etc/x/f.toml", CONF_TOML);
        (rows[i].strict_only ? plan_set_strict : plan_set)(f, "why", "1", key);
        struct kit_run r = write_plan(p, root, rows[i].strict);
        char *after = kit_get(root, "/etc/x/f.toml");
        cr_expect(r.ok, "%s: %s", rows[i].why, r.err.text);
        cr_expect_str_eq(after, rows[i].after, "%s", rows[i].why);
        cr_expect_eq(r.result.changed, rows[i].changed, "%s", rows[i].why);
        cr_expect_eq(r.result.same, rows[i].same, "%s", rows[i].why);
        cr_expect_eq(r.result.refused, rows[i].refused, "%s", rows[i].why);
        cr_expect_eq(kit_count(root, "pullgate-backup"), rows[i].backups, "%s", rows[i].why);
        kit_done(&r);
        r = write_plan(p, root, rows[i].strict);
        cr_expect_eq(r.result.changed, 0, "%s: and nothing the second time", rows[i].why);
        cr_expect_eq(kit_count(root, "pullgate-backup"), rows[i].backups, "%s: nor a second copy", rows[i].why);
        kit_done(&r);
        free(after);
        plan_free(p);
        kit_drop(root);
    }
}

Test(plan, once) {
    struct client_plan *p = plan_new();
    struct plan_file *f = plan_file(p, "/f", CONF_JSON);
    cr_expect_eq(f, plan_file(p, "/f", CONF_JSON), "two clients that share a file share its plan");
    plan_set(f, "first", "1", key);
    plan_set(f, "second", "2", key);
    cr_expect_eq(f->count, 1, "a path stands once");
    cr_expect_str_eq(f->settings[0].value, "2", "and the last word holds");
    plan_run(p, "systemctl restart %s", "x");
    plan_run(p, "systemctl restart %s", "x");
    cr_expect_eq(p->runs.count, 1, "a command is told once");
    plan_free(p);
}

Test(plan, empty_json) {
    static const char *const empties[] = {"", "\n \n", "{}", "{}\n"};
    for (size_t i = 0; i < sizeof empties / sizeof empties[0]; i++) {
        struct client_plan *p = plan_new();
        struct plan_file *f = plan_file(p, "/f", CONF_JSON);
        struct buf text, left;
        struct err err = {""};
        buf_init(&text, CONF_TEXT_MAX);
        buf_init(&left, CONF_TEXT_MAX);
        buf_adds(&text, empties[i]);
        plan_set(f, "", "true", key);
        cr_expect_eq(plan_merge(f, false, &text, &left, &err), CONF_CHANGED, "\"%s\": %s", empties[i], err.text);
        cr_expect_not_null(strstr(text.data, "\"a\": true"), "\"%s\" became %s", empties[i], text.data);
        buf_deinit(&text);
        buf_deinit(&left);
        plan_free(p);
    }
}

Test(plan, block) {
    static const struct {
        const char *before, *block, *after, *why;
    } rows[] = {
        {"", "1 a\n", "B1 a\nE", "an empty file"},
        {"127.0.0.1 localhost", "1 a\n", "127.0.0.1 localhost\nB1 a\nE", "a last line without an end"},
        {"x\nB1 old\nEy\n", "1 new", "x\nB1 new\nEy\n", "replaced where it stands"},
        {"x\nB1 old\nEy\n", "", "x\ny\n", "taken out"},
        {"x\nB1 old\n", "1 a", NULL, "a mark that begins without an end"},
        {"E", "1 a", NULL, "a mark that ends without a beginning"},
    };
    static const char begin[] =
        "# BEGIN pullgate (written by `pullgate client`; what stands between the marks is replaced)\n";
    static const char end[] = "# END pullgate\n";
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf text, want;
        struct err err = {""};
        buf_init(&text, CONF_TEXT_MAX);
        buf_init(&want, CONF_TEXT_MAX);
        const char *texts[] = {rows[i].before, rows[i].after};
        for (size_t t = 0; t < 2; t++)
            for (const char *at = texts[t]; at != NULL && *at != '\0'; at++)
                buf_addf(t == 0 ? &text : &want, "%s%.*s",
                         *at == 'B'   ? begin
                         : *at == 'E' ? end
                                      : "",
                         *at != 'B' && *at != 'E', at);
        cr_expect_eq(plan_merge_block(rows[i].block, &text, &err), rows[i].after != NULL, "%s: %s", rows[i].why,
                     err.text);
        if (rows[i].after != NULL)
            cr_expect_str_eq(text.data, want.data, "%s", rows[i].why);
        buf_deinit(&text);
        buf_deinit(&want);
    }
}

// --- files as they are ---

static struct client_plan *text_plan(const char *path, mode_t mode) {
    struct client_plan *p = plan_new();
    plan_text(p, path, mode, "new\n");
    return p;
}

static mode_t mode_of(const char *root, const char *path) {
    struct stat st = {0};
    char *at = mem_printf("%s%s", root, path);
    cr_expect_eq(stat(at, &st), 0, "%s", at);
    free(at);
    return st.st_mode & 0777;
}

static void set_mode(const char *root, const char *path, mode_t mode) {
    char *at = mem_printf("%s%s", root, path);
    chmod(at, mode);
    free(at);
}

Test(plan, modes) {
    static const struct {
        mode_t before, asked, after;
        const char *why;
    } rows[] = {
        {0, 0644, 0644, "a new file"},
        {0, 0600, 0600, "a new secret"},
        {0640, 0644, 0640, "an old file keeps its mode"},
        {0644, 0600, 0600, "but not where it becomes a secret"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root();
        if (rows[i].before != 0) {
            kit_put(root, "/etc/f", "old\n");
            set_mode(root, "/etc/f", rows[i].before);
        }
        struct client_plan *p = text_plan("/etc/f", rows[i].asked);
        struct kit_run r = write_plan(p, root, false);
        cr_expect(r.ok, "%s: %s", rows[i].why, r.err.text);
        cr_expect_eq(mode_of(root, "/etc/f"), rows[i].after, "%s", rows[i].why);
        if (rows[i].before != 0)
            cr_expect_eq(mode_of(root, "/etc/f.pullgate-backup"), rows[i].before, "%s: the copy", rows[i].why);
        cr_expect_eq(kit_count(root, "pullgate-new"), 0, "%s: nothing half written stays", rows[i].why);
        kit_done(&r);
        plan_free(p);
        kit_drop(root);
    }
}

/// A secret that somebody made readable is closed again, and no readable copy of it is left.
Test(plan, a_secret_is_closed_again) {
    char *root = kit_root();
    struct client_plan *p = text_plan("/etc/f", 0600);
    struct kit_run r = write_plan(p, root, false);
    kit_done(&r);
    set_mode(root, "/etc/f", 0644);
    r = write_plan(p, root, false);
    cr_expect_eq(mode_of(root, "/etc/f"), 0600, "%s", r.out);
    cr_expect_not(kit_is(root, "/etc/f.pullgate-backup"), "%s", r.out);
    kit_done(&r);
    r = write_plan(p, root, false);
    cr_expect_eq(r.result.same, 1, "%s", r.out);
    kit_done(&r);
    plan_free(p);
    kit_drop(root);
}

Test(plan, backups_are_numbered) {
    char *root = kit_root();
    kit_put(root, "/f", "1\n");
    kit_put(root, "/f.pullgate-backup", "of somebody\n");
    struct client_plan *p = text_plan("/f", 0644);
    struct kit_run r = write_plan(p, root, false);
    char *kept = kit_get(root, "/f.pullgate-backup"), *mine = kit_get(root, "/f.pullgate-backup.1");
    cr_expect_str_eq(kept, "of somebody\n");
    cr_expect_str_eq(mine, "1\n");
    free(kept);
    free(mine);
    kit_done(&r);
    plan_free(p);
    kit_drop(root);
}

/// Below the root: etc/f is a link to `target`. Where does the text arrive?
Test(plan, links_stay_inside) {
    static const struct {
        const char *target, *arrives, *why;
    } rows[] = {
        {"real/f", "/etc/real/f", "a relative link is followed"},
        {"/opt/f", "/opt/f", "an absolute link counts from the root"},
        {"../../../../../../../opt/f", "/opt/f", "and none climbs out of it"},
        {"/opt/folder-link/f", "/opt/real/f", "also through a folder that is a link"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root(), *link_path = mem_printf("%s/etc/f", root),
             *folder = mem_printf("%s/opt/folder-link", root);
        kit_put(root, "/etc/real", NULL);
        kit_put(root, "/opt/real", NULL);
        cr_assert_eq(symlink(rows[i].target, link_path), 0);
        cr_assert_eq(symlink("/opt/real", folder), 0);
        struct client_plan *p = text_plan("/etc/f", 0644);
        struct kit_run r = write_plan(p, root, false);
        char *arrived = kit_get(root, rows[i].arrives);
        cr_expect(r.ok, "%s: %s", rows[i].why, r.err.text);
        cr_expect_str_eq(arrived, "new\n", "%s", rows[i].why);
        free(arrived);
        kit_done(&r);
        plan_free(p);
        free(link_path);
        free(folder);
        kit_drop(root);
    }
}

Test(plan, odd_files) {
    static const struct {
        const char *target;
        bool fifo, folder;
        const char *why;
    } rows[] = {
        {NULL, true, false, "a FIFO"},
        {NULL, false, true, "a folder"},
        {"f", false, false, "a link to itself"},
        {"/nowhere/at/all/f", false, false, "a link into a folder that is missing"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root(), *path = mem_printf("%s/f", root);
        if (rows[i].fifo)
            mkfifo(path, 0644);
        else if (rows[i].folder)
            mkdir(path, 0755);
        else
            cr_assert_eq(symlink(rows[i].target, path), 0);
        struct client_plan *p = text_plan("/f", 0644);
        struct kit_run r = write_plan(p, root, true);
        cr_expect(!r.ok || r.result.refused == 1, "%s", rows[i].why);
        cr_expect_eq(r.result.changed, 0, "%s", rows[i].why);
        cr_expect_eq(kit_count(root, "pullgate"), 1, "%s: nothing is left behind (but the root's own name)",
                     rows[i].why);
        kit_done(&r);
        plan_free(p);
        free(path);
        kit_drop(root);
    }
}

Test(plan, link) {
    char *root = kit_root();
    kit_put(root, "/etc/a/ca.crt", "a file\n");
    struct client_plan *p = plan_new();
    plan_link(p, "/etc/a/ca.crt", "/etc/pullgate/ca.crt");
    plan_link(p, "/etc/b/ca.crt", "/etc/pullgate/ca.crt");
    struct kit_run r = write_plan(p, root, false);
    cr_expect(r.ok, "%s", r.err.text);
    cr_expect_eq(r.result.changed, 2);
    char *kept = kit_get(root, "/etc/a/ca.crt.pullgate-backup"), target[64] = "",
         *path = mem_printf("%s/etc/a/ca.crt", root);
    cr_expect_str_eq(kept, "a file\n", "what was there is kept");
    cr_expect_gt(readlink(path, target, sizeof target - 1), 0);
    cr_expect_str_eq(target, "/etc/pullgate/ca.crt");
    kit_done(&r);
    r = write_plan(p, root, false);
    cr_expect_eq(r.result.same, 2, "and nothing the second time");
    kit_done(&r);
    free(kept);
    free(path);
    plan_free(p);
    kit_drop(root);
}

Test(plan, aside) {
    static const struct {
        const char *out_of, *now, *why;
    } rows[] = {
        {NULL, "/etc/d/ghcr.io.pullgate-aside/x", "in the same folder"},
        {"/etc/d", "/etc/ghcr.io.pullgate-aside/x", "beside the folder where names count"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root();
        kit_put(root, "/etc/d/ghcr.io/x", "x");
        struct client_plan *p = plan_new();
        plan_aside(p, "/etc/d/ghcr.io", "it wins", rows[i].out_of);
        plan_aside(p, "/etc/d/not-there", "it would win", rows[i].out_of);
        struct kit_run r = write_plan(p, root, false);
        cr_expect_eq(r.result.refused, 1, "%s: named without --strict", rows[i].why);
        cr_expect(kit_is(root, "/etc/d/ghcr.io/x"), "%s: and left", rows[i].why);
        kit_done(&r);
        r = write_plan(p, root, true);
        cr_expect_eq(r.result.aside, 1, "%s: %s", rows[i].why, r.out);
        cr_expect(kit_is(root, rows[i].now), "%s", rows[i].why);
        cr_expect_not(kit_is(root, "/etc/d/ghcr.io"), "%s", rows[i].why);
        kit_done(&r);
        plan_free(p);
        kit_drop(root);
    }
}

/// A report of what could not be written is read by more people than the file would be.
Test(plan, secrets_are_not_shown) {
    char *root = kit_root();
    kit_put(root, "/etc/secret", NULL);
    struct client_plan *p = plan_new();
    plan_text(p, "/etc/secret", 0600, "token\n");
    struct kit_run r = write_plan(p, root, true);
    cr_expect_eq(r.result.refused, 1, "%s", r.out);
    cr_expect_null(strstr(r.out, "token"), "%s", r.out);
    kit_done(&r);
    plan_free(p);
    kit_drop(root);
}

/// What a person must change on this machine is told, and is no success.
Test(plan, left) {
    char *root = kit_root();
    struct client_plan *p = plan_new();
    for (int i = 0; i < 2; i++)
        plan_left(p, "%s wins", "/etc/x");
    plan_open(p, "this does not count");
    struct kit_run r = write_plan(p, root, true);
    cr_expect_eq(r.result.refused, 1, "said twice, counted once");
    kit_done(&r);
    plan_free(p);
    kit_drop(root);
}

static char *rest_of(const struct client_plan *p, void (*print)(const struct client_plan *, FILE *)) {
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    print(p, out);
    fclose(out);
    return text;
}

/// Two clients with a file each and one that they share; `own` is nobody's.
static struct client_plan *plan_of_two(void) {
    static const char *const names[] = {"one", "two"};
    struct client_plan *p = plan_new();
    plan_text_named(p, "/own", 0644, "own\n", "what is known");
    for (size_t i = 0; i < 2; i++) {
        char *path = mem_printf("/%s", names[i]);
        plan_client(p, names[i]);
        plan_text(p, path, 0644, "new\n");
        plan_text(p, "/shared", 0644, "new\n");
        plan_run(p, "restart %s", names[i]);
        plan_run(p, "reload");
        plan_open(p, "open in both");
        free(path);
    }
    plan_client(p, NULL);
    return p;
}

/// Only clients whose files changed are to be restarted.
Test(plan, runs_of_what_changed) {
    static const struct {
        const char *drop; ///< This file is missing, and has to be written.
        bool changed, one, two, reload;
        const char *why;
    } rows[] = {
        {"/one", true, true, false, true, "one client's file"},
        {"/two", true, false, true, true, "the other's"},
        {"/shared", true, true, true, true, "one that both read"},
        {"/own", true, false, false, false, "one that no client reads"},
        {"/nothing", false, false, false, false, "nothing is written"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *root = kit_root();
        struct client_plan *p = plan_of_two();
        kit_put(root, "/own", "own\n");
        for (const char *const *path = (const char *const[]){"/one", "/two", "/shared", NULL}; *path != NULL; path++)
            kit_put(root, *path, "new\n");
        char *gone = mem_printf("%s%s", root, rows[i].drop);
        unlink(gone);
        free(gone);
        struct kit_run r = write_plan(p, root, true);
        char *text = rest_of(p, plan_print_rest), *json = rest_of(p, plan_print_json);
        cr_expect_eq(strstr(text, "restart one") != NULL, rows[i].one, "%s: %s", rows[i].why, text);
        cr_expect_eq(strstr(text, "restart two") != NULL, rows[i].two, "%s: %s", rows[i].why, text);
        cr_expect_eq(strstr(text, "reload") != NULL, rows[i].reload, "%s: %s", rows[i].why, text);
        cr_expect_eq(strstr(text, "Then run") == NULL, strstr(text, "Nothing to restart") != NULL, "%s", text);
        cr_expect_eq(strstr(json, "\"restart one\"") != NULL, rows[i].one, "%s: %s", rows[i].why, json);
        cr_expect_eq(strstr(json, "{\"changed\":true,") == json, rows[i].changed, "%s: %s", rows[i].why, json);
        free(json);
        free(text);
        kit_done(&r);
        r = write_plan(p, root, true);
        text = rest_of(p, plan_print_rest);
        cr_expect_null(strstr(text, "Then run"), "%s: and nothing the second time: %s", rows[i].why, text);
        free(text);
        kit_done(&r);
        plan_free(p);
        kit_drop(root);
    }
}

/// All are told where nothing was written, and a text that is only named is not shown.
Test(plan, runs_of_a_printed_plan) {
    struct client_plan *p = plan_of_two();
    char *text = rest_of(p, plan_print);
    cr_expect(strstr(text, "restart one") != NULL && strstr(text, "restart two") != NULL, "%s", text);
    cr_expect_null(strstr(text, "Nothing to restart"), "%s", text);
    cr_expect(strstr(text, "### /own\n# what is known\n") > strstr(text, "### /shared"), "%s", text);
    cr_expect_null(strstr(text, "\nown\n"), "%s", text);
    free(text);
    plan_free(p);
}

Test(plan, told_less) {
    char *root = kit_root();
    struct client_plan *p = plan_of_two();
    plan_left(p, "this wins");
    plan_tell_less(p);
    for (int i = 0; i < 2; i++) {
        struct kit_run r = write_plan(p, root, true);
        char *text = rest_of(p, plan_print_rest);
        cr_expect_eq(strstr(r.out, "written") != NULL, i == 0, "%s", r.out);
        cr_expect_eq(strstr(text, "restart one") != NULL, i == 0, "%s", text);
        cr_expect_null(strstr(r.out, "unchanged"), "%s", r.out);
        cr_expect_null(strstr(text, "open in both"), "%s", text);
        cr_expect_not_null(strstr(text, "this wins"), "what a person must change is told each time: %s", text);
        free(text);
        kit_done(&r);
    }
    plan_free(p);
    kit_drop(root);
}

/// Hundreds of lines are cut where a plan is printed, and whole in the file.
Test(plan, long_texts) {
    static const struct {
        size_t lines;
        bool cut;
    } rows[] = {{10, false}, {150, false}, {151, true}, {1000, true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root(), *text = mem_zalloc(rows[i].lines * 2 + 1, 1), *printed = NULL;
        for (size_t n = 0; n < rows[i].lines; n++)
            memcpy(text + 2 * n, n + 1 == rows[i].lines ? "z\n" : "a\n", 2);
        struct client_plan *p = plan_new();
        plan_text(p, "/long", 0644, text);
        size_t len;
        FILE *out = open_memstream(&printed, &len);
        plan_print(p, out);
        fclose(out);
        cr_expect_eq(strstr(printed, "z\n") == NULL, rows[i].cut, "%zu lines: %s", rows[i].lines, printed);
        struct kit_run r = write_plan(p, root, false);
        char *written = kit_get(root, "/long");
        cr_expect_str_eq(written, text);
        free(written);
        kit_done(&r);
        plan_free(p);
        free(printed);
        free(text);
        kit_drop(root);
    }
}

Test(plan, windows_paths_are_printed) {
    char *root = kit_root();
    struct client_plan *p = text_plan("C:\\ProgramData\\x.json", 0644);
    struct kit_run r = write_plan(p, root, true);
    cr_expect_eq(r.result.refused, 1);
    cr_expect_not_null(strstr(r.out, "new\n"));
    kit_done(&r);
    plan_free(p);
    kit_drop(root);
}
