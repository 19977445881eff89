// SPDX-License-Identifier: Apache-2.0
//
// Docker Desktop: admin-settings.json for an empty machine, and merged into one that is there.

#include "client_kit.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SETTINGS "/usr/share/docker-desktop/admin-settings.json"

static const char no_value[] = "";

static struct conf_document *settings(const char *root) {
    struct err err = {""};
    char *text = kit_get(root, SETTINGS);
    struct conf_document *d = conf_parse(CONF_JSON, text, strlen(text), &err);
    cr_assert_not_null(d, "%s: %s", err.text, text);
    free(text);
    return d;
}

/// "true", "false", a number or the string at the path, in `out`; "" when there is nothing.
static const char *value_at(const struct conf *root, const char *const *path, char out[64]) {
    const struct conf *v = conf_at(root, path);
    if (v == NULL)
        return no_value;
    if (v->type == CONF_STRING)
        return v->string;
    if (v->type == CONF_BOOL)
        return v->boolean ? "true" : "false";
    snprintf(out, 64, "%lld", (long long)v->integer);
    return out;
}

Test(client_desktop, an_empty_machine) {
    static const struct {
        const char *path[4], *value, *without, *why;
    } rows[] = {
        {{"configurationFileVersion"}, "2", "2", "the form"},
        {{"linuxVM", "dockerDaemonOptions", "locked"}, "true", "true", "nobody changes the engine's file"},
        {{"linuxVM", "dockerDaemonOptions", "value"},
         "{\"registry-mirrors\":[\"https://gw.test:5443\"]}",
         "{\"registry-mirrors\":[\"https://gw.test:5443\"]}",
         "which names the gateway, as a string"},
        {{"windowsContainers", "dockerDaemonOptions", "value"},
         "{\"registry-mirrors\":[\"https://gw.test:5443\"]}",
         "{\"registry-mirrors\":[\"https://gw.test:5443\"]}",
         "that of Windows containers too"},
        {{"containersProxy", "locked"}, "true", "", "nor the way that pulls go"},
        {{"containersProxy", "mode"}, "manual", "", "not the system's"},
        {{"containersProxy", "https"}, "http://gw.test:3128", "", "but the one that refuses"},
        {{"containersProxy", "pac"}, "", "", "no PAC file before it"},
        {{"containersProxy", "transparentPorts"}, "80,443,5000", "", "containers too"},
        {{"proxy", "http"}, "", "", "signing in is left alone"},
        {{"blockDockerLoad", "value"}, "true", "true", "docker load"},
        {{"kubernetes", "imagesRepository"},
         "gw.test:5443/docker.io/docker",
         "gw.test:5443/docker.io/docker",
         "Kubernetes' own images"},
        {{"enhancedContainerIsolation", "value"}, "", "", "isolation is the site's matter"},
    };
    for (int proxy = 0; proxy < 2; proxy++) {
        char *root = kit_root(), number[64];
        struct client_site *site = kit_site(proxy, false);
        struct kit_run r = kit_write(plan_desktop, site, NULL, root, false);
        struct conf_document *d = settings(root);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            cr_expect_str_eq(value_at(conf_root(d), rows[i].path, number), proxy ? rows[i].value : rows[i].without,
                             "%s", rows[i].why);
        conf_free(d);
        cr_expect_eq(strstr(r.out, "no proxy that refuses") != NULL, !proxy, "what stays open without one: %s", r.out);
        cr_expect_not_null(strstr(r.out, "Generated, not run"), "%s", r.out);
        cr_expect_not_null(strstr(r.out, "Support/com.docker.docker/admin-settings.json"), "where macOS has it");
        cr_expect_not_null(strstr(r.out, "C:\\ProgramData\\DockerDesktop\\admin-settings.json"), "and Windows: %s",
                           r.out);
        kit_done(&r);
        r = kit_write(plan_desktop, site, NULL, root, true);
        cr_expect_eq(r.result.changed, 0, "written twice, nothing changes: %s", r.out);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_desktop, merged) {
    static const struct {
        const char *before, *path[4], *value, *told, *why;
    } rows[] = {
        {"{\"configurationFileVersion\": 2, \"analyticsEnabled\": {\"locked\": true, \"value\": false}}",
         {"analyticsEnabled", "value"},
         "false",
         NULL,
         "what it does not know stays"},
        {"{\"kubernetes\": {\"locked\": true, \"enabled\": true}}",
         {"kubernetes", "enabled"},
         "true",
         NULL,
         "also inside of what it sets"},
        {"{\"blockDockerLoad\": {\"locked\": false, \"value\": false}}",
         {"blockDockerLoad", "locked"},
         "true",
         NULL,
         "what was looser is closed"},
        {"{\"linuxVM\": {\"dockerDaemonOptions\": {\"value\": \"{\\\"debug\\\": true}\"}}}",
         {"linuxVM", "dockerDaemonOptions", "locked"},
         "true",
         "daemon.json of the site's own",
         "a daemon.json that is replaced is told"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *root = kit_root(), number[64];
        struct client_site *site = kit_site(true, false);
        kit_put(root, SETTINGS, rows[i].before);
        struct kit_run r = kit_write(plan_desktop, site, NULL, root, false);
        struct conf_document *d = settings(root);
        cr_expect_str_eq(value_at(conf_root(d), rows[i].path, number), rows[i].value, "%s", rows[i].why);
        if (rows[i].told != NULL)
            cr_expect_not_null(strstr(r.out, rows[i].told), "%s: %s", rows[i].why, r.out);
        conf_free(d);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}
