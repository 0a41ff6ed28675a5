#include "node/output.h"

#include <stdlib.h>

enum {
    SPARE_MAX = 256,             /* segments that a pool keeps */
    SPARE_BYTES_MAX = 16 * 1024, /* of one that is kept */
};

struct sk_segment {
    sk_segment *next;
    sk_buf bytes;
    size_t counted; /* bytes that the output's sum has */
    size_t sent;
    uint64_t hold, epoch;
};

static sk_segment *segment_take(sk_output_pool *pool)
{
    sk_segment *segment = pool->spare;
    if (!segment) return sk_alloc(sizeof *segment);
    pool->spare = segment->next;
    pool->count--;
    segment->next = NULL;
    return segment;
}

static void segment_give(sk_output_pool *pool, sk_segment *segment)
{
    if (pool->count == SPARE_MAX || segment->bytes.cap > SPARE_BYTES_MAX) {
        sk_buf_free(&segment->bytes);
        free(segment);
        return;
    }
    sk_buf kept = {.data = segment->bytes.data, .cap = segment->bytes.cap};
    *segment = (sk_segment){.next = pool->spare, .bytes = kept};
    pool->spare = segment;
    pool->count++;
}

sk_buf *sk_output_open(sk_output *output, uint64_t epoch)
{
    sk_segment *last = output->last;
    if (!output->open || last->epoch != epoch) {
        last = segment_take(output->pool);
        last->epoch = epoch;
        if (output->last)
            output->last->next = last;
        else
            output->first = last;
        output->last = last;
        output->open = true;
    }
    return &last->bytes;
}

void sk_output_appended(sk_output *output, uint64_t hold)
{
    sk_segment *last = output->last;
    sk_assert(output->open);
    output->bytes += last->bytes.len - last->counted;
    last->counted = last->bytes.len;
    if (hold > last->hold) last->hold = hold;
}

/* Takes the last segment away if it holds nothing. */
static void drop_empty_last(sk_output *output)
{
    sk_segment *last = output->last;
    if (!last || last->bytes.len > last->sent) return;
    sk_segment *before = output->first == last ? NULL : output->first;
    while (before && before->next != last) before = before->next;
    if (before)
        before->next = NULL;
    else
        output->first = NULL;
    output->last = before;
    segment_give(output->pool, last);
}

void sk_output_seal(sk_output *output)
{
    if (output->open) drop_empty_last(output);
    output->open = false;
}

bool sk_output_release(sk_output *output, uint64_t durable, uint64_t epoch)
{
    for (sk_segment *segment = output->first; segment; segment = segment->next) {
        if (segment->hold == 0) continue;
        if (segment->epoch != epoch) return false;
        if (segment->hold > durable) return true;
        segment->hold = 0;
    }
    return true;
}

void sk_output_void(sk_output *output)
{
    sk_segment **at = &output->first, *keep = NULL;
    while (*at && (*at)->hold == 0) {
        keep = *at;
        at = &keep->next;
    }
    sk_segment *segment = *at;
    *at = NULL;
    output->last = keep;
    output->open = false;
    while (segment) {
        sk_segment *next = segment->next;
        output->bytes -= segment->counted - segment->sent;
        segment_give(output->pool, segment);
        segment = next;
    }
}

unsigned sk_output_vector(const sk_output *output, uv_buf_t *vector, unsigned max)
{
    unsigned count = 0;
    for (const sk_segment *segment = output->first; segment && segment->hold == 0 && count < max;
         segment = segment->next) {
        size_t left = segment->bytes.len - segment->sent;
        if (left) vector[count++] = (uv_buf_t){.base = (char *)segment->bytes.data + segment->sent, .len = left};
    }
    return count;
}

void sk_output_consume(sk_output *output, size_t len)
{
    sk_assert(len <= output->bytes);
    output->bytes -= len;
    while (output->first) {
        sk_segment *first = output->first;
        size_t left = first->bytes.len - first->sent;
        if (len < left) {
            first->sent += len;
            return;
        }
        len -= left;
        output->first = first->next;
        if (!output->first) {
            output->last = NULL;
            output->open = false;
        }
        segment_give(output->pool, first);
        if (len == 0) return;
    }
    sk_assert(len == 0);
}

void sk_output_free(sk_output *output)
{
    while (output->first) {
        sk_segment *next = output->first->next;
        segment_give(output->pool, output->first);
        output->first = next;
    }
    *output = (sk_output){.pool = output->pool};
}

void sk_output_pool_free(sk_output_pool *pool)
{
    while (pool->spare) {
        sk_segment *next = pool->spare->next;
        sk_buf_free(&pool->spare->bytes);
        free(pool->spare);
        pool->spare = next;
    }
    pool->count = 0;
}

void sk_output_check(const sk_output *output)
{
    size_t bytes = 0;
    const sk_segment *last = NULL;
    for (const sk_segment *segment = output->first; segment; last = segment, segment = segment->next) {
        sk_assert(segment->bytes.len > segment->sent || (output->open && segment == output->last));
        bytes += segment->counted - segment->sent;
    }
    sk_assert(last == output->last);
    sk_assert(bytes == output->bytes);
    sk_assert(!output->open || output->last != NULL);
}
