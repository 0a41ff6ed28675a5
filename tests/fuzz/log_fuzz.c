/* Records of the commit log: whatever the bytes, what a reader gives lies within them and is of a known sort, and it
 * ends. What was read whole, written again, reads the same. */
#include "storage/log.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(sk_bytes bytes, const uint8_t *data, size_t size)
{
    if (bytes.len == 0) return;
    sk_assert(bytes.data >= data);
    sk_assert(bytes.data <= data + size);
    sk_assert(bytes.len <= (size_t)(data + size - bytes.data));
}

static void write_again(sk_buf *record, const sk_logged *logged)
{
    sk_change *change = sk_alloc(sizeof *change + logged->key.len + logged->value.len);
    change->cf = (uint8_t)logged->cf;
    change->kind = (uint8_t)logged->kind;
    change->open_end = logged->open_end;
    change->key_len = (uint32_t)logged->key.len;
    change->value_len = (uint32_t)logged->value.len;
    if (logged->key.len) memcpy(change->data, logged->key.data, logged->key.len);
    if (logged->value.len) memcpy(change->data + logged->key.len, logged->value.data, logged->value.len);
    sk_log_append(record, change);
    free(change);
}

static void check_same(const sk_buf *again, sk_bytes input, size_t count)
{
    sk_reader first = sk_reader_of(input), second = sk_reader_of(sk_buf_view(again));
    for (size_t i = 0; i < count; i++) {
        sk_logged a, b;
        sk_assert(sk_log_next(&first, &a) == 1);
        sk_assert(sk_log_next(&second, &b) == 1);
        sk_assert(a.kind == b.kind);
        sk_assert(a.cf == b.cf);
        sk_assert(a.open_end == b.open_end);
        sk_assert(sk_bytes_equal(a.key, b.key));
        sk_assert(sk_bytes_equal(a.value, b.value));
    }
    sk_logged none;
    sk_assert(sk_log_next(&second, &none) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sk_reader reader = sk_reader_of(sk_bytes_of(data, size));
    sk_logged logged;
    sk_buf again = {0};
    size_t count = 0;
    int status;
    while ((status = sk_log_next(&reader, &logged)) > 0) {
        sk_assert(logged.cf < SK_CF_COUNT);
        sk_assert(logged.kind <= SK_CHANGE_RANGE);
        sk_assert(!logged.open_end || logged.kind == SK_CHANGE_RANGE);
        sk_assert(logged.kind != SK_CHANGE_REMOVE || logged.value.len == 0);
        check_within(logged.key, data, size);
        check_within(logged.value, data, size);
        write_again(&again, &logged);
        count++;
        sk_assert(count <= size);
    }
    sk_assert(status == 0 || status == SK_E_CORRUPT);
    if (count) check_same(&again, sk_bytes_of(data, size), count);
    sk_buf_free(&again);
    return 0;
}
