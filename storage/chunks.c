#include "storage/chunks.h"

#include <stdlib.h>

#ifdef __has_feature /* clang's way of telling */
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__ /* it sees who reads what was given back */
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, len) ((void)(data), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(data, len) ((void)(data), (void)(len))
#endif

enum {
    CHUNK_MIN = 64 << 10,
    CHUNK_MAX = 2 << 20,   /* a huge page */
    CHUNKS_OF_BUDGET = 16,
    LARGE_PART = 16,       /* what is more than this part of a chunk would leave too much of one empty */
    SPARE_BYTES = 4 << 20, /* kept when little is held */
};

struct sk_chunk {
    sk_chunk *next; /* filled after this one; or spare */
    size_t len, users;
    _Alignas(uint64_t) uint8_t data[];
};

void sk_chunks_init(sk_chunks *chunks, size_t budget)
{
    *chunks = (sk_chunks){.chunk_bytes = CHUNK_MIN};
    while (chunks->chunk_bytes < CHUNK_MAX && chunks->chunk_bytes * 2 * CHUNKS_OF_BUDGET <= budget) chunks->chunk_bytes *= 2;
}

static size_t room(const sk_chunks *chunks)
{
    return chunks->chunk_bytes - sizeof(sk_chunk);
}

static void destroy(sk_chunks *chunks, sk_chunk *chunk)
{
    chunks->count--;
    ASAN_UNPOISON_MEMORY_REGION(chunk->data, room(chunks));
    free(chunk);
}

static sk_chunk *take_spare(sk_chunks *chunks)
{
    sk_chunk *chunk = chunks->spare;
    if (!chunk) return NULL;
    chunks->spare = chunk->next;
    chunks->spare_count--;
    return chunk;
}

static void drop_ahead(sk_chunks *chunks)
{
    if (!chunks->ahead) return;
    sk_prefault_forget(chunks->prefault, chunks->ahead, chunks->chunk_bytes);
    chunks->count--;
    free(chunks->ahead);
    chunks->ahead = NULL;
}

void sk_chunks_free(sk_chunks *chunks)
{
    drop_ahead(chunks);
    if (chunks->newest) {
        sk_assert(chunks->newest->users == 0);
        destroy(chunks, chunks->newest);
    }
    while (chunks->spare) destroy(chunks, take_spare(chunks));
    *chunks = (sk_chunks){.chunk_bytes = chunks->chunk_bytes, .prefault = chunks->prefault};
}

/* Nobody has anything in it any more. */
static void retire(sk_chunks *chunks, sk_chunk *chunk)
{
    chunk->len = 0;
    if (chunk == chunks->newest) return;
    chunk->next = chunks->spare;
    chunks->spare = chunk;
    chunks->spare_count++;
}

bool sk_chunks_busy(const sk_chunks *chunks)
{
    return (chunks->count - chunks->spare_count - (chunks->ahead != NULL)) * chunks->chunk_bytes > SPARE_BYTES;
}

void sk_chunks_trim(sk_chunks *chunks)
{
    drop_ahead(chunks);
    while (chunks->spare_count * chunks->chunk_bytes > SPARE_BYTES) destroy(chunks, take_spare(chunks));
}

static sk_chunk *alloc(sk_chunks *chunks)
{
    chunks->count++;
    return sk_alloc_aligned(chunks->chunk_bytes);
}

static sk_chunk *make(sk_chunks *chunks)
{
    sk_chunk *made = take_spare(chunks);
    if (!made) {
        made = chunks->ahead ? chunks->ahead : alloc(chunks);
        chunks->ahead = NULL;
        made->len = made->users = 0;
        ASAN_POISON_MEMORY_REGION(made->data, room(chunks));
    }
    made->next = NULL;
    return made;
}

/* Whoever fills chunk after chunk will want another. */
static void look_ahead(sk_chunks *chunks)
{
    if (!chunks->prefault || chunks->chunk_bytes < CHUNK_MAX || chunks->spare || chunks->ahead) return;
    chunks->ahead = alloc(chunks);
    sk_prefault_ask(chunks->prefault, chunks->ahead, chunks->chunk_bytes);
}

static void grow(sk_chunks *chunks)
{
    sk_chunk *old = chunks->newest;
    chunks->newest = make(chunks);
    if (!old) return;
    old->next = chunks->newest;
    sk_assert(old->users > 0); /* an empty one has room */
    look_ahead(chunks);
}

void *sk_chunks_take(sk_chunks *chunks, sk_stretch *stretch, size_t bytes)
{
    size_t align = _Alignof(uint64_t);
    if (bytes > room(chunks) / LARGE_PART) {
        stretch->bytes += bytes;
        chunks->large_bytes -= stretch->large.used;
        void *large = sk_arena_take(&stretch->large, bytes);
        chunks->large_bytes += stretch->large.used;
        return large;
    }
    bytes = (bytes + align - 1) / align * align;
    if (!chunks->newest || room(chunks) - chunks->newest->len < bytes) grow(chunks);
    sk_chunk *chunk = chunks->newest;
    sk_assert(!stretch->last || stretch->last == chunk || stretch->last->next == chunk);
    if (stretch->last != chunk) {
        if (!stretch->first) {
            stretch->first = chunk;
            stretch->begin = chunk->len;
        }
        stretch->last = chunk;
        chunk->users++;
    }
    void *piece = chunk->data + chunk->len;
    ASAN_UNPOISON_MEMORY_REGION(piece, bytes);
    chunk->len += bytes;
    stretch->end = chunk->len;
    stretch->bytes += bytes;
    return piece;
}

void sk_chunks_give_back(sk_chunks *chunks, sk_stretch *stretch)
{
    sk_chunk *next;
    for (sk_chunk *chunk = stretch->first; chunk; chunk = next) {
        size_t from = chunk == stretch->first ? stretch->begin : 0;
        size_t to = chunk == stretch->last ? stretch->end : chunk->len;
        next = chunk == stretch->last ? NULL : chunk->next;
        ASAN_POISON_MEMORY_REGION(chunk->data + from, to - from);
        if (--chunk->users == 0) retire(chunks, chunk);
    }
    chunks->large_bytes -= stretch->large.used;
    sk_arena_free(&stretch->large);
    *stretch = (sk_stretch){0};
}
