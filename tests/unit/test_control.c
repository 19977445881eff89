// SPDX-License-Identifier: Apache-2.0
//
// The control socket, both sides, without a gateway behind it.

#include "gateway/front/control.h"

#include "gateway/config/config.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[] = "/tmp/pullgate-control-XXXXXX";
static char *path;
static bool reload_works = true;
static int reloads;

static bool reload(void *ctx, char *hash, struct err *err) {
    reloads++;
    memcpy(hash, "0123456789ab", CONFIG_HASH_HEX + 1);
    return reload_works || err_set(err, "rules[0]: no such thing");
}

static void set_up(void) {
    cr_assert_not_null(mkdtemp(dir));
    path = mem_printf("%s/run/control.sock", dir);
}

static void tear_down(void) {
    char *folder = mem_printf("%s/run", dir);
    unlink(path);
    rmdir(folder);
    rmdir(dir);
    free(folder);
    free(path);
}

TestSuite(control, .init = set_up, .fini = tear_down);

static struct control *open_control(void) {
    struct err err = {""};
    struct control *c = control_new(path, reload, NULL, &err);
    cr_assert_not_null(c, "%s", err.text);
    return c;
}

static void expect_answer(const char *command, const char *answer) {
    char got[CONTROL_LINE_MAX];
    struct err err = {""};
    cr_assert(control_ask(path, command, got, &err), "%s", err.text);
    cr_expect_str_eq(got, answer);
}

Test(control, answers) {
    struct control *c = open_control();
    expect_answer("reload", "ok 0123456789ab");
    reload_works = false;
    expect_answer("reload", "error rules[0]: no such thing");
    cr_expect_eq(reloads, 2);
    expect_answer("shutdown", "error unknown command");
    cr_expect_eq(reloads, 2, "only what is known is done");
    control_free(c);
}

Test(control, only_the_owner_may_connect) {
    struct control *c = open_control();
    char *folder = mem_printf("%s/run", dir);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(stat(folder, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0700);
    control_free(c);
    cr_expect_neq(access(path, F_OK), 0, "the socket goes with the gateway");
    free(folder);
}

Test(control, a_living_gateway_is_not_pushed_aside) {
    struct control *c = open_control();
    struct err err = {""};
    cr_expect_null(control_new(path, reload, NULL, &err));
    cr_expect(strstr(err.text, "another gateway") != NULL, "%s", err.text);
    expect_answer("reload", "ok 0123456789ab");
    control_free(c);
}

Test(control, a_dead_gateways_socket_is_replaced) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char *folder = mem_printf("%s/run", dir);
    mkdir(folder, 0700);
    memcpy(at.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    close(fd);
    struct control *c = open_control();
    expect_answer("reload", "ok 0123456789ab");
    control_free(c);
    free(folder);
}

Test(control, another_file_is_left_alone) {
    char *folder = mem_printf("%s/run", dir);
    struct err err = {""};
    mkdir(folder, 0700);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    cr_expect_null(control_new(path, reload, NULL, &err));
    cr_expect(strstr(err.text, "is no socket") != NULL, "%s", err.text);
    cr_expect_eq(access(path, F_OK), 0);
    free(folder);
}

Test(control, a_caller_that_says_nothing_does_not_stop_it) {
    struct control *c = open_control();
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    memcpy(at.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    close(fd);
    expect_answer("reload", "ok 0123456789ab");
    control_free(c);
}

Test(control, nobody_there) {
    char answer[CONTROL_LINE_MAX];
    struct err err = {""};
    cr_expect_not(control_ask(path, "reload", answer, &err));
    cr_expect(strstr(err.text, path) != NULL, "%s", err.text);
}

Test(control, a_path_that_no_socket_can_have) {
    char lengthy[200], answer[CONTROL_LINE_MAX];
    struct err err = {""};
    memset(lengthy, 'x', sizeof(lengthy) - 1);
    lengthy[0] = '/';
    lengthy[sizeof(lengthy) - 1] = '\0';
    cr_expect_null(control_new(lengthy, reload, NULL, &err));
    cr_expect(strstr(err.text, "longer") != NULL, "%s", err.text);
    cr_expect_not(control_ask(lengthy, "reload", answer, &err));
}

Test(control, free_of_nothing) {
    control_free(NULL);
}
