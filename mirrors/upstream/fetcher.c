// SPDX-License-Identifier: Apache-2.0
//
// The fetcher: its threads and its interface.

#include "mirrors/upstream/fetch_thread.h"

#include "mirrors/base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS_KEPT = 64, IDLE_WAIT_MS = 60000, BATCH_TURNS = 15 };

static void handle(struct message *m, bool stopping) {
    struct fetch *f = m->fetch;
    if (m->kind == MESSAGE_START)
        fetch_begin(f);
    if (f->done)
        return;
    if (stopping || m->kind == MESSAGE_CANCEL)
        fetch_stop(f, FETCH_CANCELLED, "no longer wanted");
    else if (m->kind == MESSAGE_TOKEN)
        fetch_token_arrived(f, m->round, m->value, m->failure);
    else if (m->kind == MESSAGE_RESUME && f->transfer != NULL && !transfer_resume(f->transfer))
        fetch_stop(f, FETCH_BROKEN, "what came could not be passed on");
}

static bool take_messages(struct fetch_thread *t) {
    pthread_mutex_lock(&t->lock);
    struct message *m = t->queue;
    t->queue = NULL;
    t->queue_end = &t->queue;
    bool stop = t->stop;
    pthread_mutex_unlock(&t->lock);
    while (m != NULL) {
        struct message *next = m->next;
        handle(m, stop);
        fetch_message_free(m);
        m = next;
    }
    return !stop;
}

// --- threads ---

/// `all`: also those that got nothing, who may have waited long enough.
static void end_turn(struct fetch_thread *t, bool all) {
    for (struct fetch *f = t->active; f != NULL; f = f->next_active) {
        if ((f->fed || all) && f->callbacks.turn != NULL)
            f->callbacks.turn(f->ctx);
        f->fed = false;
    }
}

static void check_deadlines(struct fetch_thread *t, int64_t now_ms) {
    for (struct fetch *f = t->active, *next; f != NULL; f = next) {
        next = f->next_active;
        fetch_check_deadline(f, now_ms);
    }
    token_requests_check(t, now_ms);
}

static void end_everything(struct fetch_thread *t) {
    while (t->active != NULL)
        fetch_stop(t->active, FETCH_CANCELLED, "the gateway is stopping");
    token_requests_abort(t);
}

static void *run(void *arg) {
    struct fetch_thread *t = arg;
    int64_t next_check = 0;
    while (take_messages(t)) {
        multi_turn(t->multi, t->active != NULL || t->tokens != NULL ? FETCH_TICK_MS : IDLE_WAIT_MS, transfer_finished);
        // Over TLS libcurl reads one record (16 KiB) a call. Readers are woken for what is there, not for each record.
        for (int i = 0; i < BATCH_TURNS && multi_turn(t->multi, 0, transfer_finished) > 0; i++)
            ;
        int64_t now = clock_ms();
        end_turn(t, now >= next_check);
        if (now >= next_check) {
            check_deadlines(t, now);
            next_check = now + FETCH_TICK_MS;
        }
    }
    end_everything(t);
    take_messages(t);
    return NULL;
}

static bool thread_start(struct fetch_thread *t, struct fetcher *f, struct err *err) {
    t->fetcher = f;
    t->multi = multi_new(CONNECTIONS_KEPT, err);
    if (t->multi == NULL)
        return false;
    multi_set_self(t->multi, f->self);
    pthread_mutex_init(&t->lock, NULL);
    t->queue_end = &t->queue;
    if (pthread_create(&t->thread, NULL, run, t) == 0)
        return true;
    multi_free(t->multi);
    pthread_mutex_destroy(&t->lock);
    return err_set(err, "cannot start a fetch thread");
}

static void thread_stop(struct fetch_thread *t) {
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_mutex_unlock(&t->lock);
    multi_wake(t->multi);
    pthread_join(t->thread, NULL);
}

static bool has_messages(struct fetch_thread *t) {
    pthread_mutex_lock(&t->lock);
    bool any = t->queue != NULL;
    pthread_mutex_unlock(&t->lock);
    return any;
}

/// What was posted while the threads ended. Hearing of an end, an owner may still start the next step of its work, on
/// any thread: so all of them stand until nothing more comes.
bool fetcher_drain(struct fetcher *f) {
    bool drained = false;
    for (unsigned i = 0; i < f->thread_count;) {
        bool any = has_messages(&f->threads[i]);
        if (any)
            take_messages(&f->threads[i]);
        drained = drained || any;
        i = any ? 0 : i + 1;
    }
    return drained;
}

static void thread_free(struct fetch_thread *t) {
    multi_free(t->multi);
    pthread_mutex_destroy(&t->lock);
}

// --- the fetcher ---

struct fetcher *fetcher_new(unsigned threads, struct err *err) {
    struct fetcher *f = mem_zalloc(1, sizeof(*f));
    assert(threads > 0 && threads <= FETCH_THREADS_MAX);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    f->auth = auth_new(FETCH_TOKENS_MAX);
    f->experience = experience_new();
    f->figures = figures_new();
    f->self = self_new();
    if (f->self == NULL) {
        err_set(err, "the kernel gives no random bytes");
        fetcher_free(f);
        return NULL;
    }
    f->threads = mem_zalloc(threads, sizeof(*f->threads));
    for (; f->thread_count < threads; f->thread_count++) {
        if (!thread_start(&f->threads[f->thread_count], f, err)) {
            fetcher_free(f);
            return NULL;
        }
    }
    return f;
}

void fetcher_stop(struct fetcher *f) {
    for (unsigned i = 0; i < f->thread_count && !f->stopped; i++)
        thread_stop(&f->threads[i]);
    f->stopped = true;
    fetcher_drain(f);
}

void fetcher_free(struct fetcher *f) {
    if (f == NULL)
        return;
    fetcher_stop(f);
    for (unsigned i = 0; i < f->thread_count; i++)
        thread_free(&f->threads[i]);
    free(f->threads);
    auth_free(f->auth);
    experience_free(f->experience);
    figures_free(f->figures);
    self_free(f->self);
    free(f);
}

static struct fetch_thread *least_loaded(struct fetcher *f) {
    struct fetch_thread *best = &f->threads[0];
    for (unsigned i = 1; i < f->thread_count; i++)
        if (atomic_load(&f->threads[i].load) < atomic_load(&best->load))
            best = &f->threads[i];
    return best;
}

static void copy_spec(struct fetch *f, const struct fetch_spec *spec) {
    f->spec = *spec;
    f->spec.name = mem_strdup(spec->name);
    f->spec.repository = mem_strdup(spec->repository);
    f->spec.reference = mem_strdup(spec->reference);
    f->spec.query = mem_strdup(spec->query);
    f->spec.range = mem_strdup(spec->range);
    f->spec.owner.ref(f->spec.owner.object);
}

struct fetch *fetch_start(struct fetcher *fetcher, const struct fetch_spec *spec,
                          const struct fetch_callbacks *callbacks, void *ctx) {
    struct fetch *f = mem_zalloc(1, sizeof(*f));
    atomic_init(&f->refs, 2); // The caller's and, until done, the thread's.
    f->thread = least_loaded(fetcher);
    f->callbacks = *callbacks;
    f->ctx = ctx;
    f->deadline_ms = clock_ms() + spec->deadline_ms;
    buf_init(&f->error_body, FETCH_ERROR_BODY_MAX);
    copy_spec(f, spec);
    atomic_fetch_add(&f->thread->load, 1);
    fetch_post(f, fetch_message(MESSAGE_START, f));
    return f;
}

void fetch_cancel(struct fetch *f) {
    fetch_post(f, fetch_message(MESSAGE_CANCEL, f));
}

void fetch_resume(struct fetch *f) {
    fetch_post(f, fetch_message(MESSAGE_RESUME, f));
}

void fetch_mismatched(struct fetcher *f, const char *registry, const char *upstream, const char *digest,
                      const char *sentence) {
    experience_mismatched(f->experience, registry, upstream, digest, sentence);
}

struct self *fetcher_self(struct fetcher *f) {
    return f->self;
}

void fetcher_figures(struct fetcher *f, void (*visit)(void *ctx, const struct fetch_figures *figures), void *ctx) {
    figures_each(f->figures, visit, ctx);
}
