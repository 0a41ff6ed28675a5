#include "storage/rowcache.h"

#include <stdlib.h>

enum {
    FIRST_BUCKETS = 4096,
    MALLOC_BYTES = 16, /* what malloc takes for itself, about */
    LARGE_PART = 64,   /* an entry over this part of the budget is not kept */
};

struct sk_rowcache_entry {
    sk_rowcache_entry *chain;
    sk_rowcache_entry *before, *after; /* in the ring */
    uint64_t hash;
    uint32_t key_len, value_len, room; /* room: bytes of data[] */
    uint32_t epoch;                    /* of the cache when it was told this */
    bool present, asked;               /* asked for since the hand passed */
    uint8_t data[];                    /* key, value */
};

static size_t size_of(const sk_rowcache_entry *entry)
{
    return sizeof *entry + MALLOC_BYTES + sizeof entry->chain + entry->room; /* its place among the buckets, too */
}

static sk_rowcache_entry **find_link(const sk_rowcache *cache, uint64_t hash, sk_bytes key)
{
    sk_rowcache_entry **link = &cache->buckets[hash & (cache->bucket_count - 1)];
    for (; *link; link = &(*link)->chain) {
        sk_rowcache_entry *at = *link;
        if (at->hash == hash && sk_bytes_equal(sk_bytes_of(at->data, at->key_len), key)) break;
    }
    return link;
}

static void drop(sk_rowcache *cache, sk_rowcache_entry **link)
{
    sk_rowcache_entry *entry = *link;
    *link = entry->chain;
    entry->before->after = entry->after;
    entry->after->before = entry->before;
    if (cache->hand == entry) cache->hand = entry->after == entry ? NULL : entry->after;
    cache->count--;
    cache->bytes -= size_of(entry);
    free(entry);
}

static void evict(sk_rowcache *cache)
{
    while (cache->hand->asked) {
        cache->hand->asked = false;
        cache->hand = cache->hand->after;
    }
    sk_rowcache_entry **link = &cache->buckets[cache->hand->hash & (cache->bucket_count - 1)];
    while (*link != cache->hand) link = &(*link)->chain;
    drop(cache, link);
}

static void grow(sk_rowcache *cache)
{
    sk_rowcache_entry **old = cache->buckets;
    size_t old_count = cache->bucket_count;
    cache->bucket_count *= 2;
    cache->buckets = sk_alloc(cache->bucket_count * sizeof *old);
    for (size_t i = 0; i < old_count; i++) {
        for (sk_rowcache_entry *entry = old[i]; entry;) {
            sk_rowcache_entry *next = entry->chain;
            sk_rowcache_entry **bucket = &cache->buckets[entry->hash & (cache->bucket_count - 1)];
            entry->chain = *bucket;
            *bucket = entry;
            entry = next;
        }
    }
    free(old);
}

void sk_rowcache_init(sk_rowcache *cache, size_t max)
{
    *cache = (sk_rowcache){.bucket_count = FIRST_BUCKETS, .max = max};
    cache->buckets = sk_alloc(FIRST_BUCKETS * sizeof *cache->buckets);
}

void sk_rowcache_clear(sk_rowcache *cache)
{
    cache->epoch++;
}

void sk_rowcache_free(sk_rowcache *cache)
{
    for (size_t i = 0; i < cache->bucket_count; i++)
        while (cache->buckets[i]) drop(cache, &cache->buckets[i]);
    free(cache->buckets);
    *cache = (sk_rowcache){0};
}

int sk_rowcache_get(sk_rowcache *cache, uint64_t hash, sk_bytes key, sk_bytes *value)
{
    sk_rowcache_entry *entry = *find_link(cache, hash, key);
    if (!entry || entry->epoch != cache->epoch) {
        cache->misses++;
        return -1;
    }
    cache->hits++;
    entry->asked = true;
    *value = sk_bytes_of(entry->data + entry->key_len, entry->value_len);
    return entry->present;
}

static sk_rowcache_entry *insert(sk_rowcache *cache, sk_rowcache_entry **link, uint64_t hash, sk_bytes key,
                                 size_t room)
{
    sk_rowcache_entry *entry = sk_realloc(NULL, sizeof *entry + room);
    *entry = (sk_rowcache_entry){.hash = hash, .key_len = (uint32_t)key.len, .room = (uint32_t)room};
    if (key.len) memcpy(entry->data, key.data, key.len);
    entry->chain = *link;
    *link = entry;
    if (cache->hand) { /* behind the hand: it comes to this one last */
        entry->after = cache->hand;
        entry->before = cache->hand->before;
        entry->before->after = entry->after->before = entry;
    } else {
        cache->hand = entry->before = entry->after = entry;
    }
    cache->count++;
    cache->bytes += size_of(entry);
    return entry;
}

void sk_rowcache_put(sk_rowcache *cache, uint64_t hash, sk_bytes key, const sk_bytes *value)
{
    size_t value_len = value ? value->len : 0, limit = cache->max / LARGE_PART;
    sk_rowcache_entry **link = find_link(cache, hash, key);
    bool large = key.len > limit || value_len > limit - key.len;
    size_t wanted = key.len + value_len;
    sk_rowcache_entry *entry = *link;
    if (entry && (large || entry->room < wanted || entry->room / 2 > wanted + 64)) {
        drop(cache, link); /* the link now leads to the next one of the chain */
        entry = NULL;
    }
    if (large) return;
    if (!entry) entry = insert(cache, link, hash, key, (wanted + 15) / 16 * 16);
    entry->present = value != NULL;
    entry->epoch = cache->epoch;
    entry->value_len = (uint32_t)value_len;
    if (value_len) memcpy(entry->data + key.len, value->data, value_len);
    while (cache->bytes > cache->max) evict(cache);
    if (cache->count > cache->bucket_count) grow(cache);
}

void sk_rowcache_check(const sk_rowcache *cache)
{
    size_t count = 0, bytes = 0;
    for (size_t i = 0; i < cache->bucket_count; i++) {
        for (const sk_rowcache_entry *entry = cache->buckets[i]; entry; entry = entry->chain) {
            sk_assert((entry->hash & (cache->bucket_count - 1)) == i);
            sk_assert(entry->after->before == entry);
            sk_assert((size_t)entry->key_len + entry->value_len <= entry->room);
            count++;
            bytes += size_of(entry);
        }
    }
    sk_assert(count == cache->count);
    sk_assert(bytes == cache->bytes);
    sk_assert(bytes <= cache->max);
    sk_assert((cache->hand == NULL) == (count == 0));
}
