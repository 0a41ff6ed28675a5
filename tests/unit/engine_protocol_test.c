/* Messages that break the protocol: the link is closed with the right error, and nothing has changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_world.h"
#include "gossip/engine_internal.h"

enum { RECORDED_MAX = 400 };

typedef struct {
    world_message list[RECORDED_MAX]; /* from b to a, in order */
    uint32_t count;
} recording;

static void record(world *w, uint32_t from, uint32_t to, sk_bytes message)
{
    recording *r = w->tap_self;
    if (from != 1 || to != 0 || r->count == RECORDED_MAX) return;
    uint8_t *copy = sk_alloc(message.len);
    memcpy(copy, message.data, message.len);
    r->list[r->count++].message = sk_bytes_of(copy, message.len);
}

/* Two nodes that have exchanged a transfer each way and live transactions. With `r`: what b said is recorded; a never
 * hears more than the first `heard` of its messages. */
static world *small_world(recording *r, uint32_t heard)
{
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 5;
    limits.chunk_bytes = 60;
    limits.chunk_max = 50;
    world *w = world_new(2, &limits);
    set_cut(w, 0, 1, true);
    for (int i = 0; i < 8; i++) node_write(&w->nodes[1]);
    for (int i = 0; i < 8; i++) node_write(&w->nodes[0]);
    world_run(w, 5);
    if (r) {
        w->tap = record;
        w->tap_self = r;
    }
    w->cut[0][1] = w->cut[1][0] = false;
    world_links(w);
    for (int ms = 0; ms < 700; ms++) {
        w->now_ms++;
        w->wall_ms++;
        if (ms == 30)
            for (int i = 0; i < 3; i++) node_write(&w->nodes[1]);
        for (uint32_t n = 0; n < 2; n++) {
            world_node *node = &w->nodes[n];
            if (!sk_vv_equal(&node->durable, &node->now.vv)) node_sync(node);
            sk_engine_tick(node->engine, w->now_ms, w->wall_ms);
        }
        while (heard > 0 && deliver_one(w, 1, 0))
            if (--heard == 0) return w;
        while (deliver_one(w, 0, 1)) continue;
    }
    return w;
}

static void say(world *w, sk_bytes message)
{
    uint8_t *copy = sk_alloc(message.len ? message.len : 1); /* exactly its size, so that a read beyond it is seen */
    if (message.len) memcpy(copy, message.data, message.len);
    sk_engine_message(w->nodes[0].engine, peer_of(w, 0, 1), sk_bytes_of(copy, message.len), w->now_ms, w->wall_ms);
    free(copy);
    sk_engine_check(w->nodes[0].engine);
}

/* a closes the link because of this, and has changed nothing. */
static void refused(world *w, sk_bytes message, int error)
{
    world_node *a = &w->nodes[0];
    sk_vv before = {0};
    sk_vv_copy(&before, &a->now.vv);
    uint32_t origins = a->now.origins.count, closed = a->closed[1], incarnations = a->incarnations;
    say(w, message);
    assert_int_equal(a->closed[1], closed + 1);
    if (error) assert_int_equal(a->last_error, error);
    assert_int_equal(sk_error_class(a->last_error), SK_CLASS_HANGUP);
    assert_true(sk_vv_equal(&before, &a->now.vv));
    assert_int_equal(origins, a->now.origins.count);
    assert_int_equal(incarnations, a->incarnations);
    assert_false(status_of(w, 0, 1).up);
    say(w, message); /* closed: what still comes is not looked at */
    assert_int_equal(a->closed[1], closed + 1);
    sk_vv_free(&before);
}

static void a_message_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    recording r = {.count = 0};
    world *whole = small_world(&r, UINT32_MAX);
    assert_true(world_converged(whole));
    world_free(whole);
    bool types[SK_MESSAGE_PIECE + 1] = {false};
    for (uint32_t i = 0; i < r.count; i++) {
        sk_bytes message = r.list[i].message;
        types[message.data[0]] = true;
        for (size_t len = 0; len < message.len; len++) {
            world *w = small_world(NULL, i);
            if (i == 0) { /* heard nothing yet */
                world_free(w);
                sk_engine_limits limits = world_limits();
                w = world_new(2, &limits);
                link_up(w, 0, 1);
            }
            refused(w, sk_bytes_of(message.data, len), 0);
            world_free(w);
        }
    }
    static const int expected[] = {SK_MESSAGE_HELLO, SK_MESSAGE_BATCH,     SK_MESSAGE_STATUS,
                                   SK_MESSAGE_OFFER, SK_MESSAGE_REQUEST,   SK_MESSAGE_BEGIN,
                                   SK_MESSAGE_CHUNK, SK_MESSAGE_CHUNK_ACK, SK_MESSAGE_END,
                                   SK_MESSAGE_PIECE};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) assert_true(types[expected[i]]);
    for (uint32_t i = 0; i < r.count; i++) free((void *)(uintptr_t)r.list[i].message.data);
}

static world *fresh_world(bool greeted)
{
    sk_engine_limits limits = world_limits();
    world *w = world_new(2, &limits);
    if (greeted)
        world_run(w, 50);
    else
        link_up(w, 0, 1);
    return w;
}

/* A hello of b's: nothing but its own origin, as its number 3. */
static void pack_hello(sk_buf *buf, uint64_t version, const char *region, const char *own_region)
{
    sk_message_begin(buf, SK_MESSAGE_HELLO);
    sk_pack_uint(buf, version);
    sk_pack_bytes(buf, sk_bytes_str(region));
    sk_pack_array(buf, 3);
    sk_pack_uint(buf, 3);
    sk_pack_bytes(buf, sk_bytes_str(own_region));
    sk_pack_uint(buf, 99);
    sk_pack_array(buf, 0);
    sk_news_pack(buf, 3, 0, 0, 0, SK_BYTES_NONE, 0, SK_BYTES_NONE);
}

static void hello_must_be_right(void **state)
{
    (void)state;
    static const struct {
        uint64_t version;
        const char *region, *own;
        int error;
    } cases[] = {
        {SK_PROTOCOL_VERSION + 1, "b", "b", SK_E_VERSION}, {0, "b", "b", SK_E_VERSION},
        {SK_PROTOCOL_VERSION, "c", "c", SK_E_CLUSTER},     {SK_PROTOCOL_VERSION, "a", "a", SK_E_CLUSTER},
        {SK_PROTOCOL_VERSION, "b", "a", SK_E_PROTOCOL},    {SK_PROTOCOL_VERSION, "b", "B", SK_E_MALFORMED},
    };
    sk_buf buf = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world *w = fresh_world(false);
        pack_hello(&buf, cases[i].version, cases[i].region, cases[i].own);
        refused(w, sk_buf_view(&buf), cases[i].error);
        world_free(w);
    }
    world *w = fresh_world(false);
    pack_hello(&buf, SK_PROTOCOL_VERSION, "b", "b");
    say(w, sk_buf_view(&buf));
    assert_true(status_of(w, 0, 1).up);
    refused(w, sk_buf_view(&buf), SK_E_PROTOCOL); /* once */
    world_free(w);
    w = fresh_world(false);
    sk_message_begin(&buf, SK_MESSAGE_RESEND);
    sk_pack_array(&buf, 0);
    refused(w, sk_buf_view(&buf), SK_E_PROTOCOL); /* first */
    world_free(w);
    sk_buf_free(&buf);
}

/* b's own origin in b's numbers, as small worlds have it. */
static uint32_t own_of_b(const world *w)
{
    return w->nodes[1].now.own;
}
static uint32_t own_of_a_at_b(const world *w)
{
    const world_node *a = &w->nodes[0], *b = &w->nodes[1];
    uint32_t number = 0;
    must(sk_origins_find(&b->now.origins, sk_bytes_str("a"), a->now.origins.list[a->now.own].incarnation, &number));
    return number;
}

static void unknown_types_and_origins_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[24];
        size_t len;
        int error;
    } cases[] = {
        {{0}, 1, SK_E_PROTOCOL},
        {{15}, 1, SK_E_PROTOCOL},
        {{0xc0}, 1, SK_E_MALFORMED},
        {{0xcf, 1, 0, 0, 0, 0, 0, 0, 3}, 9, SK_E_PROTOCOL},
        {{SK_MESSAGE_RESEND, 0x92, 60, 1}, 4, SK_E_MALFORMED},                  /* not announced */
        {{SK_MESSAGE_RESEND, 0x91, 60}, 3, SK_E_MALFORMED},                     /* half a pair */
        {{SK_MESSAGE_RESEND, 0xdd, 0xff, 0xff, 0xff, 0xff}, 6, SK_E_MALFORMED}, /* more than there is */
        {{SK_MESSAGE_RESEND, 0x90, 0}, 3, SK_E_MALFORMED},                      /* more follows */
        {{SK_MESSAGE_ORIGINS, 0x93, 60, 0xa1, 'B', 1}, 6, SK_E_MALFORMED},      /* no such name */
        {{SK_MESSAGE_ORIGINS, 0x93, 0xcd, 0xff, 0xff, 0xa1, 'z', 1}, 8, SK_E_MALFORMED},
        {{SK_MESSAGE_BATCH, 0, 60, 1, 1, 4, 0, 0xc4, 0}, 9, SK_E_MALFORMED},
        {{SK_MESSAGE_STATUS, 4, 0x90}, 3, SK_E_MALFORMED},
        {{SK_MESSAGE_CHUNK, 1, 9, 8, 7, 0xc4, 0}, 7, SK_E_PROTOCOL}, /* nothing was asked for */
        {{SK_MESSAGE_END, 1}, 2, SK_E_PROTOCOL},
        {{SK_MESSAGE_END, 0}, 2, SK_E_PROTOCOL},
        {{SK_MESSAGE_BEGIN, 1, 0x90, 0x90, 0xc2, 0xc2}, 6, SK_E_PROTOCOL},
        {{SK_MESSAGE_CHUNK_ACK, 1, 1}, 3, SK_E_PROTOCOL},
        {{SK_MESSAGE_CANCEL, 1, 0xc3, 0xff}, 4, SK_E_PROTOCOL},
        {{SK_MESSAGE_CANCEL, 1, 0xc2, 0xff}, 4, SK_E_PROTOCOL},
        {{SK_MESSAGE_REQUEST, 0, 0x90, 0, 0xc2}, 5, SK_E_PROTOCOL},
        {{SK_MESSAGE_REQUEST, 1, 0x90, 3, 0xc2}, 5, SK_E_MALFORMED}, /* for what? */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world *w = fresh_world(true);
        refused(w, sk_bytes_of(cases[i].bytes, cases[i].len), cases[i].error);
        world_free(w);
    }
}

static void an_origin_keeps_its_meaning(void **state)
{
    (void)state;
    world *w = fresh_world(true);
    sk_buf buf = {0};
    sk_message_begin(&buf, SK_MESSAGE_ORIGINS);
    sk_pack_array(&buf, 3);
    sk_pack_uint(&buf, own_of_b(w));
    sk_pack_bytes(&buf, sk_bytes_str("b"));
    sk_pack_uint(&buf, 12345);
    refused(w, sk_buf_view(&buf), SK_E_PROTOCOL);
    sk_buf_free(&buf);
    world_free(w);
}

static void a_vector_does_not_run_backwards(void **state)
{
    (void)state;
    world *w = fresh_world(true);
    for (int i = 0; i < 5; i++) node_write(&w->nodes[1]);
    world_run(w, 600);
    sk_buf buf = {0};
    sk_message_begin(&buf, SK_MESSAGE_STATUS);
    sk_status_pack_flags(&buf, false, false, false);
    sk_pack_array(&buf, 2);
    sk_pack_uint(&buf, own_of_b(w));
    sk_pack_uint(&buf, 4);
    refused(w, sk_buf_view(&buf), SK_E_PROTOCOL);
    sk_buf_free(&buf);
    world_free(w);
}

static void claim_status(sk_buf *buf, uint32_t origin, uint64_t seq)
{
    sk_message_begin(buf, SK_MESSAGE_STATUS);
    sk_status_pack_flags(buf, false, false, false);
    sk_pack_array(buf, 2);
    sk_pack_uint(buf, origin);
    sk_pack_uint(buf, seq);
}

/* Who knows more of our origin than we do gets us to begin another one; but of that one nobody can know more. */
static void amnesia_is_believed_once(void **state)
{
    (void)state;
    world *w = fresh_world(true);
    sk_buf buf = {0};
    claim_status(&buf, own_of_a_at_b(w), 7);
    say(w, sk_buf_view(&buf));
    assert_int_equal(w->nodes[0].incarnations, 1);
    assert_true(status_of(w, 0, 1).up);
    world_run(w, 600);
    claim_status(&buf, own_of_a_at_b(w), 7);
    refused(w, sk_buf_view(&buf), SK_E_PROTOCOL);
    assert_int_equal(w->nodes[0].incarnations, 1);
    claim_status(&buf, 60, SK_SEQ_MAX);
    world_run(w, 100);
    refused(w, sk_buf_view(&buf), 0);
    sk_buf_free(&buf);
    world_free(w);
}

static void announce_life_of_a(world *w, uint32_t number, uint64_t wall_ms)
{
    sk_buf buf = {0};
    sk_message_begin(&buf, SK_MESSAGE_ORIGINS);
    sk_pack_array(&buf, 3);
    sk_pack_uint(&buf, number);
    sk_pack_bytes(&buf, sk_bytes_str("a"));
    sk_pack_uint(&buf, sk_incarnation_make(number, wall_ms, true));
    say(w, sk_buf_view(&buf));
    sk_buf_free(&buf);
    assert_true(status_of(w, 0, 1).up);
}

/* Who hears of a later life of its own region has begun under a clock that was set back, and takes an incarnation that is
 * later: once, or two nodes of one name would use up all that there are. */
static void a_life_that_is_earlier_begins_again(void **state)
{
    (void)state;
    world *w = fresh_world(true);
    const world_node *a = &w->nodes[0];
    uint32_t own = a->now.own;
    announce_life_of_a(w, 60, 0);
    assert_int_equal(a->incarnations, 0); /* no later than its own */
    announce_life_of_a(w, 61, 5000);
    assert_int_equal(a->incarnations, 1);
    assert_int_not_equal(a->now.own, own);
    announce_life_of_a(w, 62, 9000);
    assert_int_equal(a->incarnations, 1);
    world_free(w);
}

/* Appends a transaction that sets `key`. */
static void add_txn(sk_buf *buf, uint32_t op_count, sk_bytes raise, const char *key)
{
    sk_buf ops = {0};
    sk_op op = {.key = sk_bytes_str(key), .forgets_content = true};
    sk_op_pack(&ops, &op);
    sk_batch_txn_pack(buf, 0, 65536, op_count, raise, sk_buf_view(&ops));
    sk_buf_free(&ops);
}

static void begin_batch(sk_buf *buf, uint32_t origin, uint64_t first, bool continues, uint32_t count)
{
    sk_batch batch = {origin, continues, first, count};
    sk_message_begin(buf, SK_MESSAGE_BATCH);
    sk_batch_pack(buf, &batch);
}

/* Likewise whose transaction has seen more of it. */
static void amnesia_is_seen_in_what_was_seen(void **state)
{
    (void)state;
    world *w = fresh_world(true);
    char key[KEY_BYTES];
    for (uint64_t seq = 1; seq <= 2; seq++) {
        sk_buf buf = {0}, raise = {0};
        sk_pack_array(&raise, 2);
        sk_pack_uint(&raise, own_of_a_at_b(w));
        sk_pack_uint(&raise, 7);
        row_key(&w->nodes[1], (sk_dot){own_of_b(w), seq}, key);
        begin_batch(&buf, own_of_b(w), seq, false, 1);
        add_txn(&buf, 1, sk_buf_view(&raise), key);
        if (seq == 1) {
            say(w, sk_buf_view(&buf));
            assert_true(status_of(w, 0, 1).up);
            world_run(w, 600);
        } else {
            refused(w, sk_buf_view(&buf), SK_E_PROTOCOL);
        }
        assert_int_equal(w->nodes[0].incarnations, 1);
        sk_buf_free(&buf);
        sk_buf_free(&raise);
    }
    world_free(w);
}

static void batches_are_looked_through_first(void **state)
{
    (void)state;
    char key[KEY_BYTES];
    for (int i = 0; i < 9; i++) {
        world *w = fresh_world(true);
        sk_buf buf = {0}, raise = {0};
        uint32_t own = own_of_b(w);
        row_key(&w->nodes[1], (sk_dot){own, 1}, key);
        switch (i) {
        case 0: /* a good one, and then one whose count of operations is wrong */
            begin_batch(&buf, own, 1, false, 2);
            add_txn(&buf, 1, SK_BYTES_NONE, key);
            add_txn(&buf, 2, SK_BYTES_NONE, key);
            break;
        case 1:
            begin_batch(&buf, own, 1, false, 2);
            add_txn(&buf, 1, SK_BYTES_NONE, key);
            add_txn(&buf, 0, SK_BYTES_NONE, key);
            break;
        case 2: /* fewer than announced */
            begin_batch(&buf, own, 1, false, 2);
            add_txn(&buf, 1, SK_BYTES_NONE, key);
            break;
        case 3: /* more than announced */
            begin_batch(&buf, own, 1, false, 1);
            add_txn(&buf, 1, SK_BYTES_NONE, key);
            add_txn(&buf, 1, SK_BYTES_NONE, key);
            break;
        case 4: /* it continues nothing */
            begin_batch(&buf, own, 0, true, 1);
            add_txn(&buf, 1, SK_BYTES_NONE, key);
            break;
        case 5: /* it depends on itself */
            sk_pack_array(&raise, 2);
            sk_pack_uint(&raise, own);
            sk_pack_uint(&raise, 9);
            begin_batch(&buf, own, 1, false, 1);
            add_txn(&buf, 1, sk_buf_view(&raise), key);
            break;
        case 6: /* it raises by nothing */
            sk_pack_array(&raise, 2);
            sk_pack_uint(&raise, own_of_a_at_b(w));
            sk_pack_uint(&raise, 0);
            begin_batch(&buf, own, 1, false, 1);
            add_txn(&buf, 1, sk_buf_view(&raise), key);
            break;
        case 7: /* a seq that cannot be */
            begin_batch(&buf, own, 0, false, 1);
            add_txn(&buf, 1, SK_BYTES_NONE, key);
            break;
        default: /* sums that run over */
            sk_pack_array(&raise, 4);
            for (int k = 0; k < 2; k++) {
                sk_pack_uint(&raise, own_of_a_at_b(w));
                sk_pack_uint(&raise, SK_SEQ_MAX);
            }
            begin_batch(&buf, own, 1, false, 1);
            add_txn(&buf, 1, sk_buf_view(&raise), key);
            break;
        }
        refused(w, sk_buf_view(&buf), i == 4 ? SK_E_PROTOCOL : SK_E_MALFORMED);
        sk_buf_free(&buf);
        sk_buf_free(&raise);
        world_free(w);
    }
}

static void a_gap_is_not_a_crime(void **state)
{
    (void)state;
    world *w = fresh_world(true);
    sk_buf buf = {0};
    begin_batch(&buf, own_of_b(w), 100, false, 1);
    add_txn(&buf, 1, SK_BYTES_NONE, "anything");
    say(w, sk_buf_view(&buf));
    assert_true(status_of(w, 0, 1).up);
    assert_int_equal(status_of(w, 0, 1).received_txns, 0);
    for (int i = 0; i < 3; i++) node_write(&w->nodes[1]);
    world_must_converge(w, 3000);
    sk_buf_free(&buf);
    world_free(w);
}

/* Nor do batches end above the last seq there is: what a peer is known to have is told on, and nobody would read it. */
static void seqs_are_bounded(void **state)
{
    (void)state;
    for (int continues = 0; continues < 2; continues++) {
        world *w = fresh_world(true);
        sk_buf buf = {0};
        begin_batch(&buf, own_of_b(w), SK_SEQ_MAX, false, continues ? 1 : 2);
        add_txn(&buf, 1, SK_BYTES_NONE, "one");
        if (continues) {
            say(w, sk_buf_view(&buf)); /* a gap */
            assert_true(status_of(w, 0, 1).up);
            begin_batch(&buf, own_of_b(w), 0, true, 1);
        }
        add_txn(&buf, 1, SK_BYTES_NONE, "another");
        refused(w, sk_buf_view(&buf), SK_E_MALFORMED);
        for (uint32_t o = 0; o < status_of(w, 0, 1).acked->count; o++)
            assert_true(status_of(w, 0, 1).acked->seq[o] <= SK_SEQ_MAX);
        sk_buf_free(&buf);
        world_free(w);
    }
}

/* A liar may say that we have begun the last term that there is. We know no better, and say what others can read. */
static void the_last_term_is_followed_by_none(void **state)
{
    (void)state;
    world *w = fresh_world(true);
    sk_buf buf = {0}, lie = {0};
    sk_gossip gossip = {sk_bytes_str("a"), SK_SEQ_MAX, SK_ORIGIN_UNKNOWN, 0};
    static const sk_vv nothing;
    sk_gossip_pack(&lie, &gossip, &nothing);
    sk_status ping = {.ping_ms = 1, .wall_ms = w->wall_ms};
    sk_message_begin(&buf, SK_MESSAGE_STATUS);
    sk_status_pack_flags(&buf, true, false, false);
    sk_pack_array(&buf, 0);
    sk_news_pack(&buf, own_of_b(w), 1, 0, 0, SK_BYTES_NONE, 1, sk_buf_view(&lie));
    sk_status_pack_rest(&buf, &ping);
    say(w, sk_buf_view(&buf));
    node_write(&w->nodes[0]);
    must(sk_engine_reincarnate(w->nodes[0].engine, w->now_ms, w->wall_ms) == 0);
    world_must_converge(w, 3000);
    world_run(w, 3000);
    assert_int_equal(w->nodes[0].closed[1] + w->nodes[1].closed[0], 0);
    link_down(w, 0, 1); /* greetings, too */
    world_run(w, 1000);
    assert_int_equal(w->nodes[0].closed[1] + w->nodes[1].closed[0], 0);
    sk_buf_free(&buf);
    sk_buf_free(&lie);
    world_free(w);
}

/* A peer that asks for a transfer, sends heartbeats, and acknowledges nothing. */
static void a_transfer_that_gets_no_answer_is_given_up(void **state)
{
    (void)state;
    sk_buf buf = {0};
    sk_request request = {.number = 1};
    sk_message_begin(&buf, SK_MESSAGE_REQUEST);
    sk_request_pack(&buf, &request);
    sk_engine_limits limits = world_limits();
    limits.chunk_bytes = 10;
    world *w = world_new(2, &limits);
    uint32_t b = own_of_b(w);
    set_cut(w, 0, 1, true);
    for (int i = 0; i < 500; i++) node_write(&w->nodes[0]);
    world_run(w, 5);
    w->cut[0][1] = w->cut[1][0] = false;
    link_up(w, 0, 1);
    while (deliver_one(w, 1, 0)) continue;
    say(w, sk_buf_view(&buf));
    assert_true(status_of(w, 0, 1).sending_transfer);
    for (uint32_t ms = 0; ms < limits.silence_ms + 1000; ms += 100) {
        w->now_ms += 100;
        claim_status(&buf, b, 0);
        say(w, sk_buf_view(&buf)); /* alive */
        sk_engine_tick(w->nodes[0].engine, w->now_ms, w->wall_ms);
        if (ms + 200 < limits.silence_ms) assert_true(status_of(w, 0, 1).sending_transfer);
    }
    assert_false(status_of(w, 0, 1).sending_transfer);
    assert_true(status_of(w, 0, 1).up);
    sk_buf_free(&buf);
    world_free(w);
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    world *w = fresh_world(true);
    size_t len = 2 * SK_MESSAGE_MAX;
    uint8_t *large = sk_alloc(len);
    large[0] = SK_MESSAGE_RESEND;
    refused(w, sk_bytes_of(large, len), SK_E_TOO_LARGE);
    world_run(w, 100);
    sk_buf buf = {0};
    begin_batch(&buf, own_of_b(w), 1, false, 2);
    sk_buf_append(&buf, large, len);
    refused(w, sk_buf_view(&buf), SK_E_TOO_LARGE); /* only a single transaction may be as large */
    free(large);
    sk_buf_free(&buf);
    world_free(w);
    w = fresh_world(true);
    node_write_bytes(&w->nodes[1], 700 * 1024);
    world_must_converge(w, 200);
    assert_int_equal(status_of(w, 1, 0).sent_txns, 1);
    world_free(w);
}

/* What is remembered of a transaction while it is read does not grow with its operations, and each origin is raised once. */
static void a_transaction_is_read_one_by_one(void **state)
{
    (void)state;
    world *w = fresh_world(true);
    w->lenient = true;
    sk_buf buf = {0}, ops = {0}, raise = {0};
    sk_removed removed[20] = {0};
    for (uint64_t i = 0; i < 20; i++) removed[i].dot = (sk_dot){own_of_b(w), i + 1};
    for (int i = 0; i < 1000; i++) {
        sk_op op = {.key = sk_bytes_str("key"), .removed = removed, .removed_count = 20};
        sk_op_pack(&ops, &op);
    }
    begin_batch(&buf, own_of_b(w), 1, false, 1);
    sk_batch_txn_pack(&buf, 0, 65536, 1000, SK_BYTES_NONE, sk_buf_view(&ops));
    say(w, sk_buf_view(&buf));
    assert_int_equal(status_of(w, 0, 1).received_txns, 1);
    assert_in_range(w->nodes[0].engine->arena.used, 1, 4096);

    uint32_t count = 2 * w->nodes[0].now.origins.count;
    sk_pack_array(&raise, 2 * count);
    for (uint32_t i = 0; i < count; i++) {
        sk_pack_uint(&raise, own_of_a_at_b(w));
        sk_pack_uint(&raise, 1);
    }
    begin_batch(&buf, own_of_b(w), 2, false, 1);
    sk_batch_txn_pack(&buf, 0, 65536, 0, sk_buf_view(&raise), SK_BYTES_NONE);
    refused(w, sk_buf_view(&buf), SK_E_MALFORMED);
    sk_buf_free(&buf);
    sk_buf_free(&ops);
    sk_buf_free(&raise);
    world_free(w);
}

/* A transfer was cut at a row of a large key: that is where it goes on. */
static void a_request_names_any_row(void **state)
{
    (void)state;
    world *w = fresh_world(true);
    size_t len = 2 * SK_MESSAGE_MAX;
    uint8_t *key = sk_alloc(len);
    sk_request request = {.number = 1, .resumable = true, .cursor = sk_bytes_of(key, len)};
    sk_buf buf = {0};
    sk_message_begin(&buf, SK_MESSAGE_REQUEST);
    sk_request_pack(&buf, &request);
    say(w, sk_buf_view(&buf));
    assert_true(status_of(w, 0, 1).up);
    assert_int_equal(status_of(w, 0, 1).transfers_out, 1);
    free(key);
    sk_buf_free(&buf);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_cut_at_any_byte_is_refused),
        cmocka_unit_test(hello_must_be_right),
        cmocka_unit_test(unknown_types_and_origins_are_refused),
        cmocka_unit_test(an_origin_keeps_its_meaning),
        cmocka_unit_test(a_vector_does_not_run_backwards),
        cmocka_unit_test(amnesia_is_believed_once),
        cmocka_unit_test(a_life_that_is_earlier_begins_again),
        cmocka_unit_test(amnesia_is_seen_in_what_was_seen),
        cmocka_unit_test(batches_are_looked_through_first),
        cmocka_unit_test(a_gap_is_not_a_crime),
        cmocka_unit_test(seqs_are_bounded),
        cmocka_unit_test(the_last_term_is_followed_by_none),
        cmocka_unit_test(a_transfer_that_gets_no_answer_is_given_up),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(a_transaction_is_read_one_by_one),
        cmocka_unit_test(a_request_names_any_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
