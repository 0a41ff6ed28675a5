/* Members that come and go while the others run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_world.h"

/* A world in which nobody knows node `without` yet, and it knows everybody. */
static world *world_without(uint32_t count, uint32_t without)
{
    sk_engine_limits limits = world_limits();
    world *w = world_new(count, &limits);
    for (uint32_t n = 0; n < count; n++)
        if (n != without) member_remove(w, n, without);
    return w;
}

static bool is_stable(const world *w, uint32_t n)
{
    return sk_vv_equal(sk_engine_stable(w->nodes[n].engine), &w->nodes[n].now.vv);
}

static void one_that_is_added_gets_all_and_holds_back(void **state)
{
    (void)state;
    world *w = world_without(3, 2);
    write_many(w, 0, 10);
    world_run(w, 1000);
    assert_true(is_stable(w, 0));
    assert_int_equal(sk_engine_others(w->nodes[0].engine), 1);
    set_cut(w, 0, 2, true);
    set_cut(w, 1, 2, true);
    member_add(w, 0, 2);
    member_add(w, 1, 2);
    write_many(w, 0, 10);
    world_run(w, 3000);
    assert_false(is_stable(w, 0)); /* nothing of the second ten is forgotten: the new one has not seen it */
    assert_false(is_stable(w, 1));
    assert_int_equal(sk_vv_get(sk_engine_everywhere(w->nodes[0].engine), w->nodes[0].now.own), 0);
    set_cut(w, 0, 2, false);
    set_cut(w, 1, 2, false);
    world_must_converge(w, 5000);
    world_run(w, 3000);
    for (uint32_t n = 0; n < 3; n++) assert_true(is_stable(w, n));
    assert_true(sk_vv_equal(sk_engine_everywhere(w->nodes[0].engine), &w->nodes[0].now.vv));
    world_free(w);
}

static void one_that_is_removed_is_void(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    write_many(w, 2, 5);
    world_must_converge(w, 1000);
    set_cut(w, 0, 2, true);
    set_cut(w, 1, 2, true);
    write_many(w, 0, 10);
    world_run(w, 3000);
    assert_false(is_stable(w, 0)); /* it waits for the one that is away */
    sk_dot last = {w->nodes[0].now.own, 10};
    assert_int_equal(sk_engine_holders(w->nodes[0].engine, (sk_dot){last.origin, 1}), 1);
    member_remove(w, 0, 2);
    assert_int_equal(sk_engine_others(w->nodes[0].engine), 1);
    world_run(w, 3000);
    assert_false(is_stable(w, 0)); /* the other one does not know of it yet: they have different views */
    member_remove(w, 1, 2);
    world_run(w, 3000);
    assert_true(is_stable(w, 0));
    assert_true(is_stable(w, 1));
    assert_int_equal(sk_engine_holders(w->nodes[0].engine, last), 1);
    world_free(w);
}

static void goodbye_to_count(world *w, uint32_t from, uint32_t to, sk_bytes message)
{
    sk_reader reader = sk_reader_of(message);
    int code;
    if (sk_message_type_read(&reader) != SK_MESSAGE_GOODBYE || sk_goodbye_read(&reader, &code)) return;
    if (from == 0 && to == 2 && code == SK_E_FORGOTTEN) ++*(int *)w->tap_self;
}

static void its_link_is_closed_and_says_why(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    int goodbyes = 0;
    world_run(w, 500);
    w->tap = goodbye_to_count;
    w->tap_self = &goodbyes;
    assert_true(status_of(w, 0, 2).up);
    member_remove(w, 0, 2);
    assert_int_equal(goodbyes, 1);
    assert_int_equal(w->nodes[0].closed[2], 1);
    assert_int_equal(w->nodes[0].last_error, SK_E_FORGOTTEN);
    assert_false(sk_engine_is_peer(w->nodes[0].engine, 1));
    world_run(w, 500);
    assert_false(status_of(w, 2, 0).up);
    world_free(w);
}

/* A number that is free goes to whoever comes next, with nothing of its former holder. */
static void a_number_is_used_again(void **state)
{
    (void)state;
    world *w = world_without(4, 3);
    write_many(w, 1, 10);
    world_run(w, 1000);
    set_cut(w, 1, 3, true);
    uint32_t number = peer_of(w, 0, 1);
    for (uint32_t n = 0; n < 4; n++)
        if (n != 1 && w->nodes[n].member[1]) member_remove(w, n, 1);
    for (uint32_t n = 0; n < 3; n++)
        if (n != 1) member_add(w, n, 3);
    assert_int_equal(peer_of(w, 0, 3), number);
    sk_peer_status fresh = status_of(w, 0, 3);
    assert_string_equal(fresh.region, "d");
    assert_int_equal(fresh.acked->count, 0);
    assert_int_equal(fresh.received_bytes, 0);
    write_many(w, 3, 10);
    world_run(w, 3000);
    uint64_t life = w->nodes[3].now.origins.list[w->nodes[3].now.own].incarnation;
    for (uint32_t n = 0; n < 3; n++) {
        if (n == 1) continue;
        assert_int_equal(has_of(w, &w->nodes[n].now.vv, n, 3, life), 10);
        assert_true(is_stable(w, n));
    }
    world_free(w);
}

/* What a removed one wrote last, and only some have, reaches the others without waiting. */
static void its_tail_goes_on_at_once(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.relay_ms = 20000;
    world *w = world_new(4, &limits);
    world_run(w, 1000);
    set_cut(w, 1, 3, true);
    set_cut(w, 2, 3, true);
    set_cut(w, 1, 2, true);
    write_many(w, 3, 10);
    world_run(w, 500);
    uint64_t life = w->nodes[3].now.origins.list[w->nodes[3].now.own].incarnation;
    assert_int_equal(has_of(w, &w->nodes[0].now.vv, 0, 3, life), 10);
    assert_int_equal(has_of(w, &w->nodes[1].now.vv, 1, 3, life), 0);
    for (uint32_t n = 0; n < 3; n++) member_remove(w, n, 3);
    world_run(w, 1000); /* much less than relay_ms */
    assert_int_equal(has_of(w, &w->nodes[1].now.vv, 1, 3, life), 10);
    assert_int_equal(has_of(w, &w->nodes[2].now.vv, 2, 3, life), 10);
    world_run(w, 1000);
    assert_true(is_stable(w, 0));
    world_free(w);
}

/* One comes back after the others have forgotten what it has not seen: by everything, and it is waited for again. */
static void one_that_comes_back_is_a_member_as_before(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 5;
    world *w = world_new(3, &limits);
    write_many(w, 2, 5);
    world_must_converge(w, 1000);
    member_remove(w, 0, 2);
    member_remove(w, 1, 2);
    write_many(w, 0, 30);
    write_many(w, 2, 30); /* its own, that nobody sees */
    world_run(w, 3000);
    assert_true(is_stable(w, 0));
    assert_int_not_equal(w->nodes[0].forgets, 0);
    member_add(w, 1, 2);
    world_run(w, 3000);
    member_add(w, 0, 2); /* the other learns of it later */
    world_must_converge(w, 10000);
    assert_int_equal(w->nodes[2].incarnations, 0);
    world_run(w, 3000);
    for (uint32_t n = 0; n < 3; n++) assert_true(is_stable(w, n));
    world_free(w);
}

static void there_are_not_more_than_may_be(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(1, &limits);
    sk_engine *engine = w->nodes[0].engine;
    char name[16];
    for (int i = 0; i < SK_MEMBERS_MAX - 1; i++) {
        snprintf(name, sizeof name, "r%d", i);
        assert_int_equal(sk_engine_add_peer(engine, name, NULL), i);
    }
    assert_int_equal(sk_engine_add_peer(engine, "more", NULL), SK_E_LIMIT);
    sk_engine_remove_peer(engine, 7, SK_E_FORGOTTEN, 1, 1);
    sk_engine_remove_peer(engine, 62, SK_E_FORGOTTEN, 1, 1);
    assert_int_equal(sk_engine_others(engine), SK_MEMBERS_MAX - 3);
    assert_int_equal(sk_engine_add_peer(engine, "more", NULL), 7);
    assert_int_equal(sk_engine_add_peer(engine, "most", NULL), 62);
    assert_int_equal(sk_engine_add_peer(engine, "none", NULL), SK_E_LIMIT);
    sk_engine_check(engine);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_added_gets_all_and_holds_back),
        cmocka_unit_test(one_that_is_removed_is_void),
        cmocka_unit_test(its_link_is_closed_and_says_why),
        cmocka_unit_test(a_number_is_used_again),
        cmocka_unit_test(its_tail_goes_on_at_once),
        cmocka_unit_test(one_that_comes_back_is_a_member_as_before),
        cmocka_unit_test(there_are_not_more_than_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
