// SPDX-License-Identifier: Apache-2.0
//
// The proxy environment of a daemon. Go reads HTTP_PROXY and http_proxy alike, the former first.

#include "gateway/doctor/daemon_env.h"

#include "gateway/doctor/below.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WORD_MAX = 16 * 1024 };

static const char *const unit_folders[] = {"/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/system",
                                           "/etc/systemd/system", NULL};

// --- one variable ---

static char **place(struct daemon_env *env, const char *name, size_t len) {
    static const char *const names[] = {"http_proxy", "https_proxy", "no_proxy"};
    char **const places[] = {&env->http, &env->https, &env->no};
    size_t prefix = env->prefix != NULL ? strlen(env->prefix) : 0;
    if (prefix > 0 && len > prefix && strncmp(name, env->prefix, prefix) == 0) {
        name += prefix;
        len -= prefix;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == len && strncasecmp(names[i], name, len) == 0)
            return places[i];
    return NULL;
}

static void set(struct daemon_env *env, const char *assignment, const char *from) {
    const char *equals = strchr(assignment, '=');
    char **at = equals != NULL ? place(env, assignment, (size_t)(equals - assignment)) : NULL;
    if (at == NULL)
        return;
    free(*at);
    *at = equals[1] != '\0' ? mem_strdup(equals + 1) : NULL;
    free(env->from);
    env->from = mem_strdup(from);
}

// --- systemd's lines ---

/// The next word of systemd's quoting; false at the end.
static bool next_word(const char **at, const char *end, struct buf *word) {
    const char *p = *at;
    buf_clear(word);
    buf_adds(word, "");
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    if (p == end)
        return false;
    for (char quote = '\0'; p < end && (quote != '\0' || (*p != ' ' && *p != '\t')); p++) {
        if (quote == '\0' && (*p == '"' || *p == '\''))
            quote = *p;
        else if (*p == quote)
            quote = '\0';
        else if (*p == '\\' && p + 1 < end)
            buf_add(word, ++p, 1);
        else
            buf_add(word, p, 1);
    }
    *at = p;
    return true;
}

/// systemd has specifiers that begin with '%', and writes the sign itself twice.
static void single_percents(char *text) {
    char *to = text;
    for (const char *at = text; *at != '\0'; at++) {
        at += at[0] == '%' && at[1] == '%' ? 1 : 0;
        *to++ = *at;
    }
    *to = '\0';
}

static void read_words(const char *at, const char *end, const char *from, struct daemon_env *env) {
    struct buf word;
    buf_init(&word, WORD_MAX);
    if (at == end) { // `Environment=` alone takes back what was set before.
        daemon_env_deinit(env);
        return;
    }
    while (next_word(&at, end, &word)) {
        single_percents(word.data);
        set(env, word.data, from);
    }
    buf_deinit(&word);
}

static void read_unit_line(const char *line, const char *end, const char *from, struct daemon_env *env,
                           struct names *files) {
    static const char words[] = "Environment=", file[] = "EnvironmentFile=";
    if ((size_t)(end - line) >= strlen(words) && strncmp(line, words, strlen(words)) == 0)
        read_words(line + strlen(words), end, from, env);
    if ((size_t)(end - line) <= strlen(file) || strncmp(line, file, strlen(file)) != 0)
        return;
    const char *path = line + strlen(file);
    path += *path == '-' ? 1 : 0;
    names_add_len(files, path, (size_t)(end - path));
}

/// Lines that end with a backslash go on; comments are left out.
void daemon_env_unit(const char *text, size_t len, const char *from, struct daemon_env *env, struct names *files) {
    struct buf line;
    bool service = false;
    buf_init(&line, WORD_MAX);
    for (const char *at = text, *end = text + len; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = stop != NULL ? stop : end;
        const char *next = stop != NULL ? stop + 1 : end;
        while (line_end > at && (line_end[-1] == '\r' || line_end[-1] == ' ' || line_end[-1] == '\t'))
            line_end--;
        bool goes_on = line_end > at && line_end[-1] == '\\';
        buf_add(&line, at, (size_t)(line_end - at) - (goes_on ? 1 : 0));
        at = next;
        if (goes_on && at < end) {
            buf_adds(&line, " ");
            continue;
        }
        const char *begin = line.data != NULL ? line.data : "";
        if (begin[0] == '[')
            service = strncmp(begin, "[Service]", strlen("[Service]")) == 0;
        else if (service && begin[0] != '#' && begin[0] != ';')
            read_unit_line(begin, begin + line.len, from, env, files);
        buf_clear(&line);
    }
    buf_deinit(&line);
}

void daemon_env_file(const char *text, size_t len, const char *from, struct daemon_env *env) {
    static const char export[] = "export ";
    struct buf word;
    buf_init(&word, WORD_MAX);
    for (const char *at = text, *end = text + len; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = stop != NULL ? stop : end, *line = at;
        at = stop != NULL ? stop + 1 : end;
        while (line < line_end && (*line == ' ' || *line == '\t'))
            line++;
        if ((size_t)(line_end - line) > strlen(export) && strncmp(line, export, strlen(export)) == 0)
            line += strlen(export);
        if (line < line_end && *line != '#' && next_word(&line, line_end, &word))
            set(env, word.data, from);
    }
    buf_deinit(&word);
}

void daemon_env_process(const char *text, size_t len, struct daemon_env *env) {
    for (size_t at = 0; at < len;) {
        size_t one = strnlen(text + at, len - at);
        char *assignment = mem_strndup(text + at, one);
        set(env, assignment, "the process");
        free(assignment);
        at += one + 1;
    }
}

// --- a unit with its drop-ins ---

static void read_files(const char *root, const struct names *files, struct daemon_env *env) {
    for (size_t i = 0; i < files->count; i++) {
        struct buf text;
        if (below_text(root, files->at[i], &text) == BELOW_OK)
            daemon_env_file(text.data, text.len, files->at[i], env);
        buf_deinit(&text);
    }
}

/// False: it is not there.
static bool read_unit(const char *root, const char *path, struct daemon_env *env, struct names *files,
                      struct names *unreadable) {
    struct buf text;
    enum below found = below_text(root, path, &text);
    if (found == BELOW_OK)
        daemon_env_unit(text.data, text.len, path, env, files);
    else if (found == BELOW_FORBIDDEN)
        names_add(unreadable, path);
    buf_deinit(&text);
    return found == BELOW_OK;
}

/// "NAME.conf\tFOLDER", so that sorting puts the drop-ins of all folders in the order of their names. One that stands
/// in a later folder hides that of the same name in an earlier one.
static void find_drop_ins(const char *root, const char *unit, struct names *found) {
    for (size_t i = 0; unit_folders[i] != NULL; i++) {
        char *folder = mem_printf("%s/%s.d", unit_folders[i], unit);
        struct names all = {0};
        below_folder(root, folder, &all);
        for (size_t j = 0; j < all.count; j++) {
            size_t len = strlen(all.at[j]);
            if (len <= strlen(".conf") || strcmp(all.at[j] + len - strlen(".conf"), ".conf") != 0)
                continue;
            char *entry = mem_printf("%s\t%zu\t%s", all.at[j], i, folder);
            names_add(found, entry);
            free(entry);
        }
        names_deinit(&all);
        free(folder);
    }
    names_sort(found);
}

static bool hidden(const struct names *found, size_t i) {
    size_t len = strcspn(found->at[i], "\t") + 1;
    return i + 1 < found->count && strncmp(found->at[i], found->at[i + 1], len) == 0;
}

void daemon_env_of_unit(const char *root, const char *unit, struct daemon_env *env, struct names *unreadable) {
    struct names found = {0}, files = {0};
    bool read = false;
    for (size_t i = sizeof unit_folders / sizeof *unit_folders - 1; i-- > 0 && !read;) {
        char *path = mem_printf("%s/%s", unit_folders[i], unit);
        read = read_unit(root, path, env, &files, unreadable);
        free(path);
    }
    find_drop_ins(root, unit, &found);
    for (size_t i = 0; i < found.count; i++) {
        if (hidden(&found, i))
            continue;
        size_t name = strcspn(found.at[i], "\t");
        const char *folder = strrchr(found.at[i], '\t') + 1;
        char *path = mem_printf("%s/%.*s", folder, (int)name, found.at[i]);
        read_unit(root, path, env, &files, unreadable);
        free(path);
    }
    read_files(root, &files, env); // What the files say wins over `Environment=`.
    names_deinit(&found);
    names_deinit(&files);
}

void daemon_env_deinit(struct daemon_env *env) {
    free(env->http);
    free(env->https);
    free(env->no);
    free(env->from);
    *env = (struct daemon_env){.prefix = env->prefix};
}
