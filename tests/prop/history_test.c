/* Histories of one row against the oracle: random ones over two to four sites, and every tiny one over two. */
#include "tests/prop/row_world.h"

/* -- random -------------------------------------------------------------------------------------------------------- */

static void draw(prop_random *random, prop_event *event)
{
    static const uint32_t weights[EVENT_KINDS] = {
        [EVENT_SET] = 5,     [EVENT_DEL] = 5,      [EVENT_INCR] = 14,    [EVENT_INCR_REAL] = 3, [EVENT_DEADLINE] = 2,
        [EVENT_PERSIST] = 1, [EVENT_MEMBER] = 1,   [EVENT_RESOLVE] = 4,  [EVENT_DROP] = 3,      [EVENT_CONTEXT] = 5,
        [EVENT_DELIVER] = 32, [EVENT_STAGE] = 10,  [EVENT_COMPLETE] = 9, [EVENT_ACK] = 16,      [EVENT_FORGET] = 9,
    };
    event->kind = prop_weighted(random, weights, EVENT_KINDS);
    event->a = prop_below(random, SITES_MAX);
    event->b = prop_below(random, SITES_MAX);
    event->x = prop_below(random, 10);
}

static bool run(uint64_t seed, const prop_event *events, uint32_t count, sk_buf *why)
{
    row_world world;
    bool holds = true;
    world_start(&world, 2 + (uint32_t)(seed % (SITES_MAX - 1)));
    for (uint32_t i = 0; i < count && holds; i++) {
        if (events[i].a >= world.count || events[i].b >= world.count) continue;
        if (events[i].kind >= EVENT_DELIVER && events[i].kind != EVENT_COMPLETE && events[i].kind != EVENT_FORGET &&
            events[i].a == events[i].b)
            continue;
        world_do(&world, &events[i]);
        holds = world_check(&world, events[i].a, why);
    }
    if (holds) holds = world_settle(&world, why);
    world_end(&world);
    return holds;
}

static const prop_test history = {"history", 2500, 110, draw, run, world_tell};

static void random_histories_follow_the_oracle(void **state)
{
    (void)state;
    prop_check(&history);
}

/* -- every tiny one ------------------------------------------------------------------------------------------------
 *
 * Two sites, up to three operations each out of a small alphabet, and in between every order of live deliveries, whole
 * transfers and forgetting. The story so far is replayed at each leaf. SK_PROP_TINY=5 (operations together) takes
 * minutes. */

typedef struct {
    const event_kind *alphabet;
    uint32_t letters, each, all; /* operations per site, and together */
    prop_event story[24];
    uint32_t length, made[2], heard[2];
    uint64_t leaves;
} tiny;

static void replay(tiny *search)
{
    sk_buf why = {0};
    search->leaves++;
    bool holds = prop_holds(&history, 0, search->story, search->length, &why); /* seed 0: two sites */
    if (!holds) prop_report(&history, 0, search->story, search->length, &why);
    sk_buf_free(&why);
    assert_true(holds);
}

static void go(tiny *search);

static void with(tiny *search, uint32_t events, const prop_event *event)
{
    for (uint32_t i = 0; i < events; i++) search->story[search->length++] = event[i];
    go(search);
    search->length -= events;
}

/* What each site has made so far and has heard of the other; every way on from here. */
static void go(tiny *search)
{
    bool any = false;
    uint32_t made = search->made[0] + search->made[1];
    for (uint32_t s = 0; s < 2; s++) {
        if (search->made[s] == search->each || made == search->all) continue;
        any = true;
        search->made[s]++;
        for (uint32_t k = 0; k < search->letters; k++)
            with(search, 1, &(prop_event){.kind = search->alphabet[k], .a = s, .x = search->made[s] + 4 * s + 3});
        search->made[s]--;
    }
    if (!any) return replay(search);
    for (uint32_t s = 0; s < 2; s++) {
        uint32_t heard = search->heard[s];
        if (heard == search->made[1 - s]) continue;
        search->heard[s]++;
        with(search, 1, &(prop_event){.kind = EVENT_DELIVER, .a = s, .b = 1 - s});
        search->heard[s] = search->made[1 - s];
        /* A whole transfer, and at once the acknowledgement and what it allows to forget. */
        with(search, 4, (prop_event[]){{.kind = EVENT_STAGE, .a = s, .b = 1 - s},
                                       {.kind = EVENT_COMPLETE, .a = s},
                                       {.kind = EVENT_ACK, .a = 1 - s, .b = s},
                                       {.kind = EVENT_FORGET, .a = 1 - s}});
        search->heard[s] = heard;
    }
}

static void every_tiny_history_follows_the_oracle(void **state)
{
    (void)state;
    static const event_kind counting[] = {EVENT_INCR, EVENT_SET, EVENT_DEL};
    static const event_kind mixed[] = {EVENT_INCR, EVENT_SET, EVENT_DEL, EVENT_DEADLINE, EVENT_MEMBER};
    tiny first = {.alphabet = counting, .letters = 3, .each = 3, .all = (uint32_t)prop_number("SK_PROP_TINY", 4)};
    go(&first);
    tiny second = {.alphabet = mixed, .letters = 5, .each = 3, .all = 3};
    go(&second);
    print_message("%llu tiny histories\n", (unsigned long long)(first.leaves + second.leaves));
}

/* A context that was read before each step, too: what it covers is removed, whatever came since. */
static void every_tiny_history_with_contexts_follows_the_oracle(void **state)
{
    (void)state;
    static const event_kind contexts[] = {EVENT_INCR, EVENT_CONTEXT, EVENT_DROP};
    tiny search = {.alphabet = contexts, .letters = 3, .each = 3, .all = 4};
    go(&search);
    assert_true(search.leaves > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tiny_history_follows_the_oracle),
        cmocka_unit_test(every_tiny_history_with_contexts_follows_the_oracle),
        cmocka_unit_test(random_histories_follow_the_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
