// SPDX-License-Identifier: Apache-2.0
//
// `pullgate version`: what a report of a problem needs.

#include "gateway/commands/commands.h"

#include <curl/curl.h>
#include <getopt.h>
#include <h2o/version.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_version.h>

static const char help[] =
    "Usage: pullgate version\n"
    "\n"
    "Print the version of pullgate and of the libraries that it runs with. A report of a problem\n"
    "should begin with these lines.\n";

int command_version(int argc, char **argv) {
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    int option = getopt_long(argc, argv, "h", options, NULL);
    if (option == 'h') {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    if (option != -1 || optind != argc)
        return command_usage("version");
    int yajl = yajl_version();
    printf("pullgate %s\n", PULLGATE_VERSION);
    printf("libh2o %d.%d.%d (h2o %s)\n", H2O_LIBRARY_VERSION_MAJOR, H2O_LIBRARY_VERSION_MINOR,
           H2O_LIBRARY_VERSION_PATCH, H2O_VERSION);
    printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
    printf("%s\n", curl_version());
    printf("yajl %d.%d.%d\n", yajl / 10000, yajl / 100 % 100, yajl % 100);
    return EXIT_SUCCESS;
}
