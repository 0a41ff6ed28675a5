#include "tests/unit/crdt_harness.h"

#include <math.h>

static const uint64_t EDGES[] = {0,      1,          127,        128,           255,           256,       65535,
                                 65536,  UINT32_MAX, 1ull << 32, INT64_MAX - 1, INT64_MAX,     1ull << 63, UINT64_MAX};
enum { EDGE_COUNT = sizeof EDGES / sizeof *EDGES };

static void unsigned_numbers_come_back(void **state)
{
    (void)state;
    sk_buf buf = {0};
    for (int i = 0; i < EDGE_COUNT; i++) sk_pack_uint(&buf, EDGES[i]);
    sk_reader reader = sk_reader_of(sk_buf_view(&buf));
    for (int i = 0; i < EDGE_COUNT; i++) assert_true(sk_read_uint(&reader) == EDGES[i]);
    assert_true(sk_reader_done(&reader));
    assert_int_equal(sk_read_uint(&reader), 0);
    assert_true(reader.bad);
    sk_buf_free(&buf);
}

static void signed_numbers_come_back(void **state)
{
    (void)state;
    for (int i = 0; i < EDGE_COUNT; i++) {
        for (int sign = 0; sign < 2; sign++) {
            int64_t value = sign ? (int64_t)(0 - EDGES[i]) : (int64_t)EDGES[i];
            sk_buf buf = {0};
            sk_pack_int(&buf, value);
            sk_reader reader = sk_reader_of(sk_buf_view(&buf));
            assert_true(sk_read_int(&reader) == value);
            assert_true(sk_reader_done(&reader));
            sk_buf_free(&buf);
        }
    }
    sk_buf large = {0};
    sk_pack_uint(&large, 1ull << 63); /* no int64 */
    sk_reader reader = sk_reader_of(sk_buf_view(&large));
    assert_int_equal(sk_read_int(&reader), 0);
    assert_true(reader.bad);
    sk_buf_free(&large);
}

static void varints_come_back(void **state)
{
    (void)state;
    for (int bits = 0; bits <= 64; bits++) {
        for (int more = -1; more <= 1; more++) {
            uint64_t value = (bits == 64 ? 0 : 1ull << bits) + (uint64_t)more;
            size_t most = 0;
            while (most < 8 && value >> 7 * (most + 1)) most++; /* 9 bytes from 57 bits on */
            sk_buf buf = {0};
            sk_pack_varint(&buf, value);
            assert_int_equal(buf.len, most + 1);
            sk_reader reader = sk_reader_of(sk_buf_view(&buf));
            assert_true(sk_read_varint(&reader) == value);
            assert_true(sk_reader_done(&reader));
            for (size_t cut = 0; cut < buf.len; cut++) {
                reader = sk_reader_of(sk_bytes_of(buf.data, cut));
                assert_true(sk_read_varint(&reader) == 0);
                assert_true(reader.bad);
            }
            sk_buf_free(&buf);
        }
    }
}

static void big_endian_numbers_come_back(void **state)
{
    (void)state;
    sk_buf buf = {0};
    for (size_t len = 1; len <= 8; len++) sk_pack_big_endian(&buf, 0x0102030405060708, len);
    assert_bytes_equal(sk_bytes_of(buf.data, 6), sk_bytes_of("\x08\x07\x08\x06\x07\x08", 6));
    sk_reader reader = sk_reader_of(sk_buf_view(&buf));
    for (size_t len = 1; len <= 8; len++)
        assert_true(sk_read_big_endian(&reader, len) == UINT64_C(0x0102030405060708) << 8 * (8 - len) >> 8 * (8 - len));
    assert_true(sk_reader_done(&reader));
    sk_buf_free(&buf);
}

/* Each says in more bytes what fewer can. */
static void longer_forms_are_refused(void **state)
{
    (void)state;
#define RAW(text) {text, sizeof text - 1}
    static const struct {
        const char *data;
        size_t len;
    } unsigned_[] = {RAW("\xcc\x7f"), RAW("\xcd\x00\xff"), RAW("\xce\x00\x00\xff\xff"),
                     RAW("\xcf\x00\x00\x00\x00\xff\xff\xff\xff")},
      signed_[] = {RAW("\xd0\xe0"), RAW("\xd0\x05"), RAW("\xd1\xff\x80"), RAW("\xd2\xff\xff\x80\x00"),
                   RAW("\xd3\xff\xff\xff\xff\x80\x00\x00\x00"), RAW("\xd3\x7f\xff\xff\xff\x80\x00\x00\x00")},
      varint[] = {RAW("\x80\x7f"), RAW("\xc0\x3f\xff"), RAW("\xfe\x01\xff\xff\xff\xff\xff\xff"),
                  RAW("\xff\x00\xff\xff\xff\xff\xff\xff\xff")};
#undef RAW
    for (size_t i = 0; i < 4; i++) {
        sk_reader reader = sk_reader_of(sk_bytes_of(unsigned_[i].data, unsigned_[i].len));
        assert_int_equal(sk_read_uint(&reader), 0);
        assert_true(reader.bad);
        reader = sk_reader_of(sk_bytes_of(unsigned_[i].data, unsigned_[i].len));
        assert_int_equal(sk_read_int(&reader), 0);
        assert_true(reader.bad);
        reader = sk_reader_of(sk_bytes_of(varint[i].data, varint[i].len));
        assert_int_equal(sk_read_varint(&reader), 0);
        assert_true(reader.bad);
    }
    for (size_t i = 0; i < sizeof signed_ / sizeof *signed_; i++) {
        sk_reader reader = sk_reader_of(sk_bytes_of(signed_[i].data, signed_[i].len));
        assert_int_equal(sk_read_int(&reader), 0);
        assert_true(reader.bad);
    }
}

static void the_other_kinds_come_back(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint8_t *body = sk_alloc(lengths[i]);
        memset(body, 7, lengths[i]);
        sk_buf buf = {0};
        sk_pack_double(&buf, -0.1);
        sk_pack_bytes(&buf, sk_bytes_of(body, lengths[i]));
        sk_pack_bool(&buf, true);
        sk_pack_bool(&buf, false);
        sk_pack_array(&buf, (uint32_t)lengths[i]);
        sk_buf_append(&buf, body, lengths[i]);
        sk_reader reader = sk_reader_of(sk_buf_view(&buf));
        assert_true(sk_read_double(&reader) == -0.1);
        assert_bytes_equal(sk_read_bytes(&reader), sk_bytes_of(body, lengths[i]));
        assert_true(sk_read_bool(&reader));
        assert_false(sk_read_bool(&reader));
        assert_int_equal(sk_read_array(&reader), lengths[i]);
        assert_int_equal(sk_reader_left(&reader), lengths[i]);
        assert_false(reader.bad);
        sk_buf_free(&buf);
        free(body);
    }
}

static void every_cut_is_bad_and_reads_nothing_beyond(void **state)
{
    (void)state;
    sk_buf buf = {0};
    sk_pack_uint(&buf, 1000);
    sk_pack_int(&buf, -100000);
    sk_pack_bytes(&buf, sk_bytes_str("some bytes"));
    sk_pack_double(&buf, 1);
    for (size_t cut = 0; cut < buf.len; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1); /* so that a read beyond it is seen */
        memcpy(exact, buf.data, cut);
        sk_reader reader = sk_reader_of(sk_bytes_of(exact, cut));
        (void)sk_read_uint(&reader);
        (void)sk_read_int(&reader);
        (void)sk_read_bytes(&reader);
        (void)sk_read_double(&reader);
        assert_true(reader.bad);
        assert_int_equal(sk_reader_left(&reader), 0);
        assert_false(sk_reader_done(&reader));
        free(exact);
    }
    sk_buf_free(&buf);
}

static void lengths_beyond_the_input_are_not_believed(void **state)
{
    (void)state;
    static const char *const lies[] = {"\xc6\xff\xff\xff\xff", "\xdb\x7f\xff\xff\xff", "\xc4\x05"
                                                                                       "abcd", "\xdd\xff\xff\xff\xff",
                                       "\xdc\x00\x02" "a", "\x93"};
    static const size_t lens[] = {5, 5, 6, 5, 4, 1};
    for (int i = 0; i < 6; i++) {
        sk_reader reader = sk_reader_of(sk_bytes_of(lies[i], lens[i]));
        if (i < 3)
            assert_int_equal(sk_read_bytes(&reader).len, 0);
        else
            assert_int_equal(sk_read_array(&reader), 0);
        assert_true(reader.bad);
    }
}

static void another_kind_is_bad(void **state)
{
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        sk_buf buf = {0};
        sk_pack_nil(&buf);
        sk_reader reader = sk_reader_of(sk_buf_view(&buf));
        switch (kind) {
        case 0: (void)sk_read_uint(&reader); break;
        case 1: (void)sk_read_int(&reader); break;
        case 2: (void)sk_read_bytes(&reader); break;
        case 3: (void)sk_read_array(&reader); break;
        case 4: (void)sk_read_double(&reader); break;
        default: (void)sk_read_bool(&reader);
        }
        assert_true(reader.bad);
        sk_buf_free(&buf);
    }
}

static void strings_are_read_as_bytes(void **state)
{
    (void)state;
    sk_reader reader = sk_reader_of(sk_bytes_of("\xa3" "abc\xd9\x02" "de", 8));
    assert_bytes_equal(sk_read_bytes(&reader), sk_bytes_str("abc"));
    assert_bytes_equal(sk_read_bytes(&reader), sk_bytes_str("de"));
    assert_true(sk_reader_done(&reader));
}

static void nothing_can_be_read_from_nothing(void **state)
{
    (void)state;
    sk_reader reader = sk_reader_of(SK_BYTES_NONE);
    assert_true(sk_reader_done(&reader));
    assert_int_equal(sk_reader_left(&reader), 0);
    assert_int_equal(sk_read_uint(&reader), 0);
    assert_true(reader.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsigned_numbers_come_back),
        cmocka_unit_test(signed_numbers_come_back),
        cmocka_unit_test(varints_come_back),
        cmocka_unit_test(big_endian_numbers_come_back),
        cmocka_unit_test(longer_forms_are_refused),
        cmocka_unit_test(the_other_kinds_come_back),
        cmocka_unit_test(every_cut_is_bad_and_reads_nothing_beyond),
        cmocka_unit_test(lengths_beyond_the_input_are_not_believed),
        cmocka_unit_test(another_kind_is_bad),
        cmocka_unit_test(strings_are_read_as_bytes),
        cmocka_unit_test(nothing_can_be_read_from_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
