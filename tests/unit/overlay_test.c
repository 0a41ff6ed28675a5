/* The overlay against a plain list of all changes: finds, views merged with a base, the way of batches, what is kept. */
#include "storage/memory.h"
#include "storage/overlay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KEYS_MAX = 3000, LOG_MAX = 20000 };

/* What stands under a key. */
typedef struct {
    uint32_t value;  /* 0: nothing */
    bool covered;    /* the overlay has a word on it */
    uint64_t number; /* the batch of that word */
} cell;

typedef struct {
    sk_change_kind kind;
    sk_cf cf;
    size_t from, to; /* places among the keys; a point has only `from` */
    uint32_t value;
    uint64_t number;
} logged;

/* The overlay, what is below it, and every change in it, in order. */
typedef struct {
    sk_overlay overlay;
    uint64_t seed, open; /* the open batch's number */
    uint32_t values;     /* given out */
    size_t keys, count;
    logged log[LOG_MAX];
    uint32_t base[SK_CF_COUNT][KEYS_MAX];
    cell words[SK_CF_COUNT][KEYS_MAX]; /* over the base */
} game;

static char names[KEYS_MAX + 1][8];

static uint32_t roll(uint64_t *seed, uint32_t sides)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % sides;
}

static sk_bytes name(size_t at)
{
    return sk_bytes_str(names[at]);
}

static sk_bytes bound(const game *play, size_t at)
{
    return at < play->keys ? name(at) : SK_BYTES_NONE;
}

static game *game_new(uint64_t seed, size_t keys)
{
    game *play = calloc(1, sizeof *play);
    assert_non_null(play);
    for (size_t i = 0; i <= KEYS_MAX; i++) snprintf(names[i], sizeof names[i], "k%05zu", i);
    play->seed = seed;
    play->keys = keys;
    play->open = 1;
    sk_overlay_init(&play->overlay, 1, 0);
    return play;
}

static void game_end(game *play)
{
    sk_overlay_free(&play->overlay);
    free(play);
}

/* -- changes, to both ---------------------------------------------------------------------------------------------- */

static void apply(game *play, const logged *change, bool to_base)
{
    size_t to = change->kind == SK_CHANGE_RANGE ? change->to : change->from + 1;
    uint32_t value = change->kind == SK_CHANGE_PUT ? change->value : 0;
    for (size_t i = change->from; i < to; i++) {
        if (to_base)
            play->base[change->cf][i] = value;
        else
            play->words[change->cf][i] = (cell){value, true, change->number};
    }
}

static void note(game *play, logged change)
{
    assert_true(play->count < LOG_MAX);
    change.number = play->open;
    play->log[play->count++] = change;
    apply(play, &change, false);
}

static void read_again(game *play)
{
    memset(play->words, 0, sizeof play->words);
    for (size_t i = 0; i < play->count; i++) apply(play, &play->log[i], false);
}

static void put_at(game *play, sk_cf cf, size_t at)
{
    uint32_t value = ++play->values;
    sk_overlay_change(&play->overlay, SK_CHANGE_PUT, cf, name(at), sk_bytes_of(&value, sizeof value));
    note(play, (logged){.kind = SK_CHANGE_PUT, .cf = cf, .from = at, .value = value});
}

static void remove_at(game *play, sk_cf cf, size_t at)
{
    sk_overlay_change(&play->overlay, SK_CHANGE_REMOVE, cf, name(at), sk_bytes_str("ignored"));
    note(play, (logged){.kind = SK_CHANGE_REMOVE, .cf = cf, .from = at});
}

/* `to` beyond the last key: an open end. */
static void remove_range(game *play, sk_cf cf, size_t from, size_t to)
{
    sk_overlay_remove_range(&play->overlay, cf, name(from), bound(play, to));
    if (from < to) note(play, (logged){.kind = SK_CHANGE_RANGE, .cf = cf, .from = from, .to = to});
}

static void seal(game *play)
{
    sk_batch *batch = sk_overlay_seal(&play->overlay);
    assert_int_equal(batch->number, play->open);
    play->open++;
}

static size_t index_of(sk_bytes key)
{
    size_t at = 0;
    while (at < KEYS_MAX && !sk_bytes_equal(name(at), key)) at++;
    return at;
}

/* What whoever reads the batch's list does. */
static void place(const game *play, uint32_t base[SK_CF_COUNT][KEYS_MAX], const sk_change *change)
{
    size_t from = index_of(sk_change_key(change)), to = from + 1;
    uint32_t value = 0;
    if (change->kind == SK_CHANGE_PUT) memcpy(&value, sk_change_value(change).data, sizeof value);
    if (change->kind == SK_CHANGE_RANGE) to = change->open_end ? play->keys : index_of(sk_change_value(change));
    for (size_t at = from; at < to; at++) base[change->cf][at] = value;
}

/* The oldest sealed batch goes to the base. False: there was none. */
static bool take(game *play)
{
    sk_batch *batch = sk_overlay_take(&play->overlay, play->open);
    if (!batch) return false;
    static uint32_t expected[SK_CF_COUNT][KEYS_MAX];
    size_t done = 0;
    memcpy(expected, play->base, sizeof expected);
    for (const sk_change *change = batch->first; change; change = change->next) place(play, expected, change);
    for (; done < play->count && play->log[done].number == batch->number; done++) apply(play, &play->log[done], true);
    assert_memory_equal(expected, play->base, sizeof expected);
    play->count -= done;
    memmove(play->log, play->log + done, play->count * sizeof *play->log);
    read_again(play);
    sk_overlay_recycle(&play->overlay, batch);
    return true;
}

static void keep(game *play, uint64_t upto)
{
    sk_overlay_keep(&play->overlay, upto);
    while (play->count && play->log[play->count - 1].number > upto) play->count--;
    read_again(play);
    assert_true(play->overlay.open->number > play->open); /* numbers that were seen do not come again */
    play->open = play->overlay.open->number;
}

/* -- what is seen ---------------------------------------------------------------------------------------------------- */

static uint32_t newest(const game *play, sk_cf cf, size_t at)
{
    return play->words[cf][at].covered ? play->words[cf][at].value : play->base[cf][at];
}

static void check_find(game *play, sk_cf cf, size_t at)
{
    sk_bytes value;
    uint64_t number = 0;
    cell expected = play->words[cf][at];
    sk_overlay_answer answer =
        sk_overlay_find(&play->overlay, sk_overlay_hash(cf, name(at)), cf, name(at), &value, &number);
    if (!expected.covered) {
        assert_int_equal(answer, SK_OVERLAY_ELSEWHERE);
        return;
    }
    assert_int_equal(answer, expected.value ? SK_OVERLAY_FOUND : SK_OVERLAY_REMOVED);
    assert_int_equal(number, expected.number);
    if (answer == SK_OVERLAY_FOUND) assert_memory_equal(value.data, &expected.value, sizeof expected.value);
}

/* A view merged with the base as it was when it was taken. */
typedef struct {
    sk_overlay_view view;
    sk_cf cf;
    uint32_t base[KEYS_MAX];
    size_t at, end; /* of the base */
} walk;

static void walk_start(game *play, walk *on, sk_cf cf, size_t from, size_t to, bool whole)
{
    sk_overlay_view_take(&play->overlay, cf, bound(play, from), bound(play, to), whole, &on->view);
    memcpy(on->base, play->base[cf], sizeof on->base);
    on->cf = cf;
    on->at = from;
    on->end = to < play->keys ? to : play->keys;
}

static void base_seek(walk *on)
{
    while (on->at < on->end && !on->base[on->at]) on->at++;
}

/* The place of the next pair, and its value; false at the end. */
static bool walk_next(walk *on, size_t *at, uint32_t *got)
{
    for (;;) {
        base_seek(on);
        sk_bytes below = on->at < on->end ? name(on->at) : SK_BYTES_NONE, key, value;
        switch (sk_overlay_view_next(&on->view, below.data ? &below : NULL, &key, &value)) {
        case SK_VIEW_END: return false;
        case SK_VIEW_PAIR:
            assert_int_equal(key.len, 6);
            *at = 0;
            for (size_t i = 1; i < key.len; i++) *at = *at * 10 + (size_t)(key.data[i] - '0');
            assert_int_equal(value.len, sizeof *got);
            memcpy(got, value.data, sizeof *got);
            return true;
        case SK_VIEW_BASE:
            *at = on->at;
            *got = on->base[on->at++];
            return true;
        case SK_VIEW_SKIP: on->at++; break;
        case SK_VIEW_SEEK:
            assert_true(!key.data || sk_bytes_compare(key, below) > 0);
            while (on->at < on->end && (!key.data || sk_bytes_compare(name(on->at), key) < 0)) on->at++;
            break;
        }
    }
}

static void check_walk(game *play, sk_cf cf, size_t from, size_t to, bool whole)
{
    walk *on = malloc(sizeof *on);
    assert_non_null(on);
    size_t at;
    uint32_t value;
    walk_start(play, on, cf, from, to, whole);
    size_t end = on->end;
    for (size_t i = from; i < end; i++) {
        uint32_t expected = newest(play, cf, i);
        if (!expected) continue;
        assert_true(walk_next(on, &at, &value));
        assert_int_equal(at, i);
        assert_int_equal(value, expected);
    }
    assert_false(walk_next(on, &at, &value));
    sk_overlay_view_free(&on->view);
    free(on);
}

static void check_all(game *play)
{
    sk_overlay_check(&play->overlay);
    for (int cf = 0; cf < SK_CF_COUNT; cf++)
        for (size_t at = 0; at < play->keys; at++) check_find(play, (sk_cf)cf, at);
    for (int cf = 0; cf < SK_CF_COUNT; cf++) check_walk(play, (sk_cf)cf, 0, play->keys, cf & 1);
}

/* -- random histories ------------------------------------------------------------------------------------------------ */

static void play_change(game *play, sk_cf cf)
{
    size_t at = roll(&play->seed, (uint32_t)play->keys), to = roll(&play->seed, (uint32_t)play->keys + 1);
    uint32_t kind = roll(&play->seed, 40);
    if (kind < 28)
        put_at(play, cf, at);
    else if (kind < 38)
        remove_at(play, cf, at);
    else
        remove_range(play, cf, at, to);
}

static void play_step(game *play)
{
    sk_cf cf = (sk_cf)roll(&play->seed, SK_CF_COUNT);
    size_t at = roll(&play->seed, (uint32_t)play->keys), to = at + roll(&play->seed, (uint32_t)(play->keys - at) + 1);
    switch (roll(&play->seed, 16)) {
    case 0: seal(play); break;
    case 1: take(play); break;
    case 2: check_walk(play, cf, at, to, roll(&play->seed, 2)); break;
    case 3: check_find(play, cf, at); break;
    case 4:
        if (roll(&play->seed, 30) == 0) keep(play, play->open - roll(&play->seed, 8) % play->open);
        if (roll(&play->seed, 100) == 0) keep(play, 0);
        break;
    case 5:
        if (roll(&play->seed, 200)) break;
        sk_overlay_drop_all(&play->overlay);
        play->count = 0;
        read_again(play);
        play->open++;
        break;
    default: play_change(play, cf);
    }
}

static void random_histories_agree_with_the_list(void **state)
{
    (void)state;
    uint64_t first = getenv("SK_SEED") ? strtoull(getenv("SK_SEED"), NULL, 10) : 1;
    uint64_t count = getenv("SK_SEED") ? 1 : 60;
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("seed %llu (again: SK_SEED=%llu)\r", (unsigned long long)seed, (unsigned long long)seed);
        game *play = game_new(seed, seed % 3 ? 40 : 300);
        for (int step = 0; step < 2500; step++) {
            play_step(play);
            if (step % 16 == 0) sk_overlay_check(&play->overlay);
            if (step % 250 == 0) check_all(play);
        }
        check_all(play);
        while (play->count) {
            seal(play);
            while (take(play)) continue;
        }
        check_all(play);
        assert_int_equal(play->overlay.live, 0);
        assert_int_equal(play->overlay.sealed_bytes, 0);
        game_end(play);
    }
    print_message("\n");
}

/* -- what is kept ------------------------------------------------------------------------------------------------------ */

static void keeping_shows_what_the_dropped_hid(void **state)
{
    (void)state;
    game *play = game_new(1, 20);
    put_at(play, SK_CF_ROW, 1), put_at(play, SK_CF_ROW, 2), put_at(play, SK_CF_ROW, 3);
    seal(play);
    put_at(play, SK_CF_ROW, 1);
    remove_at(play, SK_CF_ROW, 2);
    remove_range(play, SK_CF_ROW, 3, 20);
    seal(play);
    remove_range(play, SK_CF_ROW, 0, 20);
    check_all(play);
    keep(play, 1);
    check_all(play);
    assert_int_equal(newest(play, SK_CF_ROW, 1), 1);
    assert_int_equal(newest(play, SK_CF_ROW, 2), 2);
    assert_int_equal(newest(play, SK_CF_ROW, 3), 3);
    keep(play, 1); /* it may be asked again, and kept batches leave as any other */
    check_all(play);
    assert_true(take(play));
    assert_false(play->overlay.sealed != NULL);
    check_all(play);
    game_end(play);
}

/* Points before and after ranges of their own batch: each must find its way into the ordered list again, or out of it. */
static void what_follows_a_range_in_its_batch_is_kept(void **state)
{
    (void)state;
    game *play = game_new(1, 50);
    for (int round = 0; round < 3; round++) {
        for (size_t at = 0; at < 50; at += 2) put_at(play, SK_CF_HISTORY, at);
        remove_range(play, SK_CF_HISTORY, 10, 30);
        for (size_t at = 12; at < 28; at += 3) put_at(play, SK_CF_HISTORY, at);
        remove_range(play, SK_CF_HISTORY, 15, 50);
        for (size_t at = 20; at < 50; at += 5) put_at(play, SK_CF_HISTORY, at);
        seal(play);
    }
    check_all(play);
    for (uint64_t upto = 3; upto > 0; upto--) {
        keep(play, upto);
        check_all(play);
        put_at(play, SK_CF_HISTORY, 5), remove_range(play, SK_CF_HISTORY, 0, 13); /* and it can be gone on with */
        check_all(play);
    }
    keep(play, 0);
    check_all(play);
    assert_null(play->overlay.sealed);
    game_end(play);
}

/* -- views while puts go on ------------------------------------------------------------------------------------------- */

/* Walks a family while it changes: what is given must be what stood there at some moment since the walk began, and what
 * is left out must have been gone at some moment. */
static void walk_while_changing(game *play, sk_cf cf, bool whole, uint32_t pace)
{
    static uint32_t before[KEYS_MAX], owner[1 << 20];
    static bool gone[KEYS_MAX];
    walk *on = malloc(sizeof *on);
    assert_non_null(on);
    walk_start(play, on, cf, 0, play->keys, whole);
    for (size_t at = 0; at < play->keys; at++) {
        before[at] = newest(play, cf, at);
        gone[at] = !before[at];
    }
    uint32_t first_new = play->values + 1, value;
    size_t at, next = 0;
    while (walk_next(on, &at, &value)) {
        assert_true(at >= next); /* ascending */
        for (; next < at; next++) assert_true(gone[next]);
        next = at + 1;
        if (value != before[at]) {
            assert_true(value >= first_new);
            assert_int_equal(owner[value - first_new], at);
        }
        for (uint32_t i = roll(&play->seed, pace); i > 0; i--) {
            size_t some = roll(&play->seed, (uint32_t)play->keys), count = play->count;
            uint32_t kind = roll(&play->seed, 100);
            if (kind < 70) {
                put_at(play, cf, some);
                owner[play->values - first_new] = (uint32_t)some;
            } else if (kind < 95) {
                remove_at(play, cf, some);
            } else if (kind < 97) {
                remove_range(play, cf, some, some + roll(&play->seed, 30));
            } else {
                seal(play);
            }
            for (; count < play->count; count++)
                for (size_t k = 0; k < play->keys; k++) gone[k] = gone[k] || !newest(play, cf, k);
        }
        if (whole && roll(&play->seed, 50) == 0) take(play); /* which only a whole view bears */
    }
    for (; next < play->keys; next++) assert_true(gone[next]);
    sk_overlay_view_free(&on->view);
    free(on);
}

static void views_of_many_pairs_bear_changes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        size_t keys = seed % 4 == 0 ? 60 : seed % 4 == 1 ? 70 : seed % 4 == 2 ? 700 : 1500;
        for (int whole = 0; whole < 2; whole++) {
            game *play = game_new(seed, keys);
            for (size_t at = 0; at < keys; at++) /* the base has older words on most of what the overlay has */
                if (at % 3) play->base[SK_CF_ROW][at] = ++play->values;
            for (size_t at = 0; at < keys; at++)
                if (roll(&play->seed, 8)) put_at(play, SK_CF_ROW, at);
            seal(play);
            for (size_t at = 0; at < keys / 10; at++) play_change(play, SK_CF_ROW);
            walk_while_changing(play, SK_CF_ROW, whole, 4);
            check_all(play);
            game_end(play);
        }
    }
}

/* A range that takes out what a view has not copied yet must not bring back what had been overwritten before. */
static void a_range_does_not_bring_older_values_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {65, 513, 2000};
    for (size_t i = 0; i < 3; i++) {
        game *play = game_new(1, sizes[i]);
        for (size_t at = 0; at < sizes[i]; at++) play->base[SK_CF_ROW][at] = ++play->values;
        uint32_t old = play->values, value;
        for (size_t at = 0; at < sizes[i]; at++) put_at(play, SK_CF_ROW, at);
        walk *on = malloc(sizeof *on);
        assert_non_null(on);
        walk_start(play, on, SK_CF_ROW, 0, sizes[i], false);
        size_t at, count = 0;
        assert_true(walk_next(on, &at, &value));
        remove_range(play, SK_CF_ROW, 64, sizes[i]);
        while (walk_next(on, &at, &value)) {
            assert_true(value > old);
            count++;
        }
        assert_true(count <= 63);
        sk_overlay_view_free(&on->view);
        free(on);
        game_end(play);
    }
}

/* The store of the simulator commits whenever it is told to, also while somebody iterates. */
static void iterators_of_the_memory_store_bear_commits(void **state)
{
    (void)state;
    enum { MANY = 1000, LAST = 900 };
    for (int mode = SK_DURABILITY_ALWAYS; mode <= SK_DURABILITY_OS; mode++) {
        sk_store *store = sk_memory_open((sk_durability)mode);
        for (size_t i = 0; i <= KEYS_MAX; i++) snprintf(names[i], sizeof names[i], "k%05zu", i);
        for (uint32_t round = 1; round <= 2; round++) {
            for (size_t at = 0; at < MANY; at++)
                sk_store_put(store, SK_CF_ROW, name(at), sk_bytes_of(&round, sizeof round));
            if (round == 1) assert_int_equal(sk_memory_sync(store, sk_store_seal(store)), SK_OK);
        }
        sk_store_iter *iter = sk_store_iterate(store, NULL, SK_CF_ROW, SK_BYTES_NONE, name(LAST));
        sk_bytes key, value;
        uint32_t number;
        for (size_t at = 0; at < LAST; at++) {
            assert_int_equal(sk_store_next(store, iter, &key, &value), 1);
            assert_true(sk_bytes_equal(key, name(at)));
            memcpy(&number, value.data, sizeof number);
            assert_int_equal(number, 2);
            if (at == 10) assert_int_equal(sk_memory_sync(store, sk_store_seal(store)), SK_OK);
        }
        assert_int_equal(sk_store_next(store, iter, &key, &value), 0);
        sk_store_iter_free(store, iter);
        sk_store_close(store);
    }
}

static void order_is_brought_when_it_is_asked_for(void **state)
{
    (void)state;
    game *play = game_new(1, 100);
    for (size_t i = 0; i < 30; i++) put_at(play, SK_CF_ROW, i);
    for (size_t i = 0; i < 5; i++) put_at(play, SK_CF_META, i);
    assert_int_equal(sk_overlay_unordered(&play->overlay), 35);
    check_walk(play, SK_CF_ROW, 0, 10, false);
    assert_int_equal(sk_overlay_unordered(&play->overlay), 5);
    seal(play);
    for (size_t i = 20; i < 40; i++) put_at(play, SK_CF_ROW, i); /* ten of them in the place of ordered ones */
    assert_int_equal(sk_overlay_unordered(&play->overlay), 25);
    assert_true(take(play));
    assert_int_equal(sk_overlay_unordered(&play->overlay), 20);
    check_all(play);
    game_end(play);
}

/* -- memory ------------------------------------------------------------------------------------------------------------ */

static void taken_batches_are_used_again(void **state)
{
    (void)state;
    game *play = game_new(1, 100);
    for (int round = 0; round < 5000; round++) {
        put_at(play, SK_CF_ROW, (size_t)round % 100);
        seal(play);
        if (round % 50 == 0) check_walk(play, SK_CF_ROW, 0, 100, false); /* some are known to the ordered list, some not */
        if (round >= 20) assert_true(take(play));
        assert_true(play->overlay.live <= 21);
    }
    check_all(play);
    assert_true(play->overlay.chunks.spare_count <= 2);
    game_end(play);
}

static void a_value_as_long_is_put_over_the_one_before(void **state)
{
    (void)state;
    sk_overlay overlay;
    sk_overlay_init(&overlay, 1, 0);
    sk_bytes key = sk_bytes_str("key");
    sk_overlay_change(&overlay, SK_CHANGE_PUT, SK_CF_ROW, key, sk_bytes_str("one"));
    sk_overlay_change(&overlay, SK_CHANGE_PUT, SK_CF_ROW, key, sk_bytes_str("two"));
    assert_int_equal(overlay.open->count, 1);
    assert_true(sk_bytes_equal(sk_change_value(overlay.open->first), sk_bytes_str("two")));
    sk_overlay_change(&overlay, SK_CHANGE_PUT, SK_CF_META, key, sk_bytes_str("two"));
    sk_overlay_change(&overlay, SK_CHANGE_PUT, SK_CF_ROW, key, sk_bytes_str("three"));
    sk_overlay_change(&overlay, SK_CHANGE_REMOVE, SK_CF_ROW, key, SK_BYTES_NONE);
    sk_overlay_change(&overlay, SK_CHANGE_PUT, SK_CF_ROW, key, sk_bytes_str("four"));
    assert_int_equal(overlay.open->count, 5);
    sk_batch *sealed = sk_overlay_seal(&overlay); /* another thread may read it now */
    sk_overlay_change(&overlay, SK_CHANGE_PUT, SK_CF_ROW, key, sk_bytes_str("five"));
    assert_true(sk_bytes_equal(sk_change_value(sealed->last), sk_bytes_str("four")));
    sk_overlay_remove_range(&overlay, SK_CF_ROW, key, SK_BYTES_NONE);
    sk_overlay_change(&overlay, SK_CHANGE_PUT, SK_CF_ROW, key, sk_bytes_str("six!"));
    assert_int_equal(overlay.open->count, 3);
    sk_overlay_check(&overlay);
    sk_overlay_free(&overlay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_as_long_is_put_over_the_one_before),
        cmocka_unit_test(random_histories_agree_with_the_list),
        cmocka_unit_test(keeping_shows_what_the_dropped_hid),
        cmocka_unit_test(what_follows_a_range_in_its_batch_is_kept),
        cmocka_unit_test(views_of_many_pairs_bear_changes),
        cmocka_unit_test(a_range_does_not_bring_older_values_back),
        cmocka_unit_test(iterators_of_the_memory_store_bear_commits),
        cmocka_unit_test(order_is_brought_when_it_is_asked_for),
        cmocka_unit_test(taken_batches_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
