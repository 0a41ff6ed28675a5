#include "storage/rowcache.h"

#include <stdlib.h>

enum {
    INDEX_PART = 8,        /* of the budget at most, for the index; the ring has the rest */
    LARGE_PART = 64,       /* an entry over this part of the budget is not kept, */
    LARGE_BYTES = 1 << 28, /* nor one over this */
    AHEAD_BYTES = 4 << 20, /* of the ring that are made before they are used, once as many are in use */
    SECOND_CHANCES = 8,    /* while room is made for one entry: nobody waits for a walk over all of the ring */
};

/* There are millions of them: what one does without makes room for others. */
typedef struct {
    uint32_t hash;  /* its upper half, which has the bucket in the index */
    uint32_t epoch; /* of the cache when it was told this */
    uint32_t key_len, value_len;
    uint32_t size : 29; /* in the ring, all of it */
    uint32_t live : 1;  /* not overwritten by an entry elsewhere */
    uint32_t present : 1;
    uint8_t data[];     /* key, value */
} entry;

enum { ALIGN = _Alignof(entry) };

static entry *entry_at(const sk_rowcache *cache, size_t at)
{
    return (entry *)(void *)(cache->ring + at);
}

/* What the index has for where an entry lies. */
static uint64_t place_of(size_t at)
{
    return at / ALIGN;
}

static entry *entry_in(const sk_rowcache *cache, uint64_t slot)
{
    return entry_at(cache, sk_slot_place(slot) * ALIGN);
}

/* The slot of a live entry that lies at `at`. */
static uint64_t *slot_of(const sk_rowcache *cache, const entry *some, size_t at)
{
    return sk_buckets_slot_at(&cache->index, (uint64_t)some->hash << 32, place_of(at));
}

static uint64_t *find(const sk_rowcache *cache, uint64_t hash, sk_bytes key)
{
    sk_bucket *bucket = sk_buckets_of(&cache->index, hash);
    unsigned left = bucket ? sk_bucket_may_have(bucket, hash) : 0;
    for (; left; left &= left - 1) {
        uint64_t *slot = &bucket->slots[__builtin_ctz(left)];
        const entry *some = entry_in(cache, *slot);
        if (sk_bytes_equal(sk_bytes_of(some->data, some->key_len), key)) return slot;
    }
    return NULL;
}

void sk_rowcache_fetch(const sk_rowcache *cache, uint64_t hash)
{
    sk_buckets_fetch(&cache->index, hash);
}

void sk_rowcache_fetch_entry(const sk_rowcache *cache, uint64_t hash)
{
    enum { LINE = 64, LINES = 3 };
    const sk_bucket *bucket = sk_buckets_of(&cache->index, hash);
    unsigned found = bucket ? sk_bucket_may_have(bucket, hash) : 0;
    if (!found) return;
    const char *some = (const char *)entry_in(cache, bucket->slots[__builtin_ctz(found)]);
    for (int line = 0; line < LINES; line++) __builtin_prefetch(some + line * LINE);
}

static void count_bytes(sk_rowcache *cache)
{
    size_t made = cache->prefaulted > cache->reached ? cache->prefaulted : cache->reached;
    cache->bytes = made + sk_buckets_bytes(cache->index.bits);
}

void sk_rowcache_init(sk_rowcache *cache, size_t max)
{
    *cache = (sk_rowcache){.max = max};
    sk_buckets_init(&cache->index, max / INDEX_PART);
    size_t index_bytes = sk_buckets_most_bytes(&cache->index);
    if (index_bytes > max / INDEX_PART) index_bytes = max / INDEX_PART; /* that minimum of a few kilobytes */
    cache->room = (max - index_bytes) / ALIGN * ALIGN;
    if (cache->room / ALIGN > SK_BUCKETS_PLACES) cache->room = SK_BUCKETS_PLACES * ALIGN;
}

void sk_rowcache_clear(sk_rowcache *cache)
{
    cache->epoch++;
}

void sk_rowcache_free(sk_rowcache *cache)
{
    if (cache->prefault) sk_prefault_forget(cache->prefault, cache->ring, cache->room);
    free(cache->ring);
    sk_buckets_free(&cache->index);
    *cache = (sk_rowcache){0};
}

int sk_rowcache_get(sk_rowcache *cache, uint64_t hash, sk_bytes key, sk_bytes *value)
{
    uint64_t *slot = find(cache, hash, key);
    entry *found = slot ? entry_in(cache, *slot) : NULL;
    if (!found || found->epoch != cache->epoch) {
        cache->misses++;
        return -1;
    }
    cache->hits++;
    *slot |= SK_SLOT_ASKED;
    *value = sk_bytes_of(found->data + found->key_len, found->value_len);
    return found->present;
}

/* -- the ring ----------------------------------------------------------------------------------------------------- */

static void look_ahead(sk_rowcache *cache)
{
    if (!cache->prefault || cache->reached < AHEAD_BYTES || cache->prefaulted >= cache->room) return;
    if (cache->prefaulted < cache->reached) cache->prefaulted = cache->reached;
    size_t bytes = cache->room - cache->prefaulted < AHEAD_BYTES ? cache->room - cache->prefaulted : AHEAD_BYTES;
    sk_prefault_ask(cache->prefault, cache->ring + cache->prefaulted, bytes);
    cache->prefaulted += bytes;
}

static void advance(sk_rowcache *cache, size_t size)
{
    cache->head += size;
    if (cache->head <= cache->reached) return;
    cache->reached = cache->head;
    if (cache->reached + AHEAD_BYTES > cache->prefaulted) look_ahead(cache);
}

/* The tail goes on past its entry, to the ring's beginning if that was the last one there. */
static void pass(sk_rowcache *cache, size_t size)
{
    cache->tail += size;
    if (!cache->wrapped || cache->tail != cache->end) return;
    cache->tail = 0;
    cache->wrapped = false;
}

/* The oldest entry goes, or with a chance left moves to the front: into what it leaves and the free part before it. */
static void drop_oldest(sk_rowcache *cache, int *chances)
{
    entry *old = entry_at(cache, cache->tail);
    uint32_t size = old->size;
    uint64_t *slot = old->live ? slot_of(cache, old, cache->tail) : NULL;
    pass(cache, size);
    size_t free_bytes = (cache->wrapped ? cache->tail : cache->room) - cache->head;
    bool stays = slot && *slot & SK_SLOT_ASKED && old->epoch == cache->epoch && free_bytes >= size && *chances > 0;
    if (!stays) {
        if (slot) sk_buckets_remove(&cache->index, slot);
        return;
    }
    --*chances;
    entry *moved = entry_at(cache, cache->head);
    memmove(moved, old, size);
    sk_slot_move(slot, place_of(cache->head));
    advance(cache, size);
}

/* At `head` are `size` bytes free. */
static void make_room(sk_rowcache *cache, size_t size, int *chances)
{
    for (;;) {
        if (cache->wrapped) {
            if (cache->tail - cache->head >= size) return;
            drop_oldest(cache, chances);
            continue;
        }
        if (cache->room - cache->head >= size) return;
        bool empty = cache->head == cache->tail;
        sk_buckets_hold(&cache->index); /* old entries make way for new ones from here on */
        cache->end = cache->head;
        cache->head = 0;
        if (empty) cache->tail = 0;
        cache->wrapped = !empty;
    }
}

static void forget(sk_rowcache *cache, uint64_t *slot)
{
    entry_in(cache, *slot)->live = false;
    sk_buckets_remove(&cache->index, slot);
}

/* How many bytes of the ring came after what has this slot; what was asked for counts as newer than what was not. */
static size_t age_of(const sk_rowcache *cache, uint64_t slot)
{
    size_t at = sk_slot_place(slot) * ALIGN;
    size_t age = at < cache->head ? cache->head - at : cache->end - at + cache->head;
    return slot & SK_SLOT_ASKED ? age : age + cache->room;
}

/* In a full bucket the oldest makes way. */
static uint64_t *empty_slot(sk_rowcache *cache, uint64_t hash)
{
    uint64_t *found = sk_buckets_empty_slot(&cache->index, hash);
    if (found) return found;
    sk_bucket *bucket = sk_buckets_of(&cache->index, hash);
    found = &bucket->slots[0];
    for (int i = 1; i < SK_BUCKET_SLOTS; i++)
        if (age_of(cache, bucket->slots[i]) > age_of(cache, *found)) found = &bucket->slots[i];
    forget(cache, found);
    return found;
}

static entry *insert(sk_rowcache *cache, uint64_t hash, sk_bytes key, size_t size)
{
    if (!cache->ring) cache->ring = sk_alloc(cache->room);
    int chances = SECOND_CHANCES;
    make_room(cache, size, &chances);
    entry *made = entry_at(cache, cache->head);
    *made = (entry){.hash = (uint32_t)(hash >> 32), .size = (uint32_t)size, .key_len = (uint32_t)key.len, .live = true};
    if (key.len) memcpy(made->data, key.data, key.len);
    sk_buckets_set(&cache->index, empty_slot(cache, hash), hash, place_of(cache->head));
    advance(cache, size);
    count_bytes(cache);
    return made;
}

void sk_rowcache_put(sk_rowcache *cache, uint64_t hash, sk_bytes key, const sk_bytes *value)
{
    size_t value_len = value ? value->len : 0, limit = cache->max / LARGE_PART;
    if (limit > LARGE_BYTES) limit = LARGE_BYTES;
    uint64_t *slot = find(cache, hash, key);
    bool large = limit < sizeof(entry) + ALIGN || key.len > limit - sizeof(entry) - ALIGN ||
                 value_len > limit - sizeof(entry) - ALIGN - key.len;
    size_t wanted = offsetof(entry, data) + key.len + value_len;
    entry *some = slot ? entry_in(cache, *slot) : NULL;
    if (some && (large || some->size < wanted || some->size / 2 > wanted)) {
        forget(cache, slot);
        some = NULL;
    }
    if (large) return;
    if (!some) some = insert(cache, hash, key, (wanted + ALIGN - 1) / ALIGN * ALIGN);
    some->present = value != NULL;
    some->epoch = cache->epoch;
    some->value_len = (uint32_t)value_len;
    if (value_len) memcpy(some->data + key.len, value->data, value_len);
}

/* Entries from one place to another; returns how many are live. */
static size_t check_part(const sk_rowcache *cache, size_t from, size_t to)
{
    size_t live = 0;
    while (from < to) {
        entry *some = entry_at(cache, from);
        sk_assert(some->size >= offsetof(entry, data));
        sk_assert(some->size <= to - from);
        sk_assert(offsetof(entry, data) + some->key_len + some->value_len <= some->size);
        if (some->live) (void)slot_of(cache, some, from); /* asserts that it is there */
        live += some->live;
        from += some->size;
    }
    return live;
}

void sk_rowcache_check(const sk_rowcache *cache)
{
    sk_assert(!cache->wrapped || cache->head <= cache->tail);
    sk_assert(cache->wrapped || cache->tail <= cache->head);
    size_t live = cache->wrapped ? check_part(cache, cache->tail, cache->end) + check_part(cache, 0, cache->head)
                                 : check_part(cache, cache->tail, cache->head);
    sk_assert(live == cache->index.count);
    sk_assert(cache->reached <= cache->room);
}
