#include "storage/skiplist.h"

/* One in four nodes goes a level up (Pugh's p = 1/4). The generator is xorshift64*, Marsaglia (2003), Vigna (2016). */
static uint32_t throw_height(sk_skiplist *list)
{
    uint64_t dice = list->dice ? list->dice : 0x9e3779b97f4a7c15u;
    dice ^= dice >> 12;
    dice ^= dice << 25;
    dice ^= dice >> 27;
    list->dice = dice;
    uint64_t bits = dice * 0x2545f4914f6cdd1du >> 32;
    uint32_t height = 1;
    while (height < SK_SKIPLIST_HEIGHT && (bits & 3) == 0) {
        height++;
        bits >>= 2;
    }
    return height;
}

/* For every level in use, the link that leads to the first node at or above the key; returns that node. */
static sk_skipnode *find(const sk_skiplist *list, sk_bytes key, sk_skipnode **links[SK_SKIPLIST_HEIGHT])
{
    sk_skipnode *before = NULL; /* the last node below the key, NULL: the head */
    sk_skipnode *at = NULL;
    for (uint32_t level = list->height; level-- > 0;) {
        sk_skipnode **link = before ? &before->next[level] : (sk_skipnode **)&list->head[level];
        sk_skipnode *known = at; /* what the level above led to is not below the key: not compared again */
        for (at = *link; at && at != known && sk_bytes_compare(at->key, key) < 0; at = *link) {
            before = at;
            link = &at->next[level];
        }
        if (links) links[level] = link;
    }
    return at;
}

static sk_skipnode *take_node(sk_skiplist *list, uint32_t height)
{
    sk_skipnode *node = list->spare[height - 1];
    if (node) {
        list->spare[height - 1] = node->next[0];
        return node;
    }
    node = sk_arena_take(&list->arena, sizeof *node + height * sizeof node->next[0]);
    sk_assert(node != NULL);
    node->height = height;
    return node;
}

/* Whether the key comes right after the node that was put last: the links to there are known still. */
static bool is_next(const sk_skiplist *list, sk_bytes key)
{
    if (!list->last || sk_bytes_compare(list->last->key, key) >= 0) return false;
    const sk_skipnode *after = list->last->next[0];
    return !after || sk_bytes_compare(key, after->key) < 0;
}

void *sk_skiplist_put(sk_skiplist *list, sk_bytes key, void *item)
{
    sk_skipnode ***links = list->links;
    if (!is_next(list, key)) {
        sk_skipnode *at = find(list, key, links);
        if (at && sk_bytes_equal(at->key, key)) {
            void *old = at->item;
            at->key = key; /* the old one is gone with its item */
            at->item = item;
            list->last = NULL;
            return old;
        }
    }
    uint32_t height = throw_height(list);
    for (; list->height < height; list->height++) links[list->height] = &list->head[list->height];
    sk_skipnode *node = take_node(list, height);
    node->key = key;
    node->item = item;
    for (uint32_t level = 0; level < height; level++) {
        node->next[level] = *links[level];
        *links[level] = node;
        links[level] = &node->next[level];
    }
    list->last = node;
    list->count++;
    return NULL;
}

void *sk_skiplist_get(const sk_skiplist *list, sk_bytes key)
{
    sk_skipnode *at = find(list, key, NULL);
    return at && sk_bytes_equal(at->key, key) ? at->item : NULL;
}

static void release(sk_skiplist *list, sk_skipnode *node)
{
    node->next[0] = list->spare[node->height - 1];
    list->spare[node->height - 1] = node;
    list->count--;
}

static void lower(sk_skiplist *list)
{
    while (list->height > 0 && !list->head[list->height - 1]) list->height--;
    list->last = NULL;
}

void *sk_skiplist_remove(sk_skiplist *list, sk_bytes key)
{
    sk_skipnode **links[SK_SKIPLIST_HEIGHT];
    sk_skipnode *node = find(list, key, links);
    if (!node || !sk_bytes_equal(node->key, key)) return NULL;
    for (uint32_t level = 0; level < node->height; level++) *links[level] = node->next[level];
    lower(list);
    release(list, node);
    return node->item;
}

static bool is_below(const sk_skipnode *node, sk_bytes to)
{
    return node && (!to.data || sk_bytes_compare(node->key, to) < 0);
}

void sk_skiplist_cut(sk_skiplist *list, sk_bytes from, sk_bytes to, void (*removed)(void *self, void *item), void *self)
{
    sk_skipnode **links[SK_SKIPLIST_HEIGHT];
    sk_skipnode *node = find(list, from, links), *end = node;
    if (!is_below(node, to)) return;
    for (uint32_t level = list->height; level-- > 0;) {
        for (end = *links[level]; is_below(end, to);) end = end->next[level];
        *links[level] = end;
    }
    lower(list);
    while (node != end) {
        sk_skipnode *next = node->next[0];
        void *item = node->item;
        release(list, node);
        removed(self, item);
        node = next;
    }
}

sk_skipnode *sk_skiplist_seek(const sk_skiplist *list, sk_bytes from)
{
    return find(list, from, NULL);
}

void sk_skiplist_clear(sk_skiplist *list)
{
    sk_arena arena = list->arena;
    sk_arena_reset(&arena);
    *list = (sk_skiplist){.arena = arena};
}

void sk_skiplist_free(sk_skiplist *list)
{
    sk_arena_free(&list->arena);
    *list = (sk_skiplist){0};
}

void sk_skiplist_check(const sk_skiplist *list)
{
    for (uint32_t level = 0; level < SK_SKIPLIST_HEIGHT; level++) {
        size_t count = 0;
        sk_assert(level < list->height || !list->head[level]);
        for (sk_skipnode *node = list->head[level]; node; node = node->next[level]) {
            sk_skipnode *next = node->next[level];
            sk_assert(node->height > level);
            if (next) sk_assert(sk_bytes_compare(node->key, next->key) < 0);
            count++;
        }
        sk_assert(count <= list->count);
        if (level == 0) sk_assert(count == list->count);
    }
}
