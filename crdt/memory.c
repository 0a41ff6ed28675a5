#include "crdt/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

void sk_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: this must hold and does not: %s\n", file, line, condition);
    abort();
}

_Noreturn static void out_of_memory(size_t bytes)
{
    fprintf(stderr, "out of memory: the system has refused %zu bytes, and nothing can go on without them\n", bytes);
    abort();
}

/* Tables that are read all over miss the TLB with each read; on huge pages a write takes a tenth less (tests/bench/RESULTS.md).
 * A system that gives none, or none now, loses nothing. */
static void ask_for_huge_pages(void *memory, size_t bytes)
{
    enum { HUGE_PAGE = 2 << 20 };
    uintptr_t from = ((uintptr_t)memory + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uintptr_t to = ((uintptr_t)memory + bytes) / HUGE_PAGE * HUGE_PAGE;
    if (from < to) (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
}

void *sk_alloc(size_t bytes)
{
    enum { WORTH_IT = 4 << 20 }; /* less has hardly a whole one in it */
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory) out_of_memory(bytes);
    if (bytes >= WORTH_IT) ask_for_huge_pages(memory, bytes);
    return memory;
}

void *sk_alloc_aligned(size_t bytes)
{
    void *memory = aligned_alloc(bytes, bytes);
    if (!memory) out_of_memory(bytes);
    ask_for_huge_pages(memory, bytes);
    return memory;
}

void *sk_realloc(void *old, size_t bytes)
{
    void *memory = realloc(old, bytes ? bytes : 1);
    if (!memory) out_of_memory(bytes);
    return memory;
}

sk_bytes sk_bytes_copy(sk_bytes bytes)
{
    uint8_t *copy = sk_alloc(bytes.len + 1);
    if (bytes.len) memcpy(copy, bytes.data, bytes.len);
    return sk_bytes_of(copy, bytes.len);
}

/* -- sk_buf ------------------------------------------------------------------------------------------------------- */

uint8_t *sk_buf_reserve(sk_buf *buf, size_t len)
{
    if (buf->full || len > SIZE_MAX - buf->len || (buf->max && buf->len + len > buf->max)) {
        buf->full = true;
        return NULL;
    }
    if (buf->len + len > buf->cap) {
        size_t cap = buf->cap ? buf->cap * 2 : 64;
        while (cap < buf->len + len) cap *= 2;
        buf->data = sk_realloc(buf->data, cap);
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

void sk_buf_printf(sk_buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    sk_assert(len >= 0);
    uint8_t *room = sk_buf_reserve(buf, (size_t)len + 1);
    if (room) {
        vsnprintf((char *)room, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

void sk_buf_reset(sk_buf *buf)
{
    buf->len = 0;
    buf->full = false;
}

void sk_buf_consume(sk_buf *buf, size_t len)
{
    sk_assert(len <= buf->len);
    if (len == 0) return;
    memmove(buf->data, buf->data + len, buf->len - len);
    buf->len -= len;
}

void sk_buf_free(sk_buf *buf)
{
    free(buf->data);
    *buf = (sk_buf){.max = buf->max};
}

/* -- sk_arena ------------------------------------------------------------------------------------------------------ */

/* Blocks grow: many arenas stay small, and some get a megabyte. */
enum { ARENA_BLOCK = 4 * 1024, ARENA_BLOCK_MAX = 64 * 1024 };

struct sk_arena_block {
    sk_arena_block *older;
    size_t len, cap;
    _Alignas(max_align_t) uint8_t data[];
};

/* Out of line: the way that is nearly always taken needs no registers saved. */
static __attribute__((noinline)) sk_arena_block *next_block(sk_arena *arena, size_t bytes)
{
    sk_arena_block *older = arena->blocks;
    size_t cap = older ? older->cap * 2 : ARENA_BLOCK;
    if (cap > ARENA_BLOCK_MAX) cap = ARENA_BLOCK_MAX;
    if (cap < bytes) cap = bytes;
    sk_arena_block *block = sk_realloc(NULL, sizeof *block + cap);
    *block = (sk_arena_block){.older = older, .cap = cap};
    arena->blocks = block;
    return block;
}

void *sk_arena_take(sk_arena *arena, size_t bytes)
{
    size_t align = _Alignof(max_align_t);
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + align - 1) / align * align;
    if (arena->max && arena->used + bytes > arena->max) return NULL;
    sk_arena_block *block = arena->blocks;
    if (!block || block->cap - block->len < bytes) block = next_block(arena, bytes);
    void *piece = block->data + block->len;
    block->len += bytes;
    arena->used += bytes;
    return piece;
}

sk_bytes sk_arena_copy(sk_arena *arena, sk_bytes bytes)
{
    uint8_t *copy = sk_arena_take(arena, bytes.len ? bytes.len : 1);
    if (copy && bytes.len) memcpy(copy, bytes.data, bytes.len);
    return (sk_bytes){copy, bytes.len};
}

void sk_arena_reset(sk_arena *arena)
{
    sk_arena_block *keep = NULL;
    while (arena->blocks) {
        sk_arena_block *older = arena->blocks->older;
        if (!older && arena->blocks->cap == ARENA_BLOCK) {
            keep = arena->blocks;
            keep->len = 0;
        } else {
            free(arena->blocks);
        }
        arena->blocks = older;
    }
    arena->blocks = keep;
    arena->used = 0;
}

void sk_arena_free(sk_arena *arena)
{
    while (arena->blocks) {
        sk_arena_block *older = arena->blocks->older;
        free(arena->blocks);
        arena->blocks = older;
    }
    arena->used = 0;
}
