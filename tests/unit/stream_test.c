/* The stream's form: what was written is read in pieces of any size, and nothing else is believed. */
#include "node/stream.h"
#include "tests/unit/crdt_harness.h"

#include <stdlib.h>

/* A head, two chunks, the end. */
static void write_stream(sk_buf *out)
{
    sk_buf body = {0};
    uint64_t sum, origin;
    uint32_t number;
    sk_stream_head head = {.made_ms = 7, .cluster = sk_bytes_str("c"), .region = sk_bytes_str("eu")};
    sk_stream_end end = {2, 1, (sk_digest)1 << 64 | 5};
    for (origin = 1; origin <= 3; origin++) sk_origins_intern(&head.origins, sk_bytes_str("eu"), origin, &number);
    sk_vv_set(&head.vv, 0, 5);
    sk_vv_set(&head.vv, 2, 300);
    sk_vv_set(&head.floor, 2, 300);
    sk_stream_begin(out, &sum);
    sk_stream_head_pack(&body, &head);
    sk_stream_frame(out, &sum, SK_STREAM_HEAD, sk_buf_view(&body));
    sk_stream_frame(out, &sum, SK_STREAM_CHUNK, sk_bytes_str("first"));
    sk_stream_frame(out, &sum, SK_STREAM_CHUNK, sk_bytes_str("second"));
    sk_buf_reset(&body);
    sk_stream_end_pack(&body, &end);
    sk_stream_frame(out, &sum, SK_STREAM_END, sk_buf_view(&body));
    sk_stream_head_free(&head);
    sk_buf_free(&body);
}

/* How many frames are read before 0 or an error, which is the answer. */
static int read_stream(sk_bytes bytes, size_t piece, int *frames, bool *ended)
{
    sk_stream_reader reader = {0};
    sk_stream_kind kind;
    sk_bytes body;
    int status = 0;
    *frames = 0;
    for (size_t at = 0; at < bytes.len && status == 0; at += piece) {
        sk_stream_feed(&reader, sk_bytes_of(bytes.data + at, at + piece < bytes.len ? piece : bytes.len - at));
        while ((status = sk_stream_next(&reader, &kind, &body)) > 0) ++*frames;
    }
    *ended = reader.ended;
    sk_stream_reader_free(&reader);
    return status;
}

static void what_was_written_is_read_in_any_pieces(void **state)
{
    (void)state;
    sk_buf stream = {0};
    write_stream(&stream);
    for (size_t piece = 1; piece <= stream.len; piece++) {
        int frames;
        bool ended;
        assert_int_equal(read_stream(sk_buf_view(&stream), piece, &frames, &ended), 0);
        assert_int_equal(frames, 4);
        assert_true(ended);
    }
    sk_buf_free(&stream);
}

/* A piece of many frames is gone through once, and what is left of it moved once. */
static void frames_of_a_piece_are_read_where_they_lie(void **state)
{
    (void)state;
    sk_buf stream = {0};
    sk_stream_reader reader = {0};
    sk_stream_kind kind;
    sk_bytes body;
    write_stream(&stream);
    sk_stream_feed(&reader, sk_bytes_of(stream.data, stream.len - 1));
    const uint8_t *piece = reader.held.data;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sk_stream_next(&reader, &kind, &body), 1);
        assert_memory_equal(body.data, stream.data + (body.data - piece), body.len);
    }
    assert_int_equal(sk_stream_next(&reader, &kind, &body), 0);
    size_t unread = reader.held.len - reader.used;
    sk_stream_feed(&reader, sk_bytes_of(stream.data + stream.len - 1, 1));
    assert_int_equal(reader.held.len, unread + 1);
    assert_int_equal(sk_stream_next(&reader, &kind, &body), 1);
    assert_int_equal(kind, SK_STREAM_END);
    sk_stream_reader_free(&reader);
    sk_buf_free(&stream);
}

static void bodies_are_read(void **state)
{
    (void)state;
    sk_buf stream = {0};
    sk_stream_reader reader = {0};
    sk_stream_kind kind;
    sk_bytes body;
    sk_stream_head head;
    sk_stream_end end;
    write_stream(&stream);
    sk_stream_feed(&reader, sk_buf_view(&stream));
    assert_int_equal(sk_stream_next(&reader, &kind, &body), 1);
    assert_int_equal(kind, SK_STREAM_HEAD);
    assert_int_equal(sk_stream_head_read(body, &head), 0);
    assert_true(head.made_ms == 7 && head.origins.count == 3 && head.origins.list[2].incarnation == 3);
    assert_true(sk_bytes_equal(head.cluster, sk_bytes_str("c")) && sk_bytes_equal(head.region, sk_bytes_str("eu")));
    assert_int_equal(sk_vv_get(&head.vv, 2), 300);
    assert_int_equal(sk_vv_get(&head.vv, 0), 5);
    assert_int_equal(sk_vv_get(&head.floor, 2), 300);
    assert_int_equal(sk_vv_get(&head.floor, 0), 0);
    sk_stream_head_free(&head);
    for (size_t len = 0; len < body.len; len++) {
        assert_int_equal(sk_stream_head_read(sk_bytes_of(body.data, len), &head), SK_E_MALFORMED);
        sk_stream_head_free(&head);
    }
    assert_int_equal(sk_stream_next(&reader, &kind, &body), 1);
    assert_true(kind == SK_STREAM_CHUNK && sk_bytes_equal(body, sk_bytes_str("first")));
    assert_int_equal(sk_stream_next(&reader, &kind, &body), 1);
    assert_int_equal(sk_stream_next(&reader, &kind, &body), 1);
    assert_int_equal(kind, SK_STREAM_END);
    assert_int_equal(sk_stream_end_read(body, &end), 0);
    assert_true(end.rows == 2 && end.history == 1 && end.digest == ((sk_digest)1 << 64 | 5));
    assert_int_equal(sk_stream_end_read(sk_bytes_of(body.data, body.len - 1), &end), SK_E_MALFORMED);
    sk_stream_reader_free(&reader);
    sk_buf_free(&stream);
}

static void no_cut_stream_has_an_end(void **state)
{
    (void)state;
    sk_buf stream = {0};
    write_stream(&stream);
    for (size_t len = 0; len < stream.len; len++) {
        int frames;
        bool ended;
        assert_int_equal(read_stream(sk_bytes_of(stream.data, len), 1000, &frames, &ended), 0);
        assert_false(ended);
    }
    sk_buf_free(&stream);
}

static void every_flipped_bit_is_seen(void **state)
{
    (void)state;
    sk_buf stream = {0};
    write_stream(&stream);
    for (size_t bit = 0; bit < stream.len * 8; bit++) {
        int frames;
        bool ended;
        stream.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int status = read_stream(sk_buf_view(&stream), 1000, &frames, &ended);
        assert_true(status < 0 || !ended);
        stream.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    sk_buf_free(&stream);
}

static void frames_cannot_be_left_out_repeated_or_exchanged(void **state)
{
    (void)state;
    sk_buf stream = {0}, other = {0};
    write_stream(&stream);
    size_t first = 0, second, third; /* where the chunks and the end begin */
    for (size_t i = 0; !first; i++)
        if (memcmp(stream.data + i, "first", 5) == 0) first = i - 6;
    second = first + 6 + 5 + 9;
    third = second + 6 + 6 + 9;
    const size_t parts[][3][2] = {
        {{0, first}, {second, stream.len}, {0, 0}},     /* the first left out */
        {{0, second}, {first, stream.len}, {0, 0}},     /* repeated */
        {{0, first}, {second, third}, {first, second}}, /* exchanged */
    };
    for (size_t i = 0; i < 3; i++) {
        int frames;
        bool ended;
        sk_buf_reset(&other);
        for (int k = 0; k < 3; k++)
            sk_buf_append(&other, stream.data + parts[i][k][0], parts[i][k][1] - parts[i][k][0]);
        assert_int_equal(read_stream(sk_buf_view(&other), 1000, &frames, &ended), SK_E_CORRUPT);
    }
    sk_buf_free(&stream);
    sk_buf_free(&other);
}

static void nothing_follows_the_end(void **state)
{
    (void)state;
    sk_buf stream = {0};
    int frames;
    bool ended;
    write_stream(&stream);
    sk_buf_byte(&stream, 0);
    assert_int_equal(read_stream(sk_buf_view(&stream), 1, &frames, &ended), SK_E_MALFORMED);
    sk_buf_free(&stream);
}

static void another_format_and_absurd_lengths_are_refused(void **state)
{
    (void)state;
    int frames;
    bool ended;
    static const uint8_t format[] = "\xad"
                                    "skerry export\x02",
                         huge[] = "\xad"
                                  "skerry export\x01\x00\xc6\xff\xff\xff\xff";
    assert_int_equal(read_stream(sk_bytes_of(format, sizeof format - 1), 1, &frames, &ended), SK_E_FORMAT);
    assert_int_equal(read_stream(sk_bytes_of(huge, sizeof huge - 1), 1, &frames, &ended), SK_E_TOO_LARGE);
    assert_int_equal(read_stream(sk_bytes_str("x"), 1, &frames, &ended), SK_E_MALFORMED);
}

/* What a frame may claim goes by its kind: nobody sends a head of a gigabyte. */
static void no_frame_is_larger_than_exports_make(void **state)
{
    (void)state;
    static const struct {
        sk_stream_kind kind;
        size_t most;
    } kinds[] = {{SK_STREAM_HEAD, SK_STREAM_HEAD_MAX},
                 {SK_STREAM_CHUNK, SK_STREAM_BODY_MAX},
                 {SK_STREAM_END, SK_STREAM_END_MAX}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (size_t more = 0; more < 2; more++) {
            sk_buf stream = {0};
            uint64_t sum;
            int frames;
            bool ended;
            size_t len = kinds[i].most + more;
            sk_stream_begin(&stream, &sum);
            uint8_t before[] = {(uint8_t)kinds[i].kind, 0xc6,        (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                                (uint8_t)(len >> 8),    (uint8_t)len};
            sk_buf_append(&stream, before, sizeof before);
            assert_int_equal(read_stream(sk_buf_view(&stream), 1, &frames, &ended), more ? SK_E_TOO_LARGE : 0);
            sk_buf_free(&stream);
        }
}

/* The most origins that a database can have, with the longest names and numbers, fit into a head. */
static void the_largest_head_fits(void **state)
{
    (void)state;
    sk_stream_head head = {.made_ms = UINT64_MAX};
    char name[SK_REGION_NAME_MAX + 1] = {0}, cluster[256];
    sk_buf body = {0};
    uint32_t number;
    memset(name, 'r', SK_REGION_NAME_MAX);
    memset(cluster, 'c', sizeof cluster);
    head.cluster = sk_bytes_of((const uint8_t *)cluster, sizeof cluster);
    head.region = sk_bytes_str(name);
    for (uint32_t i = 0; i < SK_ORIGINS_MAX; i++) {
        assert_int_equal(sk_origins_intern(&head.origins, head.region, UINT64_MAX - i, &number), 0);
        sk_vv_set(&head.vv, number, UINT64_MAX);
        sk_vv_set(&head.floor, number, UINT64_MAX);
    }
    sk_stream_head_pack(&body, &head);
    assert_true(body.len <= SK_STREAM_HEAD_MAX);
    sk_buf_reset(&body);
    sk_stream_end_pack(&body, &(sk_stream_end){UINT64_MAX, UINT64_MAX, ~(sk_digest)0});
    assert_true(body.len <= SK_STREAM_END_MAX);
    sk_stream_head_free(&head);
    sk_buf_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read_in_any_pieces),
        cmocka_unit_test(frames_of_a_piece_are_read_where_they_lie),
        cmocka_unit_test(bodies_are_read),
        cmocka_unit_test(no_cut_stream_has_an_end),
        cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(frames_cannot_be_left_out_repeated_or_exchanged),
        cmocka_unit_test(nothing_follows_the_end),
        cmocka_unit_test(another_format_and_absurd_lengths_are_refused),
        cmocka_unit_test(no_frame_is_larger_than_exports_make),
        cmocka_unit_test(the_largest_head_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
