#include "storage/log.h"

enum { KIND_SHIFT = 1, CF_SHIFT = 3, KIND_MASK = 3 };

void sk_log_append(sk_buf *record, const sk_change *change)
{
    sk_pack_uint(record, (uint64_t)change->cf << CF_SHIFT | (uint64_t)change->kind << KIND_SHIFT | change->open_end);
    sk_pack_bytes(record, sk_change_key(change));
    if (change->kind != SK_CHANGE_REMOVE) sk_pack_bytes(record, sk_change_value(change));
}

int sk_log_next(sk_reader *reader, sk_logged *logged)
{
    if (!reader->bad && reader->at == reader->end) return 0;
    uint64_t head = sk_read_uint(reader);
    *logged = (sk_logged){.kind = (sk_change_kind)(head >> KIND_SHIFT & KIND_MASK), .open_end = head & 1};
    if (head >> CF_SHIFT >= SK_CF_COUNT || logged->kind > SK_CHANGE_RANGE) return SK_E_CORRUPT;
    if (logged->open_end && logged->kind != SK_CHANGE_RANGE) return SK_E_CORRUPT;
    logged->cf = (sk_cf)(head >> CF_SHIFT);
    logged->key = sk_read_bytes(reader);
    if (logged->kind != SK_CHANGE_REMOVE) logged->value = sk_read_bytes(reader);
    return reader->bad ? SK_E_CORRUPT : 1;
}
