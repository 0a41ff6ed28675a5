/* What the host refuses or fails at, and what a peer leaves out: the engine gives up no more than it must, and goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_world.h"

/* Two nodes; a has written so much while b was away that it takes a transfer. */
static world *world_apart(uint32_t writes, uint32_t forgotten)
{
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 10;
    limits.chunk_bytes = 500;
    limits.transfer_window = 1;
    world *w = world_new(2, &limits);
    world_run(w, 10);
    write_many(w, 0, 3);
    world_run(w, 10);
    set_cut(w, 0, 1, true);
    write_many(w, 0, writes);
    world_run(w, 1);
    if (forgotten) sk_vv_set(&w->nodes[0].forgotten, w->nodes[0].now.own, forgotten);
    return w;
}

/* Until b receives, and some rows more. */
static void begin_transfer(world *w, int steps)
{
    w->cut[0][1] = w->cut[1][0] = false;
    link_up(w, 0, 1);
    w->now_ms += 3; /* behind the offer */
    for (int i = 0; i < steps || !status_of(w, 1, 0).receiving_transfer; i++)
        for (uint32_t n = 0; n < 2; n++) {
            sk_engine_tick(w->nodes[n].engine, w->now_ms, w->wall_ms);
            deliver_one(w, 1 - n, n);
        }
}

/* A transaction waits for another region's; when that has come, it is found to be nonsense: whoever sent it is hung up on,
 * and asked for it again. */
static void what_waited_and_is_refused_costs_its_link(void **state)
{
    (void)state;
    world *w = world_linked(3);
    w->queues[2][0].stuck = true; /* from c to a */
    node_write(&w->nodes[2]);
    world_run(w, 20);
    node_write(&w->nodes[1]); /* having seen c's */
    world_run(w, 100);
    world_node *a = &w->nodes[0];
    assert_int_equal(has_of(w, &a->now.vv, 0, 1, w->nodes[1].now.origins.list[w->nodes[1].now.own].incarnation), 0);
    assert_int_equal(status_of(w, 1, 0).sent_txns, 1); /* it is held */
    a->good_applies = 1; /* c's */
    a->fail_apply = 1;
    a->apply_error = SK_E_MALFORMED;
    w->queues[2][0].stuck = false;
    w->cut[0][1] = w->cut[1][0] = true; /* when it is down it stays so for now */
    world_run(w, 1);
    assert_int_equal(a->fail_apply, 0);
    assert_int_equal(a->closed[1], 1);
    assert_int_equal(a->last_error, SK_E_MALFORMED);
    assert_int_equal(a->closed[2], 0);
    w->cut[0][1] = w->cut[1][0] = false;
    world_must_converge(w, 2000);
    assert_int_equal(a->closed[1], 1);
    world_free(w);
}

/* The sender is alive and sends none of it any more. */
static void a_transfer_of_which_nothing_comes_is_given_up(void **state)
{
    (void)state;
    world *w = world_apart(1000, 0);
    begin_transfer(w, 10);
    uint64_t begun_ms = w->now_ms;
    sk_buf buf = {0};
    while (status_of(w, 1, 0).receiving_transfer) {
        assert_true(w->now_ms - begun_ms <= 2 * w->limits.silence_ms);
        w->now_ms += 50;
        sk_message_begin(&buf, SK_MESSAGE_STATUS); /* nothing new, but that it lives */
        sk_status_pack_flags(&buf, false, false, false);
        sk_pack_array(&buf, 0);
        sk_engine_message(w->nodes[1].engine, peer_of(w, 1, 0), sk_buf_view(&buf), w->now_ms, w->wall_ms);
        sk_engine_tick(w->nodes[1].engine, w->now_ms, w->wall_ms);
        sk_engine_check(w->nodes[1].engine);
    }
    assert_true(w->now_ms - begun_ms >= w->limits.silence_ms);
    assert_true(status_of(w, 1, 0).up);
    world_must_converge(w, 20000);
    sk_buf_free(&buf);
    world_free(w);
}

/* Who is to go on with a transfer, and has no time just now: it keeps the history that this takes, and goes on with it. */
static void a_busy_sender_goes_on_later(void **state)
{
    (void)state;
    world *w = world_apart(1000, 0);
    begin_transfer(w, 30);
    uint64_t rows = w->nodes[1].rows_in;
    assert_in_range(rows, 1, 900);
    link_down(w, 0, 1);
    restart(w, 0, &w->nodes[0].now, false); /* it knows nothing of what b has staged */
    w->nodes[0].fail_open = INT32_MAX;
    write_many(w, 1, 5);
    world_run(w, 5000);
    assert_true(INT32_MAX - w->nodes[0].fail_open >= 2);
    w->nodes[0].fail_open = 0;
    world_must_converge(w, 10000);
    assert_int_equal(w->nodes[1].resumed, 1);
    assert_in_range(w->nodes[1].rows_in, 1000, 1050);
    world_free(w);
}

/* … nor is it asked at once: what the receiver has written meanwhile, and what both have by then, is not forgotten before. */
static void a_receiver_that_asks_late_goes_on(void **state)
{
    (void)state;
    world *w = world_apart(1000, 0);
    begin_transfer(w, 30);
    link_down(w, 0, 1);
    restart(w, 0, &w->nodes[0].now, false);
    w->nodes[1].busy = true;
    write_many(w, 1, 5);
    world_run(w, 2000);
    w->nodes[1].busy = false;
    world_must_converge(w, 10000);
    assert_int_equal(w->nodes[1].resumed, 1);
    assert_in_range(w->nodes[1].rows_in, 1000, 1050);
    world_run(w, 2000);
    assert_null(status_of(w, 0, 1).staged); /* nothing is kept for it any more */
    world_free(w);
}

/* A sender that cannot read what it was asked about gives the transfer up, and nothing else. */
static void an_answer_that_fails_ends_the_transfer_alone(void **state)
{
    (void)state;
    world *w = world_apart(200, 150);
    node_write(&w->nodes[1]);
    w->nodes[0].fail_answer = 2;
    set_cut(w, 0, 1, false);
    world_must_converge(w, w->limits.silence_ms - 1000); /* it is told, and does not find out by waiting */
    assert_int_equal(w->nodes[0].fail_answer, 0);
    assert_int_equal(w->nodes[1].reconciled, 1);
    assert_true(status_of(w, 0, 1).transfers_out >= 1);
    assert_int_equal(w->nodes[0].closed[1] + w->nodes[1].closed[0], 0);
    world_free(w);
}

/* In a heartbeat a region says under which origin it writes: one of its own. */
static void nobody_writes_under_another_regions_origin(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        sk_engine_limits limits = world_limits();
        world *w = world_new(2, &limits);
        world_run(w, 50);
        world_node *a = &w->nodes[0], *b = &w->nodes[1];
        uint32_t own = b->now.own;
        if (other) must(sk_origins_find(&b->now.origins, sk_bytes_str("a"), a->now.origins.list[a->now.own].incarnation, &own));
        sk_buf buf = {0};
        sk_status ping = {.ping_ms = 1, .wall_ms = w->wall_ms};
        sk_message_begin(&buf, SK_MESSAGE_STATUS);
        sk_status_pack_flags(&buf, true, false, false);
        sk_pack_array(&buf, 0);
        sk_news_pack(&buf, own, 1, 0, 0, SK_BYTES_NONE, 0, SK_BYTES_NONE);
        sk_status_pack_rest(&buf, &ping);
        sk_engine_message(a->engine, peer_of(w, 0, 1), sk_buf_view(&buf), w->now_ms, w->wall_ms);
        assert_int_equal(a->closed[1], other);
        if (other) assert_int_equal(a->last_error, SK_E_PROTOCOL);
        sk_engine_check(a->engine);
        sk_buf_free(&buf);
        world_free(w);
    }
}

/* A disk is full: until it is not, nothing is asked for again, though nothing that comes can be kept. */
static void a_store_that_takes_nothing_asks_for_nothing(void **state)
{
    (void)state;
    world *w = world_linked(3);
    world_node *b = &w->nodes[1];
    for (uint32_t n = 0; n < 3; n++) node_write(&w->nodes[n]); /* all know of each other on their disks */
    world_must_converge(w, 1000);
    world_run(w, 1000);
    uint64_t before = status_of(w, 0, 1).sent_txns;
    b->fail_apply = INT32_MAX;
    for (int s = 0; s < 20; s++) {
        write_many(w, 0, 10);
        node_store_failed(b, false);
        world_run(w, 1000); /* as often it is tried again */
    }
    assert_int_equal(status_of(w, 0, 1).sent_txns - before, 200);
    b->fail_apply = 0;
    node_roll_back(b);
    world_must_converge(w, 1000);
    assert_int_equal(status_of(w, 0, 1).sent_txns - before, 400);
    world_free(w);
}

static uint32_t pieces_seen;

static void no_message_is_larger(world *w, uint32_t from, uint32_t to, sk_bytes message)
{
    (void)from, (void)to;
    pieces_seen += message.data[0] == SK_MESSAGE_PIECE;
    if (message.data[0] == SK_MESSAGE_PIECE || message.data[0] == SK_MESSAGE_CHUNK)
        assert_in_range(message.len, 1, w->limits.chunk_max + 40);
}

/* A chunk that no message could hold comes in pieces; what was cut amid them comes again, and once. */
static void a_chunk_may_be_larger_than_a_message(void **state)
{
    (void)state;
    for (int cut = 0; cut < 2; cut++) {
        sk_engine_limits limits = world_limits();
        limits.ring_txns_max = 10;
        limits.chunk_bytes = 2000;
        limits.chunk_max = 100;
        limits.transfer_bytes_per_s = 20000; /* between pieces nothing may come */
        world *w = world_new(2, &limits);
        w->tap = no_message_is_larger;
        set_cut(w, 0, 1, true);
        write_many(w, 0, 1000);
        world_run(w, 10);
        pieces_seen = 0;
        set_cut(w, 0, 1, false);
        link_up(w, 0, 1);
        while (cut && pieces_seen < 30) {
            w->now_ms++;
            for (uint32_t n = 0; n < 2; n++) {
                sk_engine_tick(w->nodes[n].engine, w->now_ms, w->wall_ms);
                deliver_one(w, 1 - n, n);
            }
        }
        if (cut) link_down(w, 0, 1);
        world_must_converge(w, 30000);
        assert_true(pieces_seen >= 100);
        assert_in_range(w->nodes[1].rows_in, 1000, 1000 + 100 * cut);
        assert_int_equal(w->nodes[0].closed[1] + w->nodes[1].closed[0], 0);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waited_and_is_refused_costs_its_link),
        cmocka_unit_test(a_transfer_of_which_nothing_comes_is_given_up),
        cmocka_unit_test(a_busy_sender_goes_on_later),
        cmocka_unit_test(a_receiver_that_asks_late_goes_on),
        cmocka_unit_test(an_answer_that_fails_ends_the_transfer_alone),
        cmocka_unit_test(nobody_writes_under_another_regions_origin),
        cmocka_unit_test(a_store_that_takes_nothing_asks_for_nothing),
        cmocka_unit_test(a_chunk_may_be_larger_than_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
