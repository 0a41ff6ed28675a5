/* The commit log's records: what is written is read back, the bytes are the ones agreed on, and damage is seen. */
#include "storage/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static sk_bytes view_of(const sk_buf *buf, size_t len)
{
    return sk_bytes_of(buf->data, len);
}

/* One change of every sort, odd lengths included, in every family. */
static void change_all(sk_overlay *overlay)
{
    static const uint8_t bytes[70000] = {1, 0, 255, 2};
    static const size_t lengths[] = {0, 1, 2, 31, 255, 256, 65535, 65536, 70000};
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            sk_bytes some = sk_bytes_of(bytes, lengths[i]), other = sk_bytes_of(bytes, lengths[8 - i]);
            sk_overlay_change(overlay, SK_CHANGE_PUT, (sk_cf)cf, some, other);
            sk_overlay_change(overlay, SK_CHANGE_REMOVE, (sk_cf)cf, other, SK_BYTES_NONE);
            sk_overlay_remove_range(overlay, (sk_cf)cf, some, sk_bytes_str("\xff"));
            sk_overlay_remove_range(overlay, (sk_cf)cf, other, SK_BYTES_NONE);
        }
    }
}

static void what_is_appended_is_read_back(void **state)
{
    (void)state;
    sk_overlay overlay;
    sk_overlay_init(&overlay, 1, 0);
    change_all(&overlay);
    sk_batch *batch = sk_overlay_seal(&overlay);
    sk_buf record = {0};
    for (const sk_change *change = batch->first; change; change = change->next) sk_log_append(&record, change);
    sk_reader reader = sk_reader_of(sk_buf_view(&record));
    sk_logged logged;
    size_t count = 0;
    for (const sk_change *change = batch->first; change; change = change->next, count++) {
        assert_int_equal(sk_log_next(&reader, &logged), 1);
        assert_int_equal(logged.kind, change->kind);
        assert_int_equal(logged.cf, change->cf);
        assert_int_equal(logged.open_end, change->open_end);
        assert_true(sk_bytes_equal(logged.key, sk_change_key(change)));
        assert_true(sk_bytes_equal(logged.value, sk_change_value(change)));
    }
    assert_int_equal(count, SK_CF_COUNT * 9 * 4);
    assert_int_equal(sk_log_next(&reader, &logged), 0);
    assert_int_equal(sk_log_next(&reader, &logged), 0);
    sk_buf_free(&record);
    sk_overlay_free(&overlay);
}

/* The bytes on disk: whoever changes them changes the format, and its number in the SKERRY file. */
static void the_bytes_are_the_ones_agreed_on(void **state)
{
    (void)state;
    static const uint8_t expected[] = {
        0x00, 0xc4, 1, 'a', 0xc4, 2, 'v', 'w',      /* row: put */
        0x0a, 0xc4, 1, 'b',                         /* history: remove */
        0x14, 0xc4, 1, 'c', 0xc4, 1, 'd',           /* meta: the range from c to d */
        0x25, 0xc4, 0, 0xc4, 0,                     /* derived: everything */
    };
    sk_overlay overlay;
    sk_overlay_init(&overlay, 1, 0);
    sk_overlay_change(&overlay, SK_CHANGE_PUT, SK_CF_ROW, sk_bytes_str("a"), sk_bytes_str("vw"));
    sk_overlay_change(&overlay, SK_CHANGE_REMOVE, SK_CF_HISTORY, sk_bytes_str("b"), sk_bytes_str("ignored"));
    sk_overlay_remove_range(&overlay, SK_CF_META, sk_bytes_str("c"), sk_bytes_str("d"));
    sk_overlay_remove_range(&overlay, SK_CF_DERIVED, SK_BYTES_NONE, SK_BYTES_NONE);
    sk_buf record = {0};
    for (const sk_change *change = overlay.open->first; change; change = change->next) sk_log_append(&record, change);
    assert_int_equal(record.len, sizeof expected);
    assert_memory_equal(record.data, expected, sizeof expected);
    sk_buf_free(&record);
    sk_overlay_free(&overlay);
}

/* How many changes a reader finds; -1: it calls the bytes damaged. The input ends where its memory does. */
static int count_of(sk_bytes bytes)
{
    uint8_t *copy = malloc(bytes.len ? bytes.len : 1);
    assert_non_null(copy);
    if (bytes.len) memcpy(copy, bytes.data, bytes.len);
    sk_reader reader = sk_reader_of(sk_bytes_of(copy, bytes.len));
    sk_logged logged;
    int status, count = 0;
    while ((status = sk_log_next(&reader, &logged)) > 0) count++;
    free(copy);
    if (status == 0) return count;
    assert_int_equal(status, SK_E_CORRUPT);
    return -1;
}

static void a_cut_off_record_is_damaged(void **state)
{
    (void)state;
    sk_overlay overlay;
    sk_overlay_init(&overlay, 1, 0);
    sk_buf record = {0};
    size_t ends[8] = {0}, count = 0;
    sk_overlay_change(&overlay, SK_CHANGE_PUT, SK_CF_ROW, sk_bytes_str("key"), sk_bytes_str("value"));
    sk_overlay_change(&overlay, SK_CHANGE_REMOVE, SK_CF_STAGED, sk_bytes_str("other"), SK_BYTES_NONE);
    sk_overlay_remove_range(&overlay, SK_CF_DERIVED, sk_bytes_str("from"), sk_bytes_str("to"));
    sk_overlay_remove_range(&overlay, SK_CF_DERIVED, sk_bytes_str("from"), SK_BYTES_NONE);
    for (const sk_change *change = overlay.open->first; change; change = change->next) {
        sk_log_append(&record, change);
        ends[++count] = record.len;
    }
    for (size_t len = 0, whole = 0; len <= record.len; len++) {
        if (len == ends[whole + 1]) whole++;
        assert_int_equal(count_of(view_of(&record, len)), len == ends[whole] ? (int)whole : -1);
    }
    sk_buf_free(&record);
    sk_overlay_free(&overlay);
}

static void what_is_no_record_is_damaged(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"\x06\xc4\0\xc4\0", 5},                 /* no such kind */
        {"\x28\xc4\0\xc4\0", 5},                 /* no such family */
        {"\xcf\xff\xff\xff\xff\xff\xff\xff\xf8\xc4\0\xc4\0", 13},
        {"\x01\xc4\0\xc4\0", 5},                 /* a put without an end */
        {"\x0b\xc4\0", 3},                       /* a removal without an end */
        {"\xff\xc4\0\xc4\0", 5},                 /* a negative head */
        {"\xc4\0\xc4\0\xc4\0", 6},               /* bytes for a head */
        {"\x00\x01\xc4\0", 4},                   /* a number for a key */
        {"\x00\xc4\1", 3},                       /* a key longer than the input */
        {"\x00\xc6\xff\xff\xff\xff", 6},
        {"\x00\xc4\0\xc6\x7f\xff\xff\xff", 8},
        {"\xc1", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(count_of(sk_bytes_of(cases[i].bytes, cases[i].len)), -1);
    sk_reader reader = sk_reader_of(sk_bytes_str("\xc1"));
    sk_logged logged;
    for (int i = 0; i < 3; i++) assert_int_equal(sk_log_next(&reader, &logged), SK_E_CORRUPT); /* and stays so */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_is_read_back),  cmocka_unit_test(the_bytes_are_the_ones_agreed_on),
        cmocka_unit_test(a_cut_off_record_is_damaged),
        cmocka_unit_test(what_is_no_record_is_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
