#include "storage/rowcache.h"

#include <stdlib.h>

enum {
    INDEX_PART = 4,        /* of the budget at most, for the index; the ring has the rest */
    LARGE_PART = 64,       /* an entry over this part of the budget is not kept, */
    LARGE_BYTES = 1 << 28, /* nor one over this */
    AHEAD_BYTES = 4 << 20, /* of the ring that are made before they are used, once as many are in use */
    SECOND_CHANCES = 8,    /* while room is made for one entry: nobody waits for a walk over all of the ring */
};

/* There are millions of them: what one does without makes room for others. */
typedef struct {
    uint32_t hash;  /* its low half, which has the place in the index */
    uint32_t epoch; /* of the cache when it was told this */
    uint32_t key_len, value_len;
    uint32_t size : 29; /* in the ring, all of it */
    uint32_t live : 1;  /* not overwritten by an entry elsewhere */
    uint32_t present : 1;
    uint32_t asked : 1; /* for, since it was put where it is */
    uint8_t data[];     /* key, value */
} entry;

enum { ALIGN = _Alignof(entry) };

static entry *entry_at(const sk_rowcache *cache, size_t at)
{
    return (entry *)(void *)(cache->ring + at);
}

static bool is_key(const void *item, const void *wanted)
{
    const entry *some = item;
    return sk_bytes_equal(sk_bytes_of(some->data, some->key_len), *(const sk_bytes *)wanted);
}

static void count_bytes(sk_rowcache *cache)
{
    size_t made = cache->prefaulted > cache->reached ? cache->prefaulted : cache->reached;
    cache->bytes = made + cache->index.room * sizeof(sk_index_slot);
}

void sk_rowcache_init(sk_rowcache *cache, size_t max)
{
    size_t slots = SK_INDEX_FIRST_SLOTS;
    while (slots * 2 * sizeof(sk_index_slot) <= max / INDEX_PART && slots <= UINT32_MAX / 2) slots *= 2;
    *cache = (sk_rowcache){.max = max, .most_entries = slots / SK_INDEX_SLOTS_AN_ITEM, .index.max_room = slots};
    size_t index_bytes = slots * sizeof(sk_index_slot);
    if (index_bytes > max / INDEX_PART) index_bytes = max / INDEX_PART; /* that minimum of a few kilobytes */
    cache->room = (max - index_bytes) / ALIGN * ALIGN;
}

void sk_rowcache_clear(sk_rowcache *cache)
{
    cache->epoch++;
}

void sk_rowcache_free(sk_rowcache *cache)
{
    if (cache->prefault) sk_prefault_forget(cache->prefault, cache->ring, cache->room);
    free(cache->ring);
    sk_index_free(&cache->index);
    *cache = (sk_rowcache){0};
}

int sk_rowcache_get(sk_rowcache *cache, uint64_t hash, sk_bytes key, sk_bytes *value)
{
    sk_index_slot *slot = sk_index_find(&cache->index, hash, is_key, &key);
    entry *found = slot ? slot->item : NULL;
    if (!found || found->epoch != cache->epoch) {
        cache->misses++;
        return -1;
    }
    cache->hits++;
    found->asked = true;
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
    sk_index_slot *slot = old->live ? sk_index_slot_of(&cache->index, old->hash, old) : NULL;
    pass(cache, size);
    size_t free_bytes = (cache->wrapped ? cache->tail : cache->room) - cache->head;
    bool stays = slot && old->asked && old->epoch == cache->epoch && free_bytes >= size && *chances > 0;
    if (!stays) {
        if (slot) sk_index_remove(&cache->index, slot);
        return;
    }
    --*chances;
    entry *moved = entry_at(cache, cache->head);
    memmove(moved, old, size);
    moved->asked = false;
    slot->item = moved;
    advance(cache, size);
}

/* The ring is full, and makes room for a new entry by old ones: if the index still grows, then without memory for that lying
 * idle until then, which might be for ever. */
static void hold_index(sk_rowcache *cache)
{
    cache->index.max_room = cache->index.room;
    sk_index_trim(&cache->index);
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
        hold_index(cache);
        cache->end = cache->head;
        cache->head = 0;
        if (empty) cache->tail = 0;
        cache->wrapped = !empty;
    }
}

static void forget(sk_rowcache *cache, sk_index_slot *slot)
{
    ((entry *)slot->item)->live = false;
    sk_index_remove(&cache->index, slot);
}

static entry *insert(sk_rowcache *cache, uint64_t hash, sk_bytes key, size_t size)
{
    if (!cache->ring) cache->ring = sk_alloc(cache->room);
    int chances = SECOND_CHANCES;
    while (cache->index.count >= cache->most_entries) drop_oldest(cache, &chances);
    make_room(cache, size, &chances);
    entry *made = entry_at(cache, cache->head);
    *made = (entry){.hash = (uint32_t)hash, .size = (uint32_t)size, .key_len = (uint32_t)key.len, .live = true};
    if (key.len) memcpy(made->data, key.data, key.len);
    sk_index_add(&cache->index, hash, made);
    advance(cache, size);
    count_bytes(cache);
    return made;
}

void sk_rowcache_put(sk_rowcache *cache, uint64_t hash, sk_bytes key, const sk_bytes *value)
{
    size_t value_len = value ? value->len : 0, limit = cache->max / LARGE_PART;
    if (limit > LARGE_BYTES) limit = LARGE_BYTES;
    sk_index_slot *slot = sk_index_find(&cache->index, hash, is_key, &key);
    bool large = limit < sizeof(entry) + ALIGN || key.len > limit - sizeof(entry) - ALIGN ||
                 value_len > limit - sizeof(entry) - ALIGN - key.len;
    size_t wanted = offsetof(entry, data) + key.len + value_len;
    entry *some = slot ? slot->item : NULL;
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
        if (some->live) (void)sk_index_slot_of(&cache->index, some->hash, some); /* asserts that it is there */
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
    sk_assert(cache->index.count <= cache->most_entries);
    sk_assert(cache->reached <= cache->room);
}
