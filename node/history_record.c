#include "node/history.h"

#include "node/record.h"

enum {
    PAGE_BYTES = 8 << 10, /* no entry is added to one that is larger */
    FLAGS = SK_HISTORY_REMOVES | SK_HISTORY_DEAD,
    NEXT = 4, /* the entry is the first of another transaction */
};

/* -- keys ----------------------------------------------------------------------------------------------------------- */

void sk_history_key(uint8_t key[SK_HISTORY_DOT_BYTES], uint32_t origin, uint64_t seq)
{
    for (int i = 0; i < 4; i++) key[i] = (uint8_t)(origin >> (24 - 8 * i));
    for (int i = 0; i < 8; i++) key[4 + i] = (uint8_t)(seq >> (56 - 8 * i));
}

void sk_history_single_key(sk_buf *buf, sk_dot dot, sk_bytes raw)
{
    uint8_t dot_bytes[SK_HISTORY_DOT_BYTES];
    sk_history_key(dot_bytes, dot.origin, dot.seq);
    sk_buf_reset(buf);
    sk_buf_append(buf, dot_bytes, sizeof dot_bytes);
    sk_buf_bytes(buf, raw);
}

bool sk_history_parse(sk_bytes key, sk_dot *dot, sk_bytes *raw)
{
    if (key.len < SK_HISTORY_DOT_BYTES) return false;
    *dot = (sk_dot){0};
    for (int i = 0; i < 4; i++) dot->origin = dot->origin << 8 | key.data[i];
    for (int i = 0; i < 8; i++) dot->seq = dot->seq << 8 | key.data[4 + i];
    *raw = sk_bytes_of(key.data + SK_HISTORY_DOT_BYTES, key.len - SK_HISTORY_DOT_BYTES);
    return dot->origin < SK_ORIGINS_MAX;
}

/* -- reading -------------------------------------------------------------------------------------------------------- */

static bool read_entry(sk_reader *reader, uint32_t origin, uint64_t *seq, sk_history_entry *entry)
{
    if (sk_reader_left(reader) == 0) return false;
    uint8_t head = sk_read_byte(reader);
    if (head & NEXT) ++*seq;
    entry->dot = (sk_dot){origin, *seq};
    entry->flags = head & FLAGS;
    entry->raw = sk_read_raw(reader, sk_read_varint(reader));
    if (head & ~(NEXT | FLAGS) || entry->raw.len == 0) reader->bad = true;
    return !reader->bad;
}

/* Its sum is right, so this holds unless what wrote it was wrong. */
static bool is_page(const sk_history_record *record)
{
    sk_reader reader = record->rest;
    sk_history_entry entry;
    uint64_t seq = record->first;
    bool any = false;
    while (read_entry(&reader, record->origin, &seq, &entry)) {
        if (!any && seq != record->first) return false;
        any = true;
    }
    return any && sk_reader_done(&reader) && record->first > 0 && seq == record->last;
}

static sk_history_record page_of(sk_dot last, sk_bytes value)
{
    sk_history_record record = {.origin = last.origin, .last = last.seq, .page = true, .rest = sk_reader_of(value)};
    if (value.len) record.first = record.next.dot.seq = sk_read_varint(&record.rest);
    return record;
}

int sk_history_open(sk_bytes key, sk_bytes stored, const sk_vv *floor, sk_history_record *record)
{
    sk_bytes value, raw;
    sk_dot dot;
    *record = (sk_history_record){0};
    int status = sk_record_open(SK_CF_HISTORY, key, stored, &value);
    if (status || !sk_history_parse(key, &dot, &raw)) return SK_E_CORRUPT;
    if (raw.len) {
        if (value.len != 1) return SK_E_CORRUPT;
        *record = (sk_history_record){.origin = dot.origin, .first = dot.seq, .last = dot.seq, .has_next = true};
        record->next = (sk_history_entry){dot, raw, value.data[0]};
        return 0;
    }
    *record = page_of(dot, value);
    if (!is_page(record)) {
        record->rest.bad = true;
        return SK_E_CORRUPT;
    }
    uint64_t below = floor ? sk_vv_get(floor, dot.origin) : 0;
    if (below < record->last) record->gone = below; /* else it is left from a renewal, and gone through by a revisit */
    return 0;
}

bool sk_history_next(sk_history_record *record, sk_history_entry *entry)
{
    if (!record->page) {
        *entry = record->next;
        bool had = record->has_next;
        record->has_next = false;
        return had;
    }
    uint64_t seq = record->next.dot.seq;
    while (read_entry(&record->rest, record->origin, &seq, &record->next))
        if (seq > record->gone) {
            *entry = record->next;
            return true;
        }
    return false;
}

/* -- writing -------------------------------------------------------------------------------------------------------- */

bool sk_history_page_takes(const sk_history_page *page, sk_dot dot)
{
    if (page->value.len == 0) return true;
    return dot.origin == page->origin && (dot.seq == page->last || dot.seq == page->last + 1) && page->value.len <= PAGE_BYTES;
}

void sk_history_page_add(sk_history_page *page, sk_dot dot, sk_bytes raw, unsigned flags)
{
    bool first = page->value.len == 0;
    if (first) sk_pack_varint(&page->value, dot.seq);
    bool next = !first && dot.seq != page->last;
    sk_buf_byte(&page->value, (uint8_t)(flags | (next ? NEXT : 0)));
    sk_pack_varint(&page->value, raw.len);
    sk_buf_bytes(&page->value, raw);
    page->origin = dot.origin;
    page->last = dot.seq;
}

sk_history_record sk_history_page_read(const sk_history_page *page)
{
    return page_of((sk_dot){page->origin, page->last}, sk_buf_view(&page->value));
}
