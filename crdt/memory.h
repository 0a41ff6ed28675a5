/* Memory: assertions that stay on, allocation that cannot fail quietly, arenas, growable buffers.
 *
 * Two kinds of allocation:
 * - Small bookkeeping of our own (a vector's slots, a peer's record): sk_alloc and sk_realloc, which stop the process
 *   with one line when the machine is out of memory: whoever started it starts it again, and it has lost nothing that was
 *   acknowledged. No number that an outsider sent ever reaches them unbounded. (So do RocksDB, libuv and libsodium.)
 * - What a client's or a peer's bytes ask for: arenas and buffers with a limit, which fail with SK_E_MEMORY. */
#ifndef SK_CRDT_MEMORY_H
#define SK_CRDT_MEMORY_H

#include "crdt/bytes.h"

/** Stays on in every build; for programmer errors only, never for bytes from outside. One condition each. */
#define sk_assert(condition) ((condition) ? (void)0 : sk_assert_failed(#condition, __FILE__, __LINE__))

_Noreturn void sk_assert_failed(const char *condition, const char *file, int line);

/** Zeroed memory, owned by the caller, given back with free(). Never NULL. What is large is on huge pages, where the system has any. */
void *sk_alloc(size_t bytes);
void *sk_realloc(void *old, size_t bytes);
/** A copy, owned by the caller, whose data is given back with free(). Never NULL, also of nothing. */
sk_bytes sk_bytes_copy(sk_bytes bytes);
/** Memory that is not zeroed, of a power of two bytes and aligned to as many: whole huge pages, if it is as large as one. */
void *sk_alloc_aligned(size_t bytes);

/* -- sk_buf: a growable byte buffer ----------------------------------------------------------------------------- */

typedef struct {
    uint8_t *data;  /* owned */
    size_t len;     /* bytes in use */
    size_t cap;     /* bytes allocated */
    size_t max;     /* bytes allowed; 0: no limit */
    bool full;      /* an append was refused: sticky, so that a writer may check once at its end */
} sk_buf;

/** Room for `len` more bytes at data + len, or NULL (and `full`) beyond the limit. The caller then adds to len. */
uint8_t *sk_buf_reserve(sk_buf *buf, size_t len);
/** Appends a copy; beyond `max` it appends nothing and sets `full`. */
static inline void sk_buf_append(sk_buf *buf, const void *data, size_t len)
{
    if (len == 0) return;
    bool fits = !buf->full && len <= buf->cap - buf->len && (!buf->max || buf->len + len <= buf->max); /* nearly always */
    uint8_t *room = fits ? buf->data + buf->len : sk_buf_reserve(buf, len);
    if (!room) return;
    memcpy(room, data, len);
    buf->len += len;
}
void sk_buf_printf(sk_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Empty again; keeps its memory. */
void sk_buf_reset(sk_buf *buf);
/** Drops the first `len` bytes. */
void sk_buf_consume(sk_buf *buf, size_t len);
/** Gives the memory back; the buffer is as new, its limit kept. */
void sk_buf_free(sk_buf *buf);

static inline void sk_buf_byte(sk_buf *buf, uint8_t byte)
{
    sk_buf_append(buf, &byte, 1);
}
static inline void sk_buf_bytes(sk_buf *buf, sk_bytes bytes)
{
    sk_buf_append(buf, bytes.data, bytes.len);
}
/** What it holds; borrowed until the next change of the buffer. */
static inline sk_bytes sk_buf_view(const sk_buf *buf)
{
    return (sk_bytes){buf->data, buf->len};
}

/* -- sk_arena: many small pieces, freed together ------------------------------------------------------------------ */

typedef struct sk_arena_block sk_arena_block;

typedef struct {
    sk_arena_block *blocks; /* owned; the newest first */
    size_t used;            /* bytes handed out since the last reset */
    size_t max;             /* bytes allowed; 0: no limit */
} sk_arena;

/** Memory for `bytes`, aligned for any type, not zeroed; NULL beyond the limit. Valid until the next reset. */
void *sk_arena_take(sk_arena *arena, size_t bytes);
/** A copy inside the arena; data is NULL (with the length kept) beyond the limit. */
sk_bytes sk_arena_copy(sk_arena *arena, sk_bytes bytes);
/** Everything handed out is void; keeps one block for the next use. */
void sk_arena_reset(sk_arena *arena);
void sk_arena_free(sk_arena *arena);

#endif
