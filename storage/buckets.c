#include "storage/buckets.h"

#include <stdlib.h>

enum {
    ALIGN = sizeof(sk_bucket),
    WORTH_IT = 2 << 20, /* bytes: one huge page; less is not made ahead */
};

/* -- memory ------------------------------------------------------------------------------------------------------- */

static sk_bucket_array array_new(unsigned bits)
{
    void *memory = sk_alloc(sk_buckets_bytes(bits) + ALIGN);
    return (sk_bucket_array){memory, (sk_bucket *)(void *)(((uintptr_t)memory + ALIGN - 1) / ALIGN * ALIGN)};
}

static void array_free(sk_buckets *buckets, sk_bucket_array *array, unsigned bits)
{
    if (buckets->prefault) sk_prefault_forget(buckets->prefault, array->memory, sk_buckets_bytes(bits) + ALIGN);
    free(array->memory);
    *array = (sk_bucket_array){0};
}

void sk_buckets_init(sk_buckets *buckets, size_t max)
{
    *buckets = (sk_buckets){.bits = SK_BUCKETS_FIRST_BITS, .max_bits = SK_BUCKETS_FIRST_BITS};
    while (buckets->max_bits < SK_BUCKETS_MOST_BITS && sk_buckets_bytes(buckets->max_bits + 1) <= max) buckets->max_bits++;
}

void sk_buckets_hold(sk_buckets *buckets)
{
    buckets->held = true;
    array_free(buckets, &buckets->next, buckets->bits + 1);
}

void sk_buckets_free(sk_buckets *buckets)
{
    array_free(buckets, &buckets->next, buckets->bits + 1);
    array_free(buckets, &buckets->array, buckets->bits);
    *buckets = (sk_buckets){0};
}

/* -- growing ------------------------------------------------------------------------------------------------------ */

static void prepare(sk_buckets *buckets)
{
    size_t bytes = sk_buckets_bytes(buckets->bits + 1);
    if (buckets->held || !buckets->prefault || buckets->next.first || bytes < WORTH_IT) return;
    buckets->next = array_new(buckets->bits + 1);
    sk_prefault_ask(buckets->prefault, buckets->next.memory, bytes + ALIGN);
}

/* Each bucket becomes two neighbours. Which of them has a slot is told by the bit of the hash after those of the bucket. */
static void grow(sk_buckets *buckets)
{
    unsigned old_bits = buckets->bits++;
    unsigned shift = SK_BUCKETS_TAG_BIT + 63 - old_bits - SK_BUCKETS_TAG_FROM;
    sk_bucket_array old = buckets->array;
    buckets->array = buckets->next.first ? buckets->next : array_new(buckets->bits);
    buckets->next = (sk_bucket_array){0};
    for (size_t i = 0; i < (size_t)1 << old_bits; i++) {
        sk_bucket *into = &buckets->array.first[i * 2];
        int taken[2] = {0, 0};
        for (int k = 0; k < SK_BUCKET_SLOTS; k++) {
            uint64_t slot = old.first[i].slots[k];
            unsigned which = slot >> shift & 1;
            if (slot) into[which].slots[taken[which]++] = slot;
        }
    }
    array_free(buckets, &old, old_bits);
}

/* It grows when half of the slots are taken: of hashes that fall anywhere one in a thousand has met a full bucket by then. */
static size_t enough(unsigned bits)
{
    return ((size_t)SK_BUCKET_SLOTS << bits) / 2;
}

uint64_t *sk_buckets_empty_slot(sk_buckets *buckets, uint64_t hash)
{
    if (!buckets->array.first) buckets->array = array_new(buckets->bits);
    if (buckets->bits < buckets->max_bits && buckets->count >= enough(buckets->bits))
        grow(buckets);
    else if (buckets->bits < buckets->max_bits && buckets->count >= enough(buckets->bits) / 8 * 7)
        prepare(buckets);
    sk_bucket *bucket = sk_buckets_of(buckets, hash);
    for (int i = 0; i < SK_BUCKET_SLOTS; i++)
        if (!bucket->slots[i]) return &bucket->slots[i];
    return NULL;
}
