// SPDX-License-Identifier: Apache-2.0
//
// The admin listener: a loop whose handler answers a few paths.

#include "gateway/front/admin.h"

#include "gateway/compliance/listing.h"
#include "gateway/front/figures.h"
#include "gateway/front/loop.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct admin {
    struct gateway *gateway;       ///< Of which is told.
    struct gateway own;            ///< What the admin's own loop goes by: its limits and its cap on connections.
    struct listener_config listen; ///< As the listener refers to it.
    atomic_int state;
    struct loop *loop;
};

// --- answers ---

struct page {
    int status;
    const char *reason, *content_type, *allow; ///< `allow` NULL: none.
    h2o_iovec_t body;
};

static struct page plain(int status, const char *reason, const char *text) {
    return (struct page){.status = status,
                         .reason = reason,
                         .content_type = "text/plain; charset=utf-8",
                         .body = h2o_iovec_init(text, strlen(text))};
}

static struct page not_ready(enum admin_state state) {
    return plain(503, "Service Unavailable", state == ADMIN_STARTING ? "starting\n" : "stopping\n");
}

static struct page health_page(struct admin *a, h2o_req_t *req) {
    return plain(200, "OK", "ok\n");
}

static struct page ready_page(struct admin *a, h2o_req_t *req) {
    enum admin_state state = (enum admin_state)atomic_load(&a->state);
    return state == ADMIN_SERVING ? plain(200, "OK", "ready\n") : not_ready(state);
}

static struct page metrics_page(struct admin *a, h2o_req_t *req) {
    struct buf text;
    if (atomic_load(&a->state) == ADMIN_STARTING)
        return not_ready(ADMIN_STARTING);
    buf_init(&text, METRICS_TEXT_MAX);
    bool whole = figures_write(a->gateway, &text);
    struct page p = {.status = 200,
                     .reason = "OK",
                     .content_type = "text/plain; version=0.0.4; charset=utf-8",
                     .body = h2o_strdup(&req->pool, text.data, text.len)};
    buf_deinit(&text);
    return whole ? p : plain(500, "Internal Server Error", "there is more to tell than fits\n");
}

/// The query as it came, without its '?'.
static h2o_iovec_t query_of(const h2o_req_t *req) {
    size_t at = req->input.query_at;
    if (at == SIZE_MAX || at + 1 >= req->input.path.len)
        return h2o_iovec_init("", 0);
    return h2o_iovec_init(req->input.path.base + at + 1, req->input.path.len - at - 1);
}

static void free_text(void *p) {
    free(*(char **)p);
}

/// As the text of a page, until the request is over: it may be long, so it is not copied.
static h2o_iovec_t give(h2o_req_t *req, struct buf *text) {
    size_t len = text->len;
    char **kept = h2o_mem_alloc_shared(&req->pool, sizeof(*kept), free_text);
    *kept = buf_steal(text);
    return h2o_iovec_init(*kept, len);
}

static struct page machines_page(struct admin *a, h2o_req_t *req) {
    char name[LISTING_NAME_MAX + 1];
    struct listing_filter filter;
    struct err err;
    struct buf text;
    h2o_iovec_t query = query_of(req);
    if (atomic_load(&a->state) == ADMIN_STARTING)
        return not_ready(ADMIN_STARTING);
    if (!listing_filter_parse(query.base, query.len, &filter, name, &err)) {
        h2o_iovec_t why = h2o_concat(&req->pool, h2o_iovec_init(err.text, strlen(err.text)), h2o_iovec_init("\n", 1));
        struct page p = plain(400, "Bad Request", "");
        p.body = why;
        return p;
    }
    struct config *config = gateway_config(a->gateway);
    buf_init(&text, LISTING_TEXT_MAX);
    bool whole = listing_write(a->gateway->reports, config, &filter, (int64_t)time(NULL), &text);
    config_unref(config);
    struct page p = {.status = 200, .reason = "OK", .content_type = "application/json", .body = give(req, &text)};
    buf_deinit(&text);
    return whole ? p : plain(500, "Internal Server Error", "there is more to tell than fits\n");
}

static void send_page(h2o_req_t *req, const struct page *p) {
    static h2o_generator_t generator;
    bool head = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
    req->res.status = p->status;
    req->res.reason = p->reason;
    req->res.content_length = p->body.len;
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, p->content_type,
                   strlen(p->content_type));
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CACHE_CONTROL, NULL, H2O_STRLIT("no-store"));
    if (p->allow != NULL)
        h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("allow"), 0, "Allow", p->allow,
                              strlen(p->allow));
    h2o_start_response(req, &generator);
    h2o_iovec_t body = p->body;
    h2o_send(req, &body, head ? 0 : 1, H2O_SEND_STATE_FINAL);
}

// --- requests ---

typedef struct page (*page_fn)(struct admin *a, h2o_req_t *req);

/// NULL: there is no such page. The path is taken as it came, without its query.
static page_fn find_page(const h2o_req_t *req) {
    static const struct {
        const char *path;
        page_fn page;
    } pages[] = {{"/metrics", metrics_page},
                 {"/healthz", health_page},
                 {"/readyz", ready_page},
                 {"/admin/compliance", machines_page}};
    size_t len = req->input.query_at != SIZE_MAX ? req->input.query_at : req->input.path.len;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        if (h2o_memis(req->input.path.base, len, pages[i].path, strlen(pages[i].path)))
            return pages[i].page;
    return NULL;
}

static bool only_reads(const h2o_req_t *req) {
    return h2o_memis(req->method.base, req->method.len, H2O_STRLIT("GET")) ||
           h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
}

static struct page page_for(struct admin *a, h2o_req_t *req) {
    page_fn page = find_page(req);
    if (only_reads(req))
        return page != NULL ? page(a, req)
                            : plain(404, "Not Found", "there are /metrics, /healthz, /readyz and /admin/compliance\n");
    struct page refused = plain(405, "Method Not Allowed", "only GET and HEAD\n");
    refused.allow = "GET, HEAD";
    req->http1_is_persistent = 0; // CONNECT and the like: do not guess what follows.
    return refused;
}

static int on_request(h2o_handler_t *self, h2o_req_t *req) {
    struct connection *c = loop_connection(req);
    struct admin *a = H2O_STRUCT_FROM_MEMBER(struct admin, own, loop_gateway(c->loop));
    c->idle_since_ms = clock_ms();
    struct page p = page_for(a, req);
    send_page(req, &p);
    return 0;
}

// --- what a loop wants to know; nothing is an exchange here ---

static void prepare(h2o_hostconf_t *host) {
}

static bool client_owes(const struct exchange *ex) {
    return true;
}

static void abandon(struct exchange *ex) {
}

static const struct loop_handlers handlers = {
    .on_request = on_request,
    .prepare = prepare,
    .client_owes = client_owes,
    .abandon = abandon,
};

// --- up and down ---

static bool start(struct admin *a, struct config *config, struct err *err) {
    struct listener_set set;
    a->listen = (struct listener_config){
        .name = config->admin.address, .address = config->admin.address, .at = config->admin.at};
    if (!listeners_open_one(config, &a->listen, &set, err))
        return false;
    a->loop = loop_new(&a->own, &handlers, err);
    bool ok = a->loop != NULL && loops_listen(&a->loop, 1, &set, err);
    listeners_close(&set);
    return ok;
}

struct admin *admin_new(struct gateway *g, struct config *config, struct err *err) {
    struct admin *a = mem_zalloc(1, sizeof(*a));
    a->gateway = g;
    a->own.config = config_ref(config);
    a->own.connections_max = ADMIN_CONNECTIONS_MAX;
    pthread_mutex_init(&a->own.lock, NULL);
    atomic_init(&a->state, ADMIN_STARTING);
    if (start(a, config, err))
        return a;
    err_prefix(err, "admin: ");
    admin_free(a);
    return NULL;
}

void admin_set_state(struct admin *a, enum admin_state state) {
    if (a != NULL)
        atomic_store(&a->state, state);
}

void admin_free(struct admin *a) {
    if (a == NULL)
        return;
    if (a->loop != NULL) {
        loop_stop(a->loop, 0);
        loop_wait(a->loop);
        loop_free(a->loop);
    }
    config_unref(a->own.config);
    pthread_mutex_destroy(&a->own.lock);
    free(a);
}
