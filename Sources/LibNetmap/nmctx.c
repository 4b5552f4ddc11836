// Contexts: how the library reports, allocates and locks.
#include <errno.h>
#include <libnetmap.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void error_to_stderr(struct nmctx *ctx, const char *text) {
    (void)ctx;
    fprintf(stderr, "%s\n", text);
}

static void *libc_malloc(struct nmctx *ctx, size_t size) {
    (void)ctx;
    return malloc(size);
}

static void libc_free(struct nmctx *ctx, void *memory) {
    (void)ctx;
    free(memory);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void mutex_lock(struct nmctx *ctx, int lock) {
    (void)ctx;
    if (lock)
        pthread_mutex_lock(&mutex);
    else
        pthread_mutex_unlock(&mutex);
}

static struct nmctx standard = {
    .verbose = 1,
    .error = error_to_stderr,
    .malloc = libc_malloc,
    .free = libc_free,
    .lock = mutex_lock,
};
static struct nmctx *current = &standard;

struct nmctx *nmctx_get(void) { return current; }

struct nmctx *nmctx_set_default(struct nmctx *ctx) {
    struct nmctx *before = current;
    current = ctx;
    return before;
}

void nmctx_set_threadsafe(void) {
    if (!current->lock)
        current->lock = mutex_lock;
}

void nmctx_ferror(struct nmctx *ctx, const char *format, ...) {
    if (ctx->verbose < 1 || !ctx->error)
        return;
    int failure = errno; // the caller's, for its caller
    char text[512];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    ctx->error(ctx, text);
    errno = failure;
}

void *nmctx_malloc(struct nmctx *ctx, size_t size) { return ctx->malloc(ctx, size); }

void nmctx_free(struct nmctx *ctx, void *memory) { ctx->free(ctx, memory); }

void nmctx_lock(struct nmctx *ctx) {
    if (ctx->lock)
        ctx->lock(ctx, 1);
}

void nmctx_unlock(struct nmctx *ctx) {
    if (ctx->lock)
        ctx->lock(ctx, 0);
}
