/* The skip list against a table that is searched from end to end. */
#include "storage/skiplist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { UNIVERSE = 300, KEY_MAX = 4 };

typedef struct {
    uint8_t key[KEY_MAX];
    size_t len;
    int tag;
} item;

static item universe[UNIVERSE][2]; /* two items of each key, to replace one by the other; in the order of the keys */

static uint32_t roll(uint64_t *seed, uint32_t sides)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % sides;
}

static int by_key(const void *a, const void *b)
{
    const item *left = a, *right = b;
    return sk_bytes_compare(sk_bytes_of(left->key, left->len), sk_bytes_of(right->key, right->len));
}

/* All keys of up to four letters out of 0x00, 'a', 0xff that fit: prefixes of each other, NULs, high bytes. */
static size_t build_universe(void)
{
    static const uint8_t letters[] = {0x00, 'a', 0xff};
    size_t count = 0;
    for (size_t len = 0; len <= KEY_MAX; len++) {
        size_t words = 1;
        for (size_t i = 0; i < len; i++) words *= 3;
        for (size_t word = 0; word < words; word++, count++) {
            size_t rest = word;
            for (size_t i = 0; i < len; i++, rest /= 3) universe[count][0].key[i] = letters[rest % 3];
            universe[count][0].len = len;
        }
    }
    qsort(universe, count, sizeof universe[0], by_key);
    for (size_t i = 0; i < count; i++) universe[i][1] = universe[i][0];
    return count;
}

static sk_bytes key_of(const item *of)
{
    return sk_bytes_of(of->key, of->len);
}

static void check_scan(const sk_skiplist *list, item *const *model, size_t count, size_t from)
{
    sk_skipnode *node = sk_skiplist_seek(list, key_of(universe[from]));
    for (size_t i = from; i < count; i++) {
        if (!model[i]) continue;
        assert_non_null(node);
        assert_ptr_equal(node->item, model[i]);
        node = node->next[0];
    }
    assert_null(node);
}

typedef struct {
    item **model;
    size_t expected; /* the universe's next one to hear of */
    size_t to;
} cutting;

/* Each that was there is told of once, in order. */
static void cut_out(void *self, void *out)
{
    cutting *of = self;
    while (of->expected < of->to && !of->model[of->expected]) of->expected++;
    assert_true(of->expected < of->to);
    assert_ptr_equal(out, of->model[of->expected]);
    of->model[of->expected] = NULL;
}

static void check_cut(sk_skiplist *list, item **model, size_t count, size_t from, size_t to)
{
    cutting of = {model, from, to < count ? to : count};
    sk_bytes end = to < count ? key_of(universe[to]) : SK_BYTES_NONE;
    sk_skiplist_cut(list, key_of(universe[from]), end, cut_out, &of);
    for (size_t i = from; i < of.to; i++) assert_null(model[i]);
    sk_skiplist_check(list);
    check_scan(list, model, count, 0);
}

/* Ascending keys go behind the last one without a search; whatever comes between must not lead them astray. */
static void ascending_keys_with_anything_between(void **state)
{
    (void)state;
    size_t count = build_universe();
    static item *model[UNIVERSE];
    for (uint64_t run = 1; run <= 300; run++) {
        uint64_t seed = run;
        sk_skiplist list = {0};
        memset(model, 0, sizeof model);
        for (int round = 0; round < 12; round++) {
            size_t at = roll(&seed, (uint32_t)count);
            for (uint32_t i = roll(&seed, 40); i > 0 && at < count; i--, at += 1 + roll(&seed, 3)) {
                item *some = &universe[at][roll(&seed, 2)];
                assert_ptr_equal(sk_skiplist_put(&list, key_of(some), some), model[at]);
                model[at] = some;
                size_t other = roll(&seed, (uint32_t)count);
                switch (roll(&seed, 12)) {
                case 0:
                    assert_ptr_equal(sk_skiplist_remove(&list, key_of(universe[other])), model[other]);
                    model[other] = NULL;
                    break;
                case 1: /* the one that was put last */
                    assert_ptr_equal(sk_skiplist_remove(&list, key_of(some)), some);
                    model[at] = NULL;
                    break;
                case 2:
                    assert_ptr_equal(sk_skiplist_put(&list, key_of(universe[other]), universe[other]), model[other]);
                    model[other] = universe[other];
                    break;
                case 3: check_cut(&list, model, count, other, other + roll(&seed, 30)); break;
                case 4: check_cut(&list, model, count, at, at + roll(&seed, 3)); break;
                default: assert_ptr_equal(sk_skiplist_get(&list, key_of(some)), some);
                }
            }
            if (roll(&seed, 8) == 0) check_cut(&list, model, count, roll(&seed, (uint32_t)count), count);
            sk_skiplist_check(&list);
            check_scan(&list, model, count, 0);
        }
        sk_skiplist_free(&list);
    }
}

static void agrees_with_a_plain_table(void **state)
{
    (void)state;
    size_t count = build_universe();
    static item *model[UNIVERSE];
    for (uint64_t run = 1; run <= 20; run++) {
        uint64_t seed = run;
        sk_skiplist list = {0};
        memset(model, 0, sizeof model);
        for (int step = 0; step < 4000; step++) {
            size_t at = roll(&seed, (uint32_t)count);
            item *some = &universe[at][roll(&seed, 2)];
            switch (roll(&seed, 8)) {
            case 0: case 1: case 2:
                assert_ptr_equal(sk_skiplist_put(&list, key_of(some), some), model[at]);
                model[at] = some;
                break;
            case 3: case 4:
                assert_ptr_equal(sk_skiplist_remove(&list, key_of(some)), model[at]);
                model[at] = NULL;
                break;
            case 5: check_scan(&list, model, count, at); break;
            case 6: assert_ptr_equal(sk_skiplist_get(&list, key_of(some)), model[at]); break;
            default:
                if (roll(&seed, 8) == 0) check_cut(&list, model, count, at, at + roll(&seed, 12));
                if (roll(&seed, 200) == 0) {
                    sk_skiplist_clear(&list);
                    memset(model, 0, sizeof model);
                }
            }
            if (step % 64 == 0) sk_skiplist_check(&list);
        }
        sk_skiplist_free(&list);
    }
}

static void uses_nodes_again(void **state)
{
    (void)state;
    sk_skiplist list = {0};
    build_universe();
    size_t used = 0;
    for (int round = 0; round < 5000; round++) {
        item *some = universe[round % 50];
        sk_skiplist_put(&list, key_of(some), some);
        sk_skiplist_remove(&list, key_of(some));
        if (round == 4000) used = list.arena.used;
    }
    assert_true(list.arena.used <= used + 1024);
    assert_int_equal(list.count, 0);
    sk_skiplist_free(&list);
}

static void the_same_calls_build_the_same_list(void **state)
{
    (void)state;
    sk_skiplist lists[2];
    memset(lists, 0, sizeof lists);
    size_t count = build_universe();
    for (size_t i = 0; i < count; i++)
        for (int l = 0; l < 2; l++) sk_skiplist_put(&lists[l], key_of(universe[(i * 7) % count]), universe[i]);
    sk_skipnode *b = lists[1].head[0];
    uint32_t highest = 0;
    for (sk_skipnode *a = lists[0].head[0]; a; a = a->next[0], b = b->next[0]) {
        assert_int_equal(a->height, b->height);
        if (a->height > highest) highest = a->height;
    }
    assert_true(highest > 2);
    for (int l = 0; l < 2; l++) sk_skiplist_free(&lists[l]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_plain_table),
        cmocka_unit_test(ascending_keys_with_anything_between),
        cmocka_unit_test(uses_nodes_again),
        cmocka_unit_test(the_same_calls_build_the_same_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
