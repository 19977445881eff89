// SPDX-License-Identifier: Apache-2.0
//
// The benchmark's client: asks for one URL again and again over one warm connection and throws the content away.
//
//     pull WARM-URL URL COUNT [CA-FILE]
//
// WARM-URL is asked first, unmeasured, so that the connection (and TLS) stands. A line an answer goes to standard
// output: status, bytes, seconds until the first body byte, seconds until the last. Nothing is hashed or written, so
// that the client costs as little as it can. Exit status 1 when an answer was not 200 or a transfer failed.

#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RECEIVE_BUFFER = 512 * 1024 };

struct transfer {
    double first; ///< Seconds on the monotonic clock; 0 until a body byte came.
    size_t bytes;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx) {
    (void)data;
    struct transfer *t = ctx;
    if (t->bytes == 0)
        t->first = now();
    t->bytes += size * count;
    return size * count;
}

static bool ask(CURL *curl, const char *url, bool print) {
    struct transfer t = {0};
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &t);
    double start = now();
    CURLcode result = curl_easy_perform(curl);
    double end = now();
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK)
        fprintf(stderr, "pull: %s\n", curl_easy_strerror(result));
    if (print)
        printf("%ld %zu %.6f %.6f\n", status, t.bytes, t.bytes > 0 ? t.first - start : end - start, end - start);
    return result == CURLE_OK && status == 200;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: pull WARM-URL URL COUNT [CA-FILE]\n");
        return 2;
    }
    CURL *curl = curl_easy_init();
    if (curl == NULL)
        return 2;
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    if (argc > 4)
        curl_easy_setopt(curl, CURLOPT_CAINFO, argv[4]);
    bool fine = ask(curl, argv[1], false);
    for (int left = atoi(argv[3]); left > 0; left--)
        fine = ask(curl, argv[2], true) && fine;
    curl_easy_cleanup(curl);
    return fine ? 0 : 1;
}
