#include "node/record.c"

#include "storage/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static sk_store *store;

static int start(void **state)
{
    (void)state;
    store = sk_memory_open(SK_DURABILITY_ALWAYS);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sk_store_close(store);
    return 0;
}

static void put(sk_cf cf, const char *key, const char *text)
{
    sk_buf value = {0};
    sk_buf_bytes(&value, sk_bytes_str(text));
    sk_record_put(store, cf, sk_bytes_str(key), &value);
    assert_int_equal(value.len, strlen(text));
    sk_buf_free(&value);
}

/* The check value of the catalogues, and those of RFC 3720, B.4. */
static void the_sum_is_crc_32c(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, ones[32], rising[32];
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++) rising[i] = (uint8_t)i;
    assert_int_equal(sk_record_crc(0, sk_bytes_str("123456789")), 0xe3069283);
    assert_int_equal(sk_record_crc(0, sk_bytes_of(zeros, 32)), 0x8a9136aa);
    assert_int_equal(sk_record_crc(0, sk_bytes_of(ones, 32)), 0x62a8ab43);
    assert_int_equal(sk_record_crc(0, sk_bytes_of(rising, 32)), 0x46dd794e);
    assert_int_equal(sk_record_crc(sk_record_crc(0, sk_bytes_str("1234")), sk_bytes_str("56789")), 0xe3069283);
    for (size_t len = 0; len <= 32; len++)
        assert_int_equal(crc_of(7, rising, len), crc_plain(7, rising, len));
}

static void a_record_comes_back(void **state)
{
    (void)state;
    sk_bytes value;
    uint64_t batch;
    assert_int_equal(sk_record_get(store, SK_CF_META, sk_bytes_str("k"), &value, &batch), 0);
    put(SK_CF_META, "k", "value");
    put(SK_CF_META, "empty", "");
    assert_int_equal(sk_record_get(store, SK_CF_META, sk_bytes_str("k"), &value, &batch), 1);
    assert_true(sk_bytes_equal(value, sk_bytes_str("value")));
    assert_int_equal(batch, 1);
    assert_int_equal(sk_record_get(store, SK_CF_META, sk_bytes_str("empty"), &value, NULL), 1);
    assert_int_equal(value.len, 0);
    sk_store_seal(store);
    sk_memory_sync(store, 1);
    sk_store_snapshot *snapshot = sk_store_snapshot_take(store);
    sk_buf copy = {0};
    assert_int_equal(sk_record_snapshot_get(store, snapshot, SK_CF_META, sk_bytes_str("k"), &copy), 1);
    assert_true(sk_bytes_equal(sk_buf_view(&copy), sk_bytes_str("value")));
    assert_int_equal(sk_record_snapshot_get(store, snapshot, SK_CF_META, sk_bytes_str("other"), &copy), 0);
    sk_buf_free(&copy);
    sk_store_snapshot_free(store, snapshot);
}

/* Any change of any byte of key or value, and a record under another key or in another family. */
static void every_wrong_byte_is_found(void **state)
{
    (void)state;
    sk_bytes stored, value;
    put(SK_CF_HISTORY, "a key of a record", "its value");
    assert_int_equal(sk_store_get(store, SK_CF_HISTORY, sk_bytes_str("a key of a record"), &stored, NULL), 1);
    uint8_t bytes[64], key[] = "a key of a record";
    size_t len = stored.len, key_len = sizeof key - 1;
    memcpy(bytes, stored.data, len);
    for (int x = 0; x < 256; x++) {
        for (size_t i = 0; i < len; i++) {
            bytes[i] ^= (uint8_t)x;
            int status = sk_record_open(SK_CF_HISTORY, sk_bytes_of(key, key_len), sk_bytes_of(bytes, len), &value);
            assert_int_equal(status, x ? SK_E_CORRUPT : 0);
            bytes[i] ^= (uint8_t)x;
        }
        for (size_t i = 0; i < key_len; i++) {
            key[i] ^= (uint8_t)x;
            int status = sk_record_open(SK_CF_HISTORY, sk_bytes_of(key, key_len), sk_bytes_of(bytes, len), &value);
            assert_int_equal(status, x ? SK_E_CORRUPT : 0);
            key[i] ^= (uint8_t)x;
        }
    }
    for (size_t i = 0; i < len; i++)
        assert_int_equal(sk_record_open(SK_CF_HISTORY, sk_bytes_of(key, key_len), sk_bytes_of(bytes, i), &value),
                         SK_E_CORRUPT);
    assert_int_equal(sk_record_open(SK_CF_META, sk_bytes_of(key, key_len), sk_bytes_of(bytes, len), &value), SK_E_CORRUPT);
}

static void a_damaged_meta_record_is_named(void **state)
{
    (void)state;
    sk_buf error = {0};
    put(SK_CF_META, "identity", "x");
    put(SK_CF_META, "state", "y");
    assert_int_equal(sk_record_check_meta(store, &error), 0);
    assert_int_equal(error.len, 0);
    sk_store_put(store, SK_CF_META, sk_bytes_str("origin/\1\""), sk_bytes_str("12345"));
    assert_int_equal(sk_record_check_meta(store, &error), SK_E_CORRUPT);
    sk_buf_byte(&error, 0);
    assert_non_null(strstr((const char *)error.data, "the record \"origin/\\x01\\x22\" of the database is damaged: restore"));
    assert_non_null(strstr((const char *)error.data, "join"));
    sk_buf_free(&error);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_sum_is_crc_32c),
        TEST(a_record_comes_back),
        TEST(every_wrong_byte_is_found),
        TEST(a_damaged_meta_record_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
