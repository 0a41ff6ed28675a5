/* Random stories: made from a seed, replayed at will, made short when they fail.
 *
 * A story is a list of events, each a kind and three numbers. Any list is a story: an event that cannot happen where it
 * stands does nothing. So a failing story can be cut, event by event, as long as it still fails; the rest is printed.
 *
 *   SK_PROP_SEED=n   begin with this seed (default 1)
 *   SK_PROP_RUNS=n   so many seeds, one after the other */
#ifndef SK_TESTS_PROP_H
#define SK_TESTS_PROP_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crdt/memory.h"
#include "tests/part.h"

typedef struct {
    uint64_t state;
} prop_random;

static inline uint64_t prop_next(prop_random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint32_t prop_below(prop_random *random, uint32_t end)
{
    return (uint32_t)(prop_next(random) % end);
}

typedef struct {
    uint32_t kind, a, b, x;
} prop_event;

typedef struct {
    const char *name;
    uint32_t runs;   /* by default */
    uint32_t events; /* the most in one story */
    void (*draw)(prop_random *random, prop_event *event);
    /* The story from its beginning. False, and the reason appended to `why`, if something does not hold. */
    bool (*run)(uint64_t seed, const prop_event *events, uint32_t count, sk_buf *why);
    void (*tell)(const prop_event *event, sk_buf *text);
} prop_test;

static sigjmp_buf prop_abort;

static void prop_on_abort(int number)
{
    siglongjmp(prop_abort, number);
}

/* An assertion inside the code under test is a failure like any other (what it held is lost). */
static inline bool prop_holds(const prop_test *test, uint64_t seed, const prop_event *events, uint32_t count,
                              sk_buf *why)
{
    struct sigaction catch = {.sa_handler = prop_on_abort}, before;
    sk_buf_reset(why);
    sigaction(SIGABRT, &catch, &before);
    volatile bool holds = false;
    if (sigsetjmp(prop_abort, 1) == 0)
        holds = test->run(seed, events, count, why);
    else
        sk_buf_printf(why, "an assertion (above)");
    sigaction(SIGABRT, &before, NULL);
    return holds;
}

/* Cuts pieces out of a failing story, large ones first, as long as it fails without them. Returns what is left. */
static inline uint32_t prop_shrink(const prop_test *test, uint64_t seed, prop_event *events, uint32_t count,
                                   sk_buf *why)
{
    prop_event *without = sk_alloc((count + 1) * sizeof *without);
    bool shorter = true;
    for (uint32_t piece = count / 2 + 1; piece > 0; piece = shorter && piece == 1 ? 1 : piece / 2) {
        shorter = false;
        for (uint32_t from = 0; from + piece <= count;) {
            memcpy(without, events, from * sizeof *events);
            memcpy(without + from, events + from + piece, (count - from - piece) * sizeof *events);
            if (prop_holds(test, seed, without, count - piece, why)) {
                from++;
                continue;
            }
            count -= piece;
            memcpy(events, without, count * sizeof *events);
            shorter = true;
        }
    }
    free(without);
    return count;
}

static inline uint64_t prop_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static inline void prop_report(const prop_test *test, uint64_t seed, prop_event *events, uint32_t count, sk_buf *why)
{
    sk_buf text = {0};
    count = prop_shrink(test, seed, events, count, why);
    (void)prop_holds(test, seed, events, count, why);
    for (uint32_t i = 0; i < count; i++) {
        sk_buf_printf(&text, "  %2u. ", i + 1);
        test->tell(&events[i], &text);
        sk_buf_printf(&text, "\n");
    }
    print_error("%s: seed %llu fails: %.*s\n%.*sReplay: SK_PROP_SEED=%llu SK_PROP_RUNS=1\n", test->name,
                (unsigned long long)seed, (int)why->len, (const char *)why->data, (int)text.len,
                text.data ? (const char *)text.data : "", (unsigned long long)seed);
    sk_buf_free(&text);
}

static inline void prop_check(const prop_test *test)
{
    uint64_t first, share = test_part_seeds(test->runs, &first);
    uint64_t seed = prop_number("SK_PROP_SEED", first), runs = prop_number("SK_PROP_RUNS", share);
    prop_event *events = sk_alloc(test->events * sizeof *events);
    sk_buf why = {0};
    bool failed = false;
    for (uint64_t end = seed + runs; seed < end && !failed; seed++) {
        prop_random random = {seed * 0x2545f4914f6cdd1du};
        uint32_t count = 1 + prop_below(&random, test->events);
        for (uint32_t i = 0; i < count; i++) test->draw(&random, &events[i]);
        failed = !prop_holds(test, seed, events, count, &why);
        if (failed) prop_report(test, seed, events, count, &why);
    }
    sk_buf_free(&why);
    free(events);
    assert_false(failed);
}

/** A kind, as often as its weight says. */
static inline uint32_t prop_weighted(prop_random *random, const uint32_t *weights, uint32_t count)
{
    uint32_t sum = 0, i = 0;
    for (uint32_t k = 0; k < count; k++) sum += weights[k];
    uint32_t dice = prop_below(random, sum);
    while (dice >= weights[i]) dice -= weights[i++];
    return i;
}

#endif
