#include "storage/rowcache.h"

#include <stdlib.h>

enum {
    MALLOC_BYTES = 16, /* what malloc takes for itself, about */
    LARGE_PART = 64,   /* an entry over this part of the budget is not kept */
};

struct sk_rowcache_entry {
    sk_rowcache_entry *before, *after; /* in the ring */
    uint64_t hash;
    uint32_t key_len, value_len, room; /* room: bytes of data[] */
    uint32_t epoch;                    /* of the cache when it was told this */
    bool present, asked;               /* asked for since the hand passed */
    uint8_t data[];                    /* key, value */
};

static size_t size_of(const sk_rowcache_entry *entry)
{
    return sizeof *entry + MALLOC_BYTES + SK_INDEX_SLOTS_AN_ITEM * sizeof(sk_index_slot) + entry->room;
}

static bool is_key(const void *item, const void *wanted)
{
    const sk_rowcache_entry *entry = item;
    return sk_bytes_equal(sk_bytes_of(entry->data, entry->key_len), *(const sk_bytes *)wanted);
}

static bool is_entry(const void *item, const void *wanted)
{
    return item == wanted;
}

static void drop(sk_rowcache *cache, sk_index_slot *slot)
{
    sk_rowcache_entry *entry = slot->item;
    sk_index_remove(&cache->index, slot);
    entry->before->after = entry->after;
    entry->after->before = entry->before;
    if (cache->hand == entry) cache->hand = entry->after == entry ? NULL : entry->after;
    cache->bytes -= size_of(entry);
    free(entry);
}

static void evict(sk_rowcache *cache)
{
    while (cache->hand->asked) {
        cache->hand->asked = false;
        cache->hand = cache->hand->after;
    }
    drop(cache, sk_index_find(&cache->index, cache->hand->hash, is_entry, cache->hand));
}

void sk_rowcache_init(sk_rowcache *cache, size_t max)
{
    *cache = (sk_rowcache){.max = max};
}

void sk_rowcache_clear(sk_rowcache *cache)
{
    cache->epoch++;
}

void sk_rowcache_free(sk_rowcache *cache)
{
    for (size_t i = 0; i < cache->index.room; i++) free(cache->index.slots[i].item);
    sk_index_free(&cache->index);
    *cache = (sk_rowcache){0};
}

int sk_rowcache_get(sk_rowcache *cache, uint64_t hash, sk_bytes key, sk_bytes *value)
{
    sk_index_slot *slot = sk_index_find(&cache->index, hash, is_key, &key);
    sk_rowcache_entry *entry = slot ? slot->item : NULL;
    if (!entry || entry->epoch != cache->epoch) {
        cache->misses++;
        return -1;
    }
    cache->hits++;
    entry->asked = true;
    *value = sk_bytes_of(entry->data + entry->key_len, entry->value_len);
    return entry->present;
}

static sk_rowcache_entry *insert(sk_rowcache *cache, uint64_t hash, sk_bytes key, size_t room)
{
    sk_rowcache_entry *entry = sk_realloc(NULL, sizeof *entry + room);
    *entry = (sk_rowcache_entry){.hash = hash, .key_len = (uint32_t)key.len, .room = (uint32_t)room};
    if (key.len) memcpy(entry->data, key.data, key.len);
    sk_index_add(&cache->index, hash, entry);
    if (cache->hand) { /* behind the hand: it comes to this one last */
        entry->after = cache->hand;
        entry->before = cache->hand->before;
        entry->before->after = entry->after->before = entry;
    } else {
        cache->hand = entry->before = entry->after = entry;
    }
    cache->bytes += size_of(entry);
    return entry;
}

void sk_rowcache_put(sk_rowcache *cache, uint64_t hash, sk_bytes key, const sk_bytes *value)
{
    size_t value_len = value ? value->len : 0, limit = cache->max / LARGE_PART;
    sk_index_slot *slot = sk_index_find(&cache->index, hash, is_key, &key);
    bool large = key.len > limit || value_len > limit - key.len;
    size_t wanted = key.len + value_len;
    sk_rowcache_entry *entry = slot ? slot->item : NULL;
    if (entry && (large || entry->room < wanted || entry->room / 2 > wanted + 64)) {
        drop(cache, slot);
        entry = NULL;
    }
    if (large) return;
    if (!entry) entry = insert(cache, hash, key, (wanted + 15) / 16 * 16);
    entry->present = value != NULL;
    entry->epoch = cache->epoch;
    entry->value_len = (uint32_t)value_len;
    if (value_len) memcpy(entry->data + key.len, value->data, value_len);
    while (cache->bytes > cache->max) evict(cache);
}

void sk_rowcache_check(const sk_rowcache *cache)
{
    size_t count = 0, bytes = 0;
    for (size_t i = 0; i < cache->index.room; i++) {
        const sk_rowcache_entry *entry = cache->index.slots[i].item;
        if (!entry) continue;
        sk_assert(cache->index.slots[i].hash == entry->hash);
        sk_assert(entry->after->before == entry);
        sk_assert((size_t)entry->key_len + entry->value_len <= entry->room);
        count++;
        bytes += size_of(entry);
    }
    sk_assert(count == cache->index.count);
    sk_assert(bytes == cache->bytes);
    sk_assert(bytes <= cache->max);
    sk_assert((cache->hand == NULL) == (count == 0));
}
