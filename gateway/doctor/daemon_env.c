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

static const char *const unit_folders[] = {"/usr/lib/systemd/system",       "/lib/systemd/system",
                                           "/usr/local/lib/systemd/system", "/run/systemd/system",
                                           "/etc/systemd/system",           NULL};

// --- one variable ---

enum { VARIABLES = 3, NOT_OURS = -1 };

/// Which of http, https, no this name is.
static int variable(const struct daemon_env *env, const char *name, size_t len) {
    static const char *const names[VARIABLES] = {"http_proxy", "https_proxy", "no_proxy"};
    size_t prefix = env->prefix != NULL ? strlen(env->prefix) : 0;
    if (prefix > 0 && len > prefix && strncmp(name, env->prefix, prefix) == 0) {
        name += prefix;
        len -= prefix;
    }
    for (int i = 0; i < VARIABLES; i++)
        if (strlen(names[i]) == len && strncasecmp(names[i], name, len) == 0)
            return i;
    return NOT_OURS;
}

static char **place(struct daemon_env *env, int which) {
    char **const places[VARIABLES] = {&env->http, &env->https, &env->no};
    return places[which];
}

static void set(struct daemon_env *env, const char *assignment, const char *from) {
    const char *equals = strchr(assignment, '=');
    if (equals == NULL)
        return;
    names_add(&env->assigned, assignment);
    int which = variable(env, assignment, (size_t)(equals - assignment));
    if (which == NOT_OURS)
        return;
    char **at = place(env, which);
    bool small = equals[-1] == 'y';
    if (small && *at != NULL && !env->small[which])
        return;
    if (!small && equals[1] == '\0' && env->small[which]) // An empty one in capitals is as good as none.
        return;
    free(*at);
    *at = equals[1] != '\0' ? mem_strdup(equals + 1) : NULL;
    env->small[which] = small;
    free(env->from);
    env->from = mem_strdup(from);
}

/// NAME, or NAME=value: only where it has that value.
static void take_away(struct daemon_env *env, const char *what) {
    size_t len = strcspn(what, "=");
    int which = variable(env, what, len);
    char **at = which != NOT_OURS ? place(env, which) : NULL;
    if (at == NULL || *at == NULL || (what[len] == '=' && strcmp(*at, what + len + 1) != 0))
        return;
    free(*at);
    *at = NULL;
}

/// What was set, but not how the daemon is started.
static void forget(struct daemon_env *env) {
    free(env->http);
    free(env->https);
    free(env->no);
    free(env->from);
    names_deinit(&env->assigned);
    env->http = env->https = env->no = env->from = NULL;
    memset(env->small, 0, sizeof env->small);
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
        forget(env);
        return;
    }
    while (next_word(&at, end, &word)) {
        single_percents(word.data);
        set(env, word.data, from);
    }
    buf_deinit(&word);
}

/// `KEY=` alone takes back what was said before.
static void read_list(const char *at, const char *end, struct names *out) {
    struct buf word;
    buf_init(&word, WORD_MAX);
    if (at == end)
        names_deinit(out);
    while (next_word(&at, end, &word)) {
        single_percents(word.data);
        names_add(out, word.data);
    }
    buf_deinit(&word);
}

/// Where the value of this key begins; NULL: the line is another key's.
static const char *value_of(const char *line, const char *end, const char *key) {
    size_t len = strlen(key);
    if ((size_t)(end - line) < len || strncmp(line, key, len) != 0)
        return NULL;
    line += len;
    while (line < end && (*line == ' ' || *line == '\t'))
        line++;
    if (line == end || *line != '=')
        return NULL;
    line++;
    while (line < end && (*line == ' ' || *line == '\t'))
        line++;
    return line;
}

static void read_unit_line(const char *line, const char *end, const char *from, struct daemon_env *env,
                           struct names *files) {
    const char *words = value_of(line, end, "Environment"), *path = value_of(line, end, "EnvironmentFile");
    const char *start = value_of(line, end, "ExecStart"), *unset = value_of(line, end, "UnsetEnvironment");
    if (words != NULL)
        read_words(words, end, from, env);
    if (start != NULL) {
        names_deinit(&env->start);
        read_list(start, end, &env->start);
    }
    if (unset != NULL)
        read_list(unset, end, &env->taken_away);
    if (path != NULL && path == end)
        names_deinit(files);
    else if (path != NULL) {
        path += *path == '-' ? 1 : 0;
        names_add_len(files, path, (size_t)(end - path));
    }
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

static void read_files(const char *root, const struct names *files, struct daemon_env *env, struct names *unreadable) {
    for (size_t i = 0; i < files->count; i++) {
        struct buf text;
        enum below found = below_text(root, files->at[i], &text);
        if (found == BELOW_OK)
            daemon_env_file(text.data, text.len, files->at[i], env);
        else if (found == BELOW_FORBIDDEN)
            names_add(unreadable, files->at[i]);
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

static void add_drop_ins(const char *root, const char *folder, size_t rank, struct names *found) {
    struct names all = {0};
    below_folder(root, folder, &all);
    for (size_t i = 0; i < all.count; i++) {
        size_t len = strlen(all.at[i]);
        if (len <= strlen(".conf") || strcmp(all.at[i] + len - strlen(".conf"), ".conf") != 0)
            continue;
        char *entry = mem_printf("%s\t%02zu\t%s", all.at[i], rank, folder);
        names_add(found, entry);
        free(entry);
    }
    names_deinit(&all);
}

/// "NAME.conf\tRANK\tFOLDER", so that sorting puts the drop-ins of all folders in the order of their names. One that
/// stands in a later folder, or for this unit rather than for every service, hides that of the same name elsewhere.
static void find_drop_ins(const char *root, const char *unit, struct names *found) {
    size_t folders = sizeof unit_folders / sizeof *unit_folders - 1;
    for (size_t i = 0; i < folders; i++) {
        char *every = mem_printf("%s/service.d", unit_folders[i]), *own = mem_printf("%s/%s.d", unit_folders[i], unit);
        add_drop_ins(root, every, i, found);
        add_drop_ins(root, own, folders + i, found);
        free(every);
        free(own);
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
    read_files(root, &files, env, unreadable); // What the files say wins over `Environment=`.
    for (size_t i = 0; i < env->taken_away.count; i++)
        take_away(env, env->taken_away.at[i]);
    names_deinit(&found);
    names_deinit(&files);
}

void daemon_env_deinit(struct daemon_env *env) {
    forget(env);
    names_deinit(&env->start);
    names_deinit(&env->taken_away);
}

// --- the command line ---

static const char *value_of_len(const struct daemon_env *env, const char *name, size_t len) {
    for (size_t i = env->assigned.count; i-- > 0;)
        if (strncmp(env->assigned.at[i], name, len) == 0 && env->assigned.at[i][len] == '=')
            return env->assigned.at[i] + len + 1;
    return NULL;
}

const char *daemon_env_value(const struct daemon_env *env, const char *name) {
    return value_of_len(env, name, strlen(name));
}

/// Of "$NAME" and "${NAME}"; NULL: it is no such word, or was not set.
static const char *meant(const struct daemon_env *env, const char *word) {
    const char *name = word + (word[0] == '$' && word[1] == '{' ? 2 : 1);
    return word[0] == '$' ? value_of_len(env, name, strcspn(name, "}")) : NULL;
}

void daemon_env_words(const struct daemon_env *env, struct names *words) {
    for (size_t i = 0; i < env->start.count; i++) {
        const char *value = meant(env, env->start.at[i]);
        if (value != NULL)
            names_split(words, value, " \t");
        else
            names_add(words, env->start.at[i]);
    }
}

const char *option_value(const struct names *words, size_t at, const char *option) {
    const char *word = words->at[at];
    size_t len = strlen(option);
    if (strncmp(word, option, len) != 0)
        return NULL;
    if (word[len] == '=')
        return word + len + 1;
    return word[len] == '\0' && at + 1 < words->count ? words->at[at + 1] : NULL;
}

const char *option_last(const struct names *words, const char *option) {
    const char *last = NULL;
    for (size_t i = 1; i < words->count; i++) {
        const char *value = option_value(words, i, option);
        last = value != NULL ? value : last;
    }
    return last;
}
