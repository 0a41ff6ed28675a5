/* What the tests of crdt/ share: entries and rows in a line, and rows as text. */
#ifndef SK_TESTS_CRDT_HARNESS_H
#define SK_TESTS_CRDT_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crdt/register_mv.h"

static inline sk_entry value_of(uint32_t origin, uint64_t seq, const char *text)
{
    return (sk_entry){.kind = SK_ENTRY_VALUE, .dot = {origin, seq}, .hlc = seq, .value = sk_bytes_str(text)};
}

static inline sk_entry member_of(uint32_t origin, uint64_t seq)
{
    return (sk_entry){.kind = SK_ENTRY_MEMBER, .dot = {origin, seq}, .hlc = seq};
}

static inline sk_entry deadline_of(uint32_t origin, uint64_t seq, uint64_t deadline_ms)
{
    return (sk_entry){.kind = SK_ENTRY_DEADLINE, .dot = {origin, seq}, .hlc = seq, .deadline_ms = deadline_ms};
}

static inline sk_entry count_entry(uint32_t origin, uint64_t seq, uint64_t epoch, int64_t total)
{
    return (sk_entry){.kind = SK_ENTRY_COUNT,
                      .dot = {origin, seq},
                      .hlc = seq,
                      .count = {.epoch = epoch, .total = sk_number_whole(total)}};
}

/* The same with a base; dead if base_seq is seq (then reset by 9:1). */
static inline sk_entry count_since(sk_entry count, uint64_t base_seq, int64_t base)
{
    count.count.base_seq = base_seq;
    count.count.base = sk_number_whole(base);
    if (base_seq == count.dot.seq) count.count.reset_by = (sk_dot){9, 1};
    return count;
}

#define ROW_OF(...)                                                                                                    \
    ((sk_row){.entries = (sk_entry[]){__VA_ARGS__}, .count = sizeof((sk_entry[]){__VA_ARGS__}) / sizeof(sk_entry)})

/* "0:1 v hello, 0:2 c 5-3@1 from 1": one entry after the other; a dead count ends in '+'. Borrowed from a static. */
static inline const char *row_text(const sk_row *row)
{
    static sk_buf text;
    sk_buf_reset(&text);
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        sk_buf_printf(&text, "%s%u:%llu %c", i ? ", " : "", entry->dot.origin, (unsigned long long)entry->dot.seq,
                      " vcmd"[entry->kind]);
        if (entry->kind == SK_ENTRY_VALUE)
            sk_buf_printf(&text, " %.*s", (int)entry->value.len, (const char *)entry->value.data);
        if (entry->kind == SK_ENTRY_DEADLINE) sk_buf_printf(&text, " %llu", (unsigned long long)entry->deadline_ms);
        if (entry->kind != SK_ENTRY_COUNT) continue;
        sk_buf_printf(&text, " %Lg", sk_number_as_real(entry->count.total));
        if (entry->count.base_seq)
            sk_buf_printf(&text, "-%Lg@%llu", sk_number_as_real(entry->count.base),
                          (unsigned long long)entry->count.base_seq);
        sk_buf_printf(&text, " from %llu%s", (unsigned long long)entry->count.epoch, sk_entry_live(entry) ? "" : "+");
    }
    sk_buf_byte(&text, 0);
    return (const char *)text.data;
}

/* A vector: the seqs of origins 0, 1, 2… Free it. */
static inline sk_vv vv_of(uint64_t a, uint64_t b, uint64_t c)
{
    sk_vv vv = {0};
    sk_vv_set(&vv, 0, a);
    sk_vv_set(&vv, 1, b);
    sk_vv_set(&vv, 2, c);
    return vv;
}

#define assert_bytes_equal(have, want)                                                                                 \
    do {                                                                                                               \
        sk_bytes have_ = (have), want_ = (want);                                                                       \
        assert_int_equal(have_.len, want_.len);                                                                        \
        if (want_.len) assert_memory_equal(have_.data, want_.data, want_.len);                                         \
    } while (0)

#endif
