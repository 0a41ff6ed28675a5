#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gossip/message.h"

/* Their 0, 1, 2 are our 5, 6, 7. */
static sk_origin_map shifted_map(void)
{
    sk_origin_map map = {0};
    for (uint32_t o = 0; o < 3; o++) sk_origin_map_set(&map, o, o + 5);
    return map;
}

static sk_vv vector(uint64_t a, uint64_t b, uint64_t c)
{
    sk_vv vv = {0};
    sk_vv_set(&vv, 0, a);
    sk_vv_set(&vv, 1, b);
    sk_vv_set(&vv, 2, c);
    return vv;
}

static sk_reader body_of(const sk_buf *buf, int type)
{
    sk_reader reader = sk_reader_of(sk_buf_view(buf));
    assert_int_equal(sk_message_type_read(&reader), type);
    return reader;
}

static void pack_hello(sk_buf *buf, const sk_origins *origins, const sk_vv *vv)
{
    sk_buf names = {0}, gossip = {0};
    sk_pack_bytes(&names, sk_bytes_str("tokyo"));
    sk_pack_bytes(&names, sk_bytes_str("oslo"));
    sk_gossip_pack(&gossip, &(sk_gossip){sk_bytes_str("oslo"), 3, 2, UINT64_MAX}, vv);
    sk_gossip_pack(&gossip, &(sk_gossip){sk_bytes_str("lima"), 0, SK_ORIGIN_UNKNOWN, 0}, vv);
    sk_message_begin(buf, SK_MESSAGE_HELLO);
    sk_pack_uint(buf, 1);
    sk_pack_bytes(buf, sk_bytes_str("paris"));
    sk_message_pack_origins(buf, origins, 0);
    sk_vv_pack(buf, vv);
    sk_news_pack(buf, 1, 7, 70, 2, sk_buf_view(&names), 2, sk_buf_view(&gossip));
    sk_buf_free(&names);
    sk_buf_free(&gossip);
}

static void hello_comes_back(void **state)
{
    (void)state;
    sk_origins origins = {0};
    uint32_t number;
    sk_origins_intern(&origins, sk_bytes_str("lima"), 11, &number);
    sk_origins_intern(&origins, sk_bytes_str("paris"), UINT64_MAX, &number);
    sk_origins_intern(&origins, sk_bytes_str("oslo"), 13, &number);
    sk_vv vv = vector(10, 20, SK_SEQ_MAX), acked = {0};
    sk_buf buf = {0};
    pack_hello(&buf, &origins, &vv);

    sk_reader reader = body_of(&buf, SK_MESSAGE_HELLO);
    assert_int_equal(sk_hello_read_version(&reader), 1);
    sk_reader again = reader;
    sk_hello hello;
    sk_bytes region;
    assert_int_equal(sk_hello_read(&reader, NULL, &region, &hello), 0); /* in their numbers */
    assert_true(sk_vv_equal(&hello.vv, &vv));
    sk_vv_free(&hello.vv);

    sk_origin_map map = shifted_map();
    assert_int_equal(sk_hello_read(&again, &map, &region, &hello), 0);
    assert_true(sk_bytes_equal(region, sk_bytes_str("paris")));
    assert_int_equal(sk_vv_get(&hello.vv, 7), SK_SEQ_MAX);
    assert_int_equal(hello.news.own, 6);
    assert_int_equal(hello.news.term, 7);
    sk_announced origin;
    for (uint32_t o = 0; o < 3; o++) {
        assert_true(sk_announced_next(&hello.origins, &origin));
        assert_int_equal(origin.number, o);
        assert_true(sk_bytes_equal(origin.region, sk_bytes_str(origins.list[o].region)));
        assert_true(origin.incarnation == origins.list[o].incarnation);
    }
    assert_false(sk_announced_next(&hello.origins, &origin));
    sk_bytes name;
    assert_true(sk_name_next(&hello.news.neighbours, &name));
    assert_true(sk_bytes_equal(name, sk_bytes_str("tokyo")));
    assert_true(sk_name_next(&hello.news.neighbours, &name));
    assert_false(sk_name_next(&hello.news.neighbours, &name));
    sk_gossip gossip;
    assert_true(sk_gossip_next(&hello.news.gossip, &map, &gossip, &acked));
    assert_int_equal(gossip.term, 3);
    assert_int_equal(gossip.current, 7);
    assert_true(hello.news.view == 70 && gossip.view == UINT64_MAX);
    assert_int_equal(sk_vv_get(&acked, 5), 10);
    assert_true(sk_gossip_next(&hello.news.gossip, &map, &gossip, &acked));
    assert_true(gossip.current == SK_ORIGIN_UNKNOWN);
    assert_false(sk_gossip_next(&hello.news.gossip, &map, &gossip, &acked));

    for (size_t len = 0; len < buf.len; len++) { /* cut anywhere */
        sk_reader cut = sk_reader_of(sk_bytes_of(buf.data, len));
        if (sk_message_type_read(&cut) < 0) continue;
        (void)sk_hello_read_version(&cut);
        sk_hello ignored;
        assert_int_equal(sk_hello_read(&cut, NULL, &region, &ignored), SK_E_MALFORMED);
        sk_vv_free(&ignored.vv);
    }
    sk_vv_free(&hello.vv);
    sk_vv_free(&vv);
    sk_vv_free(&acked);
    sk_origin_map_free(&map);
    sk_origins_free(&origins);
    sk_buf_free(&buf);
}

static void status_tells_what_changed(void **state)
{
    (void)state;
    sk_vv vv = vector(10, 20, 30), told = vector(10, 19, 0);
    sk_origin_map map = shifted_map();
    sk_buf buf = {0};
    sk_message_begin(&buf, SK_MESSAGE_STATUS);
    sk_status_pack_flags(&buf, false, false, false);
    sk_message_pack_changes(&buf, &vv, &told);
    assert_in_range(buf.len, 1, 8); /* what an acknowledgement costs */
    sk_reader reader = body_of(&buf, SK_MESSAGE_STATUS);
    sk_status status;
    assert_int_equal(sk_status_read(&reader, &map, &status), 0);
    assert_false(status.heartbeat);
    assert_int_equal(sk_vv_get(&status.vv, 5), 0);
    assert_int_equal(sk_vv_get(&status.vv, 6), 20);
    assert_int_equal(sk_vv_get(&status.vv, 7), 30);
    sk_vv_free(&status.vv);

    sk_message_begin(&buf, SK_MESSAGE_STATUS);
    sk_status_pack_flags(&buf, true, true, true);
    sk_message_pack_changes(&buf, &vv, &told);
    sk_news_pack(&buf, 2, 1, 0, 0, SK_BYTES_NONE, 0, SK_BYTES_NONE);
    sk_digest digest = (sk_digest)7 << 100 | 9;
    sk_status said = {.ping_ms = 1, .wall_ms = 2, .has_pong = true, .pong_ms = 3, .pong_held_ms = 4};
    said.has_digest = true;
    said.digest = digest;
    sk_status_pack_rest(&buf, &said);
    reader = body_of(&buf, SK_MESSAGE_STATUS);
    assert_int_equal(sk_status_read(&reader, &map, &status), 0);
    assert_true(status.heartbeat && status.has_pong && status.has_digest && status.digest == digest);
    assert_int_equal(status.ping_ms * 1000 + status.wall_ms * 100 + status.pong_ms * 10 + status.pong_held_ms, 1234);
    assert_int_equal(status.news.own, 7);
    sk_vv_free(&status.vv);
    sk_vv_free(&vv);
    sk_vv_free(&told);
    sk_origin_map_free(&map);
    sk_buf_free(&buf);
}

static void batches_carry_times_and_raises(void **state)
{
    (void)state;
    static const sk_hlc times[] = {
        0x18c000000000000, 0x18c000000000001, 0x18c000000010000, 0x18b000000000005, 0, UINT64_MAX, 1,
        (uint64_t)1 << 63};
    enum { COUNT = sizeof times / sizeof *times };
    sk_origin_map map = shifted_map();
    sk_buf buf = {0}, raise = {0};
    sk_pack_array(&raise, 4);
    sk_pack_uint(&raise, 0);
    sk_pack_uint(&raise, 1);
    sk_pack_uint(&raise, 2);
    sk_pack_uint(&raise, 300);
    sk_message_begin(&buf, SK_MESSAGE_BATCH);
    sk_batch_pack(&buf, &(sk_batch){.origin = 1, .first = 77, .count = COUNT});
    for (uint32_t i = 0; i < COUNT; i++)
        sk_batch_txn_pack(&buf, i ? times[i - 1] : 0, times[i], i + 1, i % 2 ? sk_buf_view(&raise) : SK_BYTES_NONE,
                          sk_bytes_str("operations"));
    sk_reader reader = body_of(&buf, SK_MESSAGE_BATCH);
    sk_batch batch;
    assert_int_equal(sk_batch_read(&reader, &map, &batch), 0);
    assert_int_equal(batch.origin, 6);
    assert_int_equal(batch.first, 77);
    assert_int_equal(batch.count, COUNT);
    assert_false(batch.continues);
    sk_hlc before = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        sk_batch_txn txn;
        assert_int_equal(sk_batch_txn_read(&reader, &map, batch.origin, before, &txn), 0);
        assert_true(txn.hlc == times[i]);
        assert_int_equal(txn.op_count, i + 1);
        assert_true(sk_bytes_equal(txn.ops, sk_bytes_str("operations")));
        assert_int_equal(txn.raise.count, i % 2 ? 2 : 0);
        sk_dot dot;
        if (i % 2) {
            assert_true(sk_raise_next(&txn.raise, &map, &dot));
            assert_true(sk_raise_next(&txn.raise, &map, &dot));
            assert_int_equal(dot.origin, 7);
            assert_int_equal(dot.seq, 300);
        }
        assert_false(sk_raise_next(&txn.raise, &map, &dot));
        before = txn.hlc;
    }
    assert_true(sk_reader_done(&reader));
    sk_buf_free(&buf);
    sk_buf_free(&raise);
    sk_origin_map_free(&map);
}

static void the_framing_of_a_transaction_is_small(void **state)
{
    (void)state;
    sk_buf buf = {0};
    sk_batch_txn_pack(&buf, 0x18c000000000000, 0x18c000000000001, 1, SK_BYTES_NONE, SK_BYTES_NONE);
    assert_int_equal(buf.len, 4); /* head, time, the operations' length */
    sk_buf_reset(&buf);
    sk_batch_txn_pack(&buf, 0x18c000000000003, 0x18c0000000a0000, 1, SK_BYTES_NONE, SK_BYTES_NONE);
    assert_int_equal(buf.len, 4); /* in a later millisecond, too */
    sk_buf_free(&buf);
}

static void transfers_come_back(void **state)
{
    (void)state;
    sk_origin_map map = shifted_map();
    sk_vv known = vector(1, 2, 3), staged = vector(4, 5, 6);
    sk_buf buf = {0};
    sk_request said = {.number = 9, .known = known, .resumable = true, .vv = staged, .reconcile = true, .purpose = SK_FOR_AUDIT};
    said.cursor = sk_bytes_str("row");
    sk_message_begin(&buf, SK_MESSAGE_REQUEST);
    sk_request_pack(&buf, &said);
    sk_reader reader = body_of(&buf, SK_MESSAGE_REQUEST);
    sk_request request;
    assert_int_equal(sk_request_read(&reader, &map, &request), 0);
    assert_int_equal(request.number, 9);
    assert_int_equal(sk_vv_get(&request.known, 7), 3);
    assert_int_equal(sk_vv_get(&request.vv, 5), 4);
    assert_true(request.resumable && request.reconcile && request.purpose == SK_FOR_AUDIT);
    assert_true(sk_bytes_equal(request.cursor, sk_bytes_str("row")));
    sk_vv_free(&request.known);
    sk_vv_free(&request.vv);

    sk_begin begin, told = {.number = 9, .vv = staged, .floor = known, .resumed = true};
    sk_message_begin(&buf, SK_MESSAGE_BEGIN);
    sk_begin_pack(&buf, &told);
    reader = body_of(&buf, SK_MESSAGE_BEGIN);
    assert_int_equal(sk_begin_read(&reader, &map, &begin), 0);
    assert_int_equal(sk_vv_get(&begin.vv, 6), 5);
    assert_int_equal(sk_vv_get(&begin.floor, 6), 2);
    assert_true(begin.resumed && !begin.reconcile);
    sk_vv_free(&begin.vv);
    sk_vv_free(&begin.floor);
    sk_vv_free(&known);
    sk_vv_free(&staged);

    sk_message_begin(&buf, SK_MESSAGE_CANCEL);
    sk_pack_uint(&buf, 5);
    sk_pack_bool(&buf, true);
    sk_pack_int(&buf, SK_E_IO);
    reader = body_of(&buf, SK_MESSAGE_CANCEL);
    uint64_t number;
    bool by_source;
    int code;
    assert_int_equal(sk_cancel_read(&reader, &number, &by_source, &code), 0);
    assert_int_equal(code, SK_E_IO);
    assert_true(by_source && number == 5);
    sk_message_begin(&buf, SK_MESSAGE_GOODBYE);
    sk_pack_int(&buf, 1); /* not an error */
    reader = body_of(&buf, SK_MESSAGE_GOODBYE);
    assert_int_equal(sk_goodbye_read(&reader, &code), SK_E_MALFORMED);
    sk_origin_map_free(&map);
    sk_buf_free(&buf);
}

static void what_is_compared_comes_back(void **state)
{
    (void)state;
    sk_buf buf = {0};
    uint64_t number, rows;
    sk_digest sum, large = (sk_digest)UINT64_MAX << 64 | 7;
    sk_bytes from, to, key;
    sk_elements list;
    sk_compare_pack(&buf, 9, 1000000, large);
    sk_reader reader = body_of(&buf, SK_MESSAGE_COMPARE);
    assert_int_equal(sk_compare_read(&reader, &number, &rows, &sum), 0);
    assert_true(number == 9 && rows == 1000000 && sum == large);

    sk_ask_pack(&buf, 9, sk_bytes_str("ka"), SK_BYTES_NONE);
    reader = body_of(&buf, SK_MESSAGE_ASK);
    assert_int_equal(sk_ask_read(&reader, &number, &from, &to), 0);
    assert_true(number == 9 && sk_bytes_equal(from, sk_bytes_str("ka")) && to.len == 0);

    sk_message_begin_list(&buf, SK_MESSAGE_PARTS, 9, 2);
    sk_part_pack(&buf, &(sk_part){SK_BYTES_NONE, 5, large});
    sk_part_pack(&buf, &(sk_part){sk_bytes_str("kb"), 0, 0});
    reader = body_of(&buf, SK_MESSAGE_PARTS);
    assert_int_equal(sk_parts_read(&reader, &number, &list), 0);
    sk_part part;
    assert_int_equal(list.count, 2);
    assert_true(sk_part_next(&list, &part) && part.from.len == 0 && part.rows == 5 && part.sum == large);
    assert_true(sk_part_next(&list, &part) && sk_bytes_equal(part.from, sk_bytes_str("kb")) && part.sum == 0);
    assert_false(sk_part_next(&list, &part));

    sk_message_begin_list(&buf, SK_MESSAGE_ROWS, 9, 1);
    sk_listed_pack(&buf, &(sk_listed){sk_bytes_str("kc"), UINT64_MAX, true});
    reader = body_of(&buf, SK_MESSAGE_ROWS);
    assert_int_equal(sk_rows_read(&reader, &number, &list), 0);
    sk_listed row;
    assert_true(sk_listed_next(&list, &row) && sk_bytes_equal(row.key, sk_bytes_str("kc")) && row.news);
    assert_true(row.digest == UINT64_MAX);
    assert_false(sk_listed_next(&list, &row));

    sk_message_begin_list(&buf, SK_MESSAGE_WANT, 9, 1);
    sk_pack_bytes(&buf, sk_bytes_str("kd"));
    reader = body_of(&buf, SK_MESSAGE_WANT);
    assert_int_equal(sk_want_read(&reader, &number, &list), 0);
    assert_true(sk_wanted_next(&list, &key) && sk_bytes_equal(key, sk_bytes_str("kd")));
    assert_false(sk_wanted_next(&list, &key));
    sk_buf_free(&buf);
}

/* More than there may be in a list, a list that is no multiple, or says more than it has. */
static void lists_are_bounded(void **state)
{
    (void)state;
    sk_buf buf = {0};
    uint64_t number;
    sk_elements list;
    sk_message_begin_list(&buf, SK_MESSAGE_PARTS, 9, SK_PARTS_MAX + 1);
    for (int i = 0; i <= SK_PARTS_MAX; i++) sk_part_pack(&buf, &(sk_part){0});
    sk_reader reader = body_of(&buf, SK_MESSAGE_PARTS);
    assert_int_equal(sk_parts_read(&reader, &number, &list), SK_E_PROTOCOL);
    sk_message_begin_list(&buf, SK_MESSAGE_ROWS, 9, SK_LISTED_MAX + 1);
    for (int i = 0; i <= SK_LISTED_MAX; i++) sk_listed_pack(&buf, &(sk_listed){0});
    reader = body_of(&buf, SK_MESSAGE_ROWS);
    assert_int_equal(sk_rows_read(&reader, &number, &list), SK_E_PROTOCOL);
    sk_message_begin_list(&buf, SK_MESSAGE_WANT, 9, SK_LISTED_MAX + 1);
    for (int i = 0; i <= SK_LISTED_MAX; i++) sk_pack_bytes(&buf, SK_BYTES_NONE);
    reader = body_of(&buf, SK_MESSAGE_WANT);
    assert_int_equal(sk_want_read(&reader, &number, &list), SK_E_PROTOCOL);

    static const uint8_t odd[] = {SK_MESSAGE_ROWS, 9, 0x92, 0xc4, 0, 1}, short_one[] = {SK_MESSAGE_WANT, 9, 0x92, 0xc4, 0};
    reader = sk_reader_of(sk_bytes_of(odd + 1, sizeof odd - 1));
    assert_int_equal(sk_rows_read(&reader, &number, &list), SK_E_MALFORMED);
    reader = sk_reader_of(sk_bytes_of(short_one + 1, sizeof short_one - 1));
    assert_int_equal(sk_want_read(&reader, &number, &list), SK_E_MALFORMED);
    sk_buf_free(&buf);
}

/* Frozen: other nodes speak this. */
static void golden_bytes(void **state)
{
    (void)state;
    sk_buf buf = {0};
    sk_message_begin(&buf, SK_MESSAGE_BATCH);
    sk_batch_pack(&buf, &(sk_batch){.origin = 2, .first = 300, .count = 1});
    sk_batch_txn_pack(&buf, 0, 0x50003, 1, sk_bytes_of("\x92\x01\x07", 3), sk_bytes_str("ab"));
    static const uint8_t batch[] = {3, 0, 2, 0xcd, 1, 0x2c, 1, 6, 0xce, 0, 5, 0, 3, 0x92, 1, 7, 0xc4, 2, 'a', 'b'};
    assert_int_equal(buf.len, sizeof batch);
    assert_memory_equal(buf.data, batch, sizeof batch);

    sk_piece_pack(&buf, 9, sk_bytes_str("row"));
    static const uint8_t piece[] = {21, 9, 0xc4, 3, 'r', 'o', 'w'};
    assert_int_equal(buf.len, sizeof piece);
    assert_memory_equal(buf.data, piece, sizeof piece);
    sk_reader reader = body_of(&buf, SK_MESSAGE_PIECE);
    uint64_t of;
    sk_bytes rows;
    assert_int_equal(sk_piece_read(&reader, &of, &rows), 0);
    assert_true(of == 9 && sk_bytes_equal(rows, sk_bytes_str("row")));

    sk_message_begin(&buf, SK_MESSAGE_HELLO);
    sk_origins origins = {0};
    uint32_t number;
    sk_origins_intern(&origins, sk_bytes_str("x"), 255, &number);
    sk_pack_uint(&buf, 1);
    sk_pack_bytes(&buf, sk_bytes_str("x"));
    sk_message_pack_origins(&buf, &origins, 0);
    sk_vv vv = {0};
    sk_vv_set(&vv, 0, 4);
    sk_vv_pack(&buf, &vv);
    sk_news_pack(&buf, 0, 1, 5, 0, SK_BYTES_NONE, 0, SK_BYTES_NONE);
    static const uint8_t hello[] = {1, 1, 0xc4, 1, 'x', 0x93, 0, 0xc4, 1, 'x', 0xcc, 255, 0x92, 0, 4, 0, 1, 5, 0x90, 0x90};
    assert_int_equal(buf.len, sizeof hello);
    assert_memory_equal(buf.data, hello, sizeof hello);
    sk_vv_free(&vv);
    sk_origins_free(&origins);
    sk_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_comes_back),
        cmocka_unit_test(status_tells_what_changed),
        cmocka_unit_test(batches_carry_times_and_raises),
        cmocka_unit_test(the_framing_of_a_transaction_is_small),
        cmocka_unit_test(transfers_come_back),
        cmocka_unit_test(what_is_compared_comes_back),
        cmocka_unit_test(lists_are_bounded),
        cmocka_unit_test(golden_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
