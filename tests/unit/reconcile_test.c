/* Reconciles between engines: what differs is found by asking, nothing is applied meanwhile that would spoil it, and a peer
 * that contradicts itself is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gossip/engine_internal.h"
#include "tests/unit/engine_world.h"

/* Messages of each type that went from one node to another. */
static uint32_t sent[NODES_MAX][NODES_MAX][SK_MESSAGE_PIECE + 1];

static void count_messages(world *w, uint32_t from, uint32_t to, sk_bytes message)
{
    (void)w;
    sent[from][to][message.data[0]]++;
}

static world *world_counted(uint32_t count, const sk_engine_limits *limits)
{
    world *w = world_new(count, limits);
    memset(sent, 0, sizeof sent);
    w->tap = count_messages;
    return w;
}

static void forget_all(world_node *node)
{
    sk_vv_copy(&node->forgotten, &node->durable);
}

/* Three that have exchanged `rows` each; then the last one is away, the others write on, and forget. */
static world *one_is_behind(const sk_engine_limits *limits, int rows)
{
    world *w = world_counted(3, limits);
    for (uint32_t n = 0; n < 3; n++) write_many(w, n, (uint32_t)rows);
    world_must_converge(w, 5000);
    world_disk old;
    copy_disk(&w->nodes[2].now, &old);
    for (uint32_t n = 0; n < 2; n++) write_many(w, n, (uint32_t)rows);
    world_must_converge(w, 5000);
    world_run(w, 1000);
    set_cut(w, 0, 2, true);
    set_cut(w, 1, 2, true);
    for (uint32_t n = 0; n < 2; n++) forget_all(&w->nodes[n]);
    restart(w, 2, &old, true);
    disk_free(&old);
    memset(sent, 0, sizeof sent);
    return w;
}

static void what_was_not_pushed_is_found(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 10;
    world *w = one_is_behind(&limits, 100);
    set_cut(w, 0, 2, false);
    world_must_converge(w, 5000);
    assert_int_equal(w->nodes[2].reconciled, 1);
    assert_int_equal(sent[0][2][SK_MESSAGE_COMPARE], 1);
    assert_int_equal(sent[2][0][SK_MESSAGE_DONE], 1);
    assert_in_range(sent[2][0][SK_MESSAGE_WANT], 30, 100);
    assert_int_equal(sent[2][0][SK_MESSAGE_ASK], sent[0][2][SK_MESSAGE_PARTS] + sent[0][2][SK_MESSAGE_ROWS]);
    world_free(w);
}

static void whoever_has_nothing_does_not_compare(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 10;
    world *w = world_counted(2, &limits);
    set_cut(w, 0, 1, true);
    write_many(w, 0, 100);
    write_many(w, 1, 5); /* its own */
    world_run(w, 10);
    forget_all(&w->nodes[0]);
    set_cut(w, 0, 1, false);
    world_must_converge(w, 5000);
    assert_int_equal(w->nodes[1].reconciled, 1);
    assert_int_equal(sent[1][0][SK_MESSAGE_ASK], 0);
    assert_int_equal(sent[1][0][SK_MESSAGE_DONE], 1);
    world_free(w);
}

/* While it comes in, b sends the same live: host_apply looks that nothing of it is applied before its end. */
static void live_transactions_wait_for_its_end(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 1000;
    limits.chunk_bytes = 200;
    limits.transfer_window = 1;
    world *w = one_is_behind(&limits, 60);
    restart(w, 0, &w->nodes[0].now, false); /* its ring is empty */
    forget_all(&w->nodes[0]);
    set_cut(w, 0, 2, false);
    for (int ms = 0; ms < 2000 && !status_of(w, 2, 0).receiving_transfer; ms++) world_run(w, 1);
    assert_true(status_of(w, 2, 0).receiving_transfer);
    w->queues[0][2].stuck = true; /* in the midst of it */
    set_cut(w, 1, 2, false);
    world_run(w, 300);
    uint64_t live = status_of(w, 2, 1).received_txns;
    assert_true(live > 0); /* they came, and are held back */
    assert_false(world_converged(w));
    w->queues[0][2].stuck = false;
    world_must_converge(w, 10000);
    assert_true(w->nodes[2].reconciled >= 1);
    world_free(w);
}

static void what_waited_is_applied_when_it_is_given_up(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 1000;
    limits.chunk_bytes = 200;
    limits.transfer_window = 1;
    world *w = one_is_behind(&limits, 60);
    restart(w, 0, &w->nodes[0].now, false);
    forget_all(&w->nodes[0]);
    set_cut(w, 0, 2, false);
    for (int ms = 0; ms < 2000 && !status_of(w, 2, 0).receiving_transfer; ms++) world_run(w, 1);
    w->queues[0][2].stuck = true;
    set_cut(w, 1, 2, false);
    world_run(w, 300);
    uint64_t resent = status_of(w, 2, 1).received_txns;
    set_cut(w, 0, 2, true); /* it will not end: b's live ones do */
    world_run(w, 5);
    assert_int_equal(has_of(w, &w->nodes[2].now.vv, 2, 1, 2), 120); /* what b sent is here at once */
    assert_int_equal(status_of(w, 2, 1).received_txns, resent);
    world_must_converge(w, 10000);
    assert_int_equal(w->nodes[2].reconciled, 0);
    world_free(w);
}

static void a_cut_one_resumes(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 10;
    limits.chunk_bytes = 300;
    limits.transfer_window = 2;
    for (uint32_t after = 1; after < 60; after += 3) {
        world *w = one_is_behind(&limits, 60);
        set_cut(w, 0, 2, false);
        for (int ms = 0; ms < 2000; ms++) {
            world_run(w, 1);
            uint32_t done = 0;
            for (int type = 1; type <= SK_MESSAGE_DONE; type++) done += sent[0][2][type];
            if (done >= 10 + after) break;
        }
        uint64_t rows = w->nodes[2].rows_in;
        set_cut(w, 0, 2, true);
        world_run(w, 50);
        set_cut(w, 0, 2, false);
        world_must_converge(w, 10000);
        assert_true(rows == 0 || w->nodes[2].resumed > 0 || w->nodes[2].reconciled > 0);
        assert_in_range(w->nodes[2].rows_in, 120, 130); /* none comes twice but what was on its way */
        world_free(w);
    }
}

static void set_rate(world *w, uint32_t node, uint64_t bytes_per_s)
{
    sk_engine_limits limits = w->limits;
    limits.transfer_bytes_per_s = bytes_per_s;
    sk_engine_set_limits(w->nodes[node].engine, &limits);
}

/* A slow rate takes its time, and nobody gives up meanwhile; a faster one counts at
 * once. How far it has come is told. */
static void a_rate_is_kept(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 10;
    limits.chunk_bytes = 400;
    limits.silence_ms = 2000;
    world *w = one_is_behind(&limits, 100);
    sk_peer_status seen;
    set_rate(w, 0, 100);
    set_cut(w, 0, 2, false);
    world_run(w, 10000);
    assert_in_range(status_of(w, 2, 0).received_rows_bytes, 800, 1500);
    assert_int_equal(sent[0][2][SK_MESSAGE_BEGIN], 1);
    assert_int_equal(status_of(w, 2, 0).transfers_in, 0);
    assert_int_equal(w->nodes[0].closed[2] + w->nodes[2].closed[0], 0);
    assert_true(status_of(w, 2, 0).receiving_transfer);
    seen = status_of(w, 2, 0);
    assert_string_equal(sk_peer_transfer(&seen), "receiving");
    assert_int_equal(seen.transfer.rows, 500);
    assert_in_range(seen.transfer.done, 300, 400); /* it passed over what is known there */
    assert_in_range(seen.transfer.sent, 10, 100);
    assert_in_range(seen.transfer_left_ms, 1000, 60000);
    sk_peer_status other = status_of(w, 0, 2);
    assert_string_equal(sk_peer_transfer(&other), "sending");
    assert_in_range(other.transfer.sent, seen.transfer.sent, seen.transfer.sent + 8); /* as the last chunk said */
    set_rate(w, 0, 1000000);
    for (int ms = 0; ms < 5000 && !(seen.comparing && seen.transfer.done >= 100); ms++) {
        world_run(w, 1);
        seen = status_of(w, 2, 0);
    }
    assert_int_equal(seen.transfer.rows, 500);
    assert_in_range(seen.transfer.done, 100, 500);
    assert_string_equal(sk_peer_transfer(&seen), "comparing");
    assert_in_range(seen.transfer_left_ms, 1, 5000);
    other = status_of(w, 0, 2);
    assert_string_equal(sk_peer_transfer(&other), "comparing");
    world_must_converge(w, 5000);
    assert_int_equal(w->nodes[2].reconciled, 1);
    seen = status_of(w, 2, 0);
    assert_string_equal(sk_peer_transfer(&seen), "none");
    assert_int_equal(seen.transfer.rows + seen.transfer.done + seen.transfer.sent, 0);
    assert_int_equal(seen.transfer_left_ms, -1);
    world_free(w);
}

static void set_share(world *w, uint32_t node, uint32_t share)
{
    sk_engine_limits limits = w->limits;
    limits.transfer_share = share;
    sk_engine_set_limits(w->nodes[node].engine, &limits);
}

/* Reading a chunk or a range takes 20 ms. A side that may take 10 % of the time for it rests 180 ms after each; when it may
 * take all again, it goes on at once. */
static void a_share_is_kept(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 10;
    limits.chunk_bytes = 400;
    limits.silence_ms = 2000;
    for (uint32_t node = 0; node <= 2; node += 2) {
        world *w = one_is_behind(&limits, 100);
        w->work_us = 20000;
        set_share(w, node, 10);
        set_cut(w, 0, 2, false);
        for (int ms = 0; ms < 2000 && !status_of(w, 2, 0).receiving_transfer; ms++) world_run(w, 1);
        for (int ms = 0; ms < 30000 && w->nodes[node].works == 0; ms++) world_run(w, 1);
        uint64_t before = w->nodes[node].works;
        world_run(w, 4000);
        /* a turn of the receiver may be several steps, and it pays for all of them after it */
        assert_in_range(w->nodes[node].works - before, 10, 30);
        assert_true(status_of(w, 2, 0).receiving_transfer);
        assert_int_equal(sent[0][2][SK_MESSAGE_BEGIN], 1);
        set_share(w, node, 100);
        world_must_converge(w, 5000);
        assert_int_equal(w->nodes[2].reconciled, 1);
        assert_int_equal(w->nodes[0].closed[2] + w->nodes[2].closed[0], 0);
        world_free(w);
    }
}

/* -- what a peer may not say --------------------------------------------------------------------------------------- */

/* c has asked a, got BEGIN and waits; what follows is said in a's name. */
static world *asking(uint64_t rows, sk_digest sum)
{
    static sk_engine_limits limits;
    limits = world_limits();
    limits.ring_txns_max = 10;
    world *w = one_is_behind(&limits, 30);
    set_cut(w, 0, 2, false);
    world_links(w);
    for (int ms = 0; ms < 2000 && sent[0][2][SK_MESSAGE_BEGIN] == 0; ms++) {
        w->now_ms++;
        for (uint32_t n = 0; n < 3; n++) sk_engine_tick(w->nodes[n].engine, w->now_ms, w->wall_ms);
        for (int i = 0; i < 50 && sent[0][2][SK_MESSAGE_BEGIN] == 0; i++) {
            (void)deliver_one(w, 0, 2);
            (void)deliver_one(w, 2, 0);
        }
    }
    while (w->queues[0][2].count && sent[2][0][SK_MESSAGE_CHUNK_ACK] == 0) (void)deliver_one(w, 0, 2);
    queue_clear(&w->queues[0][2]);
    assert_int_equal(w->nodes[2].begun, true);
    sk_buf compare = {0};
    sk_compare_pack(&compare, 1, rows, sum);
    sk_engine_message(w->nodes[2].engine, peer_of(w, 2, 0), sk_buf_view(&compare), w->now_ms, w->wall_ms);
    for (int i = 0; i < 20; i++) {
        w->now_ms += 2;
        sk_engine_tick(w->nodes[2].engine, w->now_ms, w->wall_ms);
    }
    sk_buf_free(&compare);
    return w;
}

static int said(world *w, const sk_buf *message)
{
    uint32_t closed = w->nodes[2].closed[0];
    sk_engine_message(w->nodes[2].engine, peer_of(w, 2, 0), sk_buf_view(message), w->now_ms, w->wall_ms);
    sk_engine_check(w->nodes[2].engine);
    return w->nodes[2].closed[0] > closed ? w->nodes[2].last_error : 0;
}

typedef struct {
    const char *from;
    uint64_t rows;
    sk_digest sum;
} said_part;

static int parts(uint64_t number, const said_part *list, uint32_t count)
{
    world *w = asking(100, 1000);
    assert_int_equal(sent[2][0][SK_MESSAGE_ASK], 1);
    sk_buf message = {0};
    sk_message_begin_list(&message, SK_MESSAGE_PARTS, number, count);
    for (uint32_t i = 0; i < count; i++) {
        sk_part part = {sk_bytes_str(list[i].from), list[i].rows, list[i].sum};
        sk_part_pack(&message, &part);
    }
    int status = said(w, &message);
    if (status == 0) assert_true(sent[2][0][SK_MESSAGE_ASK] > 1);
    sk_buf_free(&message);
    world_free(w);
    return status;
}

static void parts_must_part(void **state)
{
    (void)state;
#define PARTS(number, ...)                                                                                             \
    parts(number, (const said_part[]){__VA_ARGS__}, sizeof((const said_part[]){__VA_ARGS__}) / sizeof(said_part))
    assert_int_equal(PARTS(1, {"", 60, 400}, {"m", 40, 600}), 0);
    assert_int_equal(PARTS(1, {"", 0, 0}, {"m", 100, 1000}), 0);
    assert_int_equal(PARTS(1, {"", 60, 400}, {"m", 41, 600}), SK_E_PROTOCOL);              /* rows */
    assert_int_equal(PARTS(1, {"", 60, 400}, {"m", 40, 601}), SK_E_PROTOCOL);              /* sum */
    assert_int_equal(PARTS(1, {"", 100, 1000}), SK_E_PROTOCOL);                            /* no parts */
    assert_int_equal(PARTS(1, {"a", 60, 400}, {"m", 40, 600}), SK_E_PROTOCOL);             /* the first one's begin */
    assert_int_equal(PARTS(1, {"", 60, 400}, {"", 40, 600}), SK_E_PROTOCOL);               /* not above */
    assert_int_equal(PARTS(1, {"", 60, 400}, {"m", 20, 300}, {"m", 20, 300}), SK_E_PROTOCOL);
    assert_int_equal(PARTS(1, {"", 60, 400}, {"m", 20, 300}, {"c", 20, 300}), SK_E_PROTOCOL);
    assert_int_equal(PARTS(1, {"", SK_SEQ_MAX, 400}, {"m", SK_SEQ_MAX, 100}, {"n", SK_SEQ_MAX, 100},
                           {"o", SK_SEQ_MAX, 100}, {"p", 100, 300}),
                     SK_E_PROTOCOL); /* they add up, beyond what can be counted */
    assert_int_equal(PARTS(2, {"", 60, 400}, {"m", 40, 600}), SK_E_PROTOCOL); /* of none that was asked for */
}

/* Where the sender has no rows there may be dead counts: who goes by its own rows knows without asking, a repair and an audit do
 * not. */
static void a_repair_asks_for_ranges_without_rows(void **state)
{
    (void)state;
    static const sk_purpose purposes[] = {SK_FOR_NEWS, SK_FOR_REPAIR, SK_FOR_AUDIT};
    for (size_t p = 0; p < sizeof purposes / sizeof *purposes; p++) {
        world *w = asking(100, 1000);
        w->nodes[2].engine->incoming.purpose = purposes[p];
        const sk_part parts[] = {{.sum = 5}, {sk_bytes_str("m"), 100, 995}};
        sk_buf message = {0};
        sk_message_begin_list(&message, SK_MESSAGE_PARTS, 1, 2);
        for (int i = 0; i < 2; i++) sk_part_pack(&message, &parts[i]);
        assert_int_equal(said(w, &message), 0);
        for (int i = 0; i < 20; i++) {
            w->now_ms += 2;
            sk_engine_tick(w->nodes[2].engine, w->now_ms, w->wall_ms);
        }
        assert_int_equal(sent[2][0][SK_MESSAGE_ASK], 2 + (purposes[p] != SK_FOR_NEWS));
        sk_buf_free(&message);
        world_free(w);
    }
}

static void rows_must_be_those_of_the_range(void **state)
{
    (void)state;
    static const struct {
        uint64_t rows;
        const char *keys[3];
        uint64_t digests[3];
        int status;
    } cases[] = {
        {2, {"k1", "k2"}, {400, 600}, 0},
        {2, {"k1", "k2"}, {400, 601}, SK_E_PROTOCOL},
        {2, {"k1", "k2", "k3"}, {400, 500, 100}, SK_E_PROTOCOL},
        {2, {"k2", "k1"}, {400, 600}, SK_E_PROTOCOL},
        {2, {"k1", "k1"}, {400, 600}, SK_E_PROTOCOL},
        {3, {"k1", "k2"}, {400, 600}, SK_E_PROTOCOL},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        world *w = asking(cases[c].rows, 1000);
        w->lenient = true;
        sk_buf message = {0};
        uint32_t count = cases[c].keys[2] ? 3 : 2;
        sk_message_begin_list(&message, SK_MESSAGE_ROWS, 1, count);
        for (uint32_t i = 0; i < count; i++)
            sk_listed_pack(&message, &(sk_listed){sk_bytes_str(cases[c].keys[i]), cases[c].digests[i], true});
        assert_int_equal(said(w, &message), cases[c].status);
        if (cases[c].status == 0) assert_int_equal(sent[2][0][SK_MESSAGE_WANT], 1);
        sk_buf_free(&message);
        world_free(w);
    }
}

/* Rows of a part outside of it. */
static void rows_must_be_within_the_part(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", "m"};
    for (int i = 0; i < 2; i++) {
        world *w = asking(2, 1000);
        sk_buf message = {0};
        sk_message_begin_list(&message, SK_MESSAGE_PARTS, 1, 3);
        sk_part_pack(&message, &(sk_part){SK_BYTES_NONE, 0, 0});
        sk_part_pack(&message, &(sk_part){sk_bytes_str("c"), 1, 900});
        sk_part_pack(&message, &(sk_part){sk_bytes_str("m"), 1, 100});
        assert_int_equal(said(w, &message), 0);
        sk_message_begin_list(&message, SK_MESSAGE_ROWS, 1, 1);
        sk_listed_pack(&message, &(sk_listed){sk_bytes_str(keys[i]), 900, true});
        assert_int_equal(said(w, &message), SK_E_PROTOCOL);
        sk_buf_free(&message);
        world_free(w);
    }
}

static void parts_without_end_are_refused(void **state)
{
    (void)state;
    world *w = asking(2, 1000);
    sk_buf message = {0}, bound = {0};
    int status = 0, depth = 0;
    for (; depth < 200 && status == 0; depth++) {
        sk_buf_byte(&bound, 1);
        sk_message_begin_list(&message, SK_MESSAGE_PARTS, 1, 2);
        sk_part_pack(&message, &(sk_part){SK_BYTES_NONE, 0, 0});
        sk_part_pack(&message, &(sk_part){sk_buf_view(&bound), 2, 1000});
        status = said(w, &message);
    }
    assert_int_equal(status, SK_E_PROTOCOL);
    assert_in_range(depth, 60, 70);
    sk_buf_free(&message);
    sk_buf_free(&bound);
    world_free(w);
}

static void an_end_before_it_is_done_is_refused(void **state)
{
    (void)state;
    world *w = asking(100, 1000);
    sk_buf message = {0};
    sk_message_begin(&message, SK_MESSAGE_END);
    sk_pack_uint(&message, 1);
    assert_int_equal(said(w, &message), SK_E_PROTOCOL);
    assert_int_equal(w->nodes[2].reconciled, 0);
    sk_buf_free(&message);
    world_free(w);
    w = asking(100, 1000);
    sk_compare_pack(&message, 1, 100, 1000); /* a second time */
    assert_int_equal(said(w, &message), SK_E_PROTOCOL);
    sk_buf_free(&message);
    world_free(w);
}

/* -- what a receiver may not ask ----------------------------------------------------------------------------------- */

/* a sends c its transfer, has sent COMPARE; what follows is said in c's name. */
static world *serving(void)
{
    static sk_engine_limits limits;
    limits = world_limits();
    limits.ring_txns_max = 10;
    world *w = one_is_behind(&limits, 30);
    set_cut(w, 0, 2, false);
    world_links(w);
    for (int ms = 0; ms < 2000 && sent[0][2][SK_MESSAGE_COMPARE] == 0; ms++) {
        w->now_ms++;
        for (uint32_t n = 0; n < 3; n++) sk_engine_tick(w->nodes[n].engine, w->now_ms, w->wall_ms);
        for (int i = 0; i < 50 && sent[0][2][SK_MESSAGE_COMPARE] == 0; i++) {
            (void)deliver_one(w, 0, 2);
            (void)deliver_one(w, 2, 0);
        }
    }
    assert_int_equal(sent[0][2][SK_MESSAGE_COMPARE], 1);
    return w;
}

static int asked(world *w, const sk_buf *message)
{
    uint32_t closed = w->nodes[0].closed[2];
    sk_engine_message(w->nodes[0].engine, peer_of(w, 0, 2), sk_buf_view(message), w->now_ms, w->wall_ms);
    sk_engine_check(w->nodes[0].engine);
    return w->nodes[0].closed[2] > closed ? w->nodes[0].last_error : 0;
}

static void questions_are_bounded(void **state)
{
    (void)state;
    world *w = serving();
    sk_buf message = {0};
    int status = 0, count = 0;
    w->limits.send_queue_max = 0;
    for (; count < 1000 && status == 0; count++) {
        sk_ask_pack(&message, 1, SK_BYTES_NONE, SK_BYTES_NONE);
        status = asked(w, &message);
    }
    assert_int_equal(status, SK_E_PROTOCOL);
    assert_in_range(count, 17, 60);
    world_free(w);

    w = serving();
    sk_ask_pack(&message, 1, sk_bytes_str("b"), sk_bytes_str("a"));
    assert_int_equal(asked(w, &message), SK_E_PROTOCOL);
    world_free(w);
    w = serving();
    sk_ask_pack(&message, 2, SK_BYTES_NONE, SK_BYTES_NONE); /* of none that was begun */
    assert_int_equal(asked(w, &message), SK_E_PROTOCOL);
    world_free(w);
    sk_buf_free(&message);
}

/* Damaged rows are no matter of vectors: it is asked for without an offer, of one peer after the other that has enough. */
static void a_repair_is_a_reconcile_between_equals(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_counted(3, &limits);
    for (uint32_t n = 0; n < 3; n++) write_many(w, n, 20);
    world_must_converge(w, 5000);
    world_run(w, 1000); /* all have said so */
    world_node *damaged = &w->nodes[0];
    sk_vv beyond = {0};
    sk_vv_copy(&beyond, &damaged->durable);
    beyond.seq[0]++;
    assert_int_equal(sk_engine_repair(damaged->engine, &beyond, w->now_ms, w->wall_ms), SK_E_GAP);
    for (uint32_t n = 1; n <= 4; n++) {
        damaged->busy = true;
        assert_int_equal(sk_engine_repair(damaged->engine, &damaged->durable, w->now_ms, w->wall_ms), 0);
        damaged->busy = false;
        assert_int_equal(sk_engine_repair(damaged->engine, &damaged->durable, w->now_ms, w->wall_ms), 1);
        assert_int_equal(sk_engine_repair(damaged->engine, &damaged->durable, w->now_ms, w->wall_ms), 0); /* one comes in */
        world_run(w, 500);
        assert_int_equal(damaged->reconciled, n);
    }
    assert_int_equal(sent[0][1][SK_MESSAGE_REQUEST], 2);
    assert_int_equal(sent[0][2][SK_MESSAGE_REQUEST], 2);
    assert_int_equal(sent[1][0][SK_MESSAGE_COMPARE] + sent[2][0][SK_MESSAGE_COMPARE], 4);
    world_must_converge(w, 5000);
    sk_vv_free(&beyond);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_pushed_is_found),
        cmocka_unit_test(whoever_has_nothing_does_not_compare),
        cmocka_unit_test(live_transactions_wait_for_its_end),
        cmocka_unit_test(what_waited_is_applied_when_it_is_given_up),
        cmocka_unit_test(a_cut_one_resumes),
        cmocka_unit_test(a_rate_is_kept),
        cmocka_unit_test(a_share_is_kept),
        cmocka_unit_test(parts_must_part),
        cmocka_unit_test(a_repair_asks_for_ranges_without_rows),
        cmocka_unit_test(rows_must_be_those_of_the_range),
        cmocka_unit_test(rows_must_be_within_the_part),
        cmocka_unit_test(parts_without_end_are_refused),
        cmocka_unit_test(an_end_before_it_is_done_is_refused),
        cmocka_unit_test(questions_are_bounded),
        cmocka_unit_test(a_repair_is_a_reconcile_between_equals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
