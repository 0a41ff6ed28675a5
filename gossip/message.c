#include "gossip/message.h"

enum { HEARTBEAT = 1, PONG = 2, DIGEST = 4, STATUS_FLAGS_END = 8 };
enum { CONTINUES = 1, BATCH_FLAGS_END = 2 };
enum { COUNTER_ZERO = 1, RAISES = 2, HEAD_SHIFT = 2 };
enum {
    GOSSIP_FIELDS = 5,
    TXN_BYTES_MIN = 3, /* head, time, an empty bin has two: what a count of transactions is bounded by */
    HLC_COUNTER_BITS = 16,
};

void sk_message_begin(sk_buf *buf, sk_message_type type)
{
    sk_buf_reset(buf);
    sk_pack_uint(buf, type);
}

int sk_message_type_read(sk_reader *reader)
{
    uint64_t type = sk_read_uint(reader);
    if (reader->bad) return SK_E_MALFORMED;
    return type >= SK_MESSAGE_HELLO && type <= SK_MESSAGE_PIECE ? (int)type : SK_E_PROTOCOL;
}

size_t sk_message_max(int type)
{
    switch (type) {
    case SK_MESSAGE_BATCH:
    case SK_MESSAGE_CHUNK:
    case SK_MESSAGE_REQUEST: /* a row's key: where an interrupted transfer goes on */
    case SK_MESSAGE_ASK:
    case SK_MESSAGE_PARTS:
    case SK_MESSAGE_ROWS:
    case SK_MESSAGE_WANT: return SK_MESSAGE_LARGEST;
    default: return SK_MESSAGE_MAX;
    }
}

/* 0 if all was read and good. */
static int finish(const sk_reader *reader)
{
    return sk_reader_done(reader) ? 0 : SK_E_MALFORMED;
}

/* A seq, a term, a time, a count. */
static uint64_t read_number(sk_reader *reader)
{
    uint64_t number = sk_read_uint(reader);
    if (number > SK_SEQ_MAX) reader->bad = true;
    return reader->bad ? 0 : number;
}

static void read_vv(sk_reader *reader, const sk_origin_map *map, sk_vv *vv)
{
    sk_vv_read(reader, map, vv);
    for (uint32_t o = 0; o < vv->count; o++)
        if (vv->seq[o] > SK_SEQ_MAX) reader->bad = true;
}

static int read_code(sk_reader *reader)
{
    int64_t code = sk_read_int(reader);
    if (code > 0 || code < -1000) reader->bad = true;
    return reader->bad ? 0 : (int)code;
}

/* -- lists --------------------------------------------------------------------------------------------------------- */

/* The list that begins here, of elements of `width` values. Its elements are not looked at yet. */
static sk_elements begin_list(sk_reader *reader, uint32_t width)
{
    uint32_t values = sk_read_array(reader);
    if (values % width) reader->bad = true;
    return (sk_elements){*reader, reader->bad ? 0 : values / width};
}

/* The list has been looked through up to here. */
static void end_list(sk_reader *reader, const sk_elements *looked)
{
    *reader = looked->reader;
}

void sk_message_pack_origins(sk_buf *buf, const sk_origins *origins, uint32_t from)
{
    sk_pack_array(buf, 3 * (origins->count - from));
    for (uint32_t o = from; o < origins->count; o++) {
        sk_pack_uint(buf, o);
        sk_pack_bytes(buf, sk_bytes_str(origins->list[o].region));
        sk_pack_uint(buf, origins->list[o].incarnation);
    }
}

bool sk_announced_next(sk_elements *list, sk_announced *origin)
{
    if (list->count == 0 || list->reader.bad) return false;
    list->count--;
    uint64_t number = sk_read_uint(&list->reader);
    if (number >= SK_ORIGINS_MAX) list->reader.bad = true;
    origin->number = (uint32_t)number;
    origin->region = sk_read_bytes(&list->reader);
    if (!sk_region_name_valid(origin->region)) list->reader.bad = true;
    origin->incarnation = sk_read_uint(&list->reader);
    return !list->reader.bad;
}

static sk_elements read_announced(sk_reader *reader)
{
    sk_elements list = begin_list(reader, 3), look = list;
    sk_announced origin;
    while (sk_announced_next(&look, &origin)) continue;
    end_list(reader, &look);
    return list;
}

bool sk_name_next(sk_elements *list, sk_bytes *name)
{
    if (list->count == 0 || list->reader.bad) return false;
    list->count--;
    *name = sk_read_bytes(&list->reader);
    if (!sk_region_name_valid(*name)) list->reader.bad = true;
    return !list->reader.bad;
}

void sk_gossip_pack(sk_buf *buf, const sk_gossip *gossip, const sk_vv *acked)
{
    sk_pack_bytes(buf, gossip->region);
    sk_pack_uint(buf, gossip->term);
    sk_pack_uint(buf, gossip->current == SK_ORIGIN_UNKNOWN ? 0 : (uint64_t)gossip->current + 1);
    sk_pack_uint(buf, gossip->view);
    sk_vv_pack(buf, acked);
}

bool sk_gossip_next(sk_elements *list, const sk_origin_map *map, sk_gossip *gossip, sk_vv *acked)
{
    if (list->count == 0 || list->reader.bad) return false;
    list->count--;
    gossip->region = sk_read_bytes(&list->reader);
    if (!sk_region_name_valid(gossip->region)) list->reader.bad = true;
    gossip->term = read_number(&list->reader);
    uint64_t current = sk_read_uint(&list->reader);
    gossip->current = current ? sk_origin_map_get(map, current - 1) : SK_ORIGIN_UNKNOWN;
    if (current && gossip->current == SK_ORIGIN_UNKNOWN) list->reader.bad = true;
    gossip->view = sk_read_uint(&list->reader);
    read_vv(&list->reader, map, acked);
    return !list->reader.bad;
}

void sk_news_pack(sk_buf *buf, uint32_t own, uint64_t term, uint64_t view, uint32_t name_count, sk_bytes names,
                  uint32_t gossip_count, sk_bytes gossip)
{
    sk_pack_uint(buf, own);
    sk_pack_uint(buf, term);
    sk_pack_uint(buf, view);
    sk_pack_array(buf, name_count);
    sk_buf_bytes(buf, names);
    sk_pack_array(buf, GOSSIP_FIELDS * gossip_count);
    sk_buf_bytes(buf, gossip);
}

static void read_news(sk_reader *reader, const sk_origin_map *map, sk_news *news)
{
    news->own = sk_read_origin(reader, map);
    news->term = read_number(reader);
    news->view = sk_read_uint(reader);
    news->neighbours = begin_list(reader, 1);
    sk_elements look = news->neighbours;
    sk_bytes name;
    while (sk_name_next(&look, &name)) continue;
    end_list(reader, &look);
    news->gossip = begin_list(reader, GOSSIP_FIELDS);
    look = news->gossip;
    sk_gossip gossip;
    sk_vv acked = {0};
    while (sk_gossip_next(&look, map, &gossip, &acked)) continue;
    sk_vv_free(&acked);
    end_list(reader, &look);
}

void sk_message_pack_changes(sk_buf *buf, const sk_vv *vv, const sk_vv *told)
{
    uint32_t changed = 0;
    for (uint32_t o = 0; o < vv->count; o++) changed += vv->seq[o] != sk_vv_get(told, o);
    sk_pack_array(buf, 2 * changed);
    for (uint32_t o = 0; o < vv->count; o++) {
        if (vv->seq[o] == sk_vv_get(told, o)) continue;
        sk_pack_uint(buf, o);
        sk_pack_uint(buf, vv->seq[o]);
    }
}

/* -- hello, status ------------------------------------------------------------------------------------------------- */

uint64_t sk_hello_read_version(sk_reader *reader)
{
    return sk_read_uint(reader);
}

/* Their numbers to themselves, for those that the list announces. */
static sk_origin_map map_of_announced(sk_elements list)
{
    sk_origin_map map = {0};
    sk_announced origin;
    while (sk_announced_next(&list, &origin)) sk_origin_map_set(&map, origin.number, origin.number);
    return map;
}

int sk_hello_read(sk_reader *reader, const sk_origin_map *map, sk_bytes *region, sk_hello *hello)
{
    hello->vv = (sk_vv){0};
    *region = sk_read_bytes(reader);
    hello->origins = read_announced(reader);
    sk_origin_map own = {0};
    if (!map) {
        if (!reader->bad) own = map_of_announced(hello->origins);
        map = &own;
    }
    read_vv(reader, map, &hello->vv);
    read_news(reader, map, &hello->news);
    sk_origin_map_free(&own);
    return finish(reader);
}

int sk_origins_read(sk_reader *reader, sk_elements *origins)
{
    *origins = read_announced(reader);
    return finish(reader);
}

static void pack_sum(sk_buf *buf, sk_digest sum)
{
    sk_pack_uint(buf, (uint64_t)(sum >> 64));
    sk_pack_uint(buf, (uint64_t)sum);
}

static sk_digest read_sum(sk_reader *reader)
{
    sk_digest high = sk_read_uint(reader);
    return high << 64 | sk_read_uint(reader);
}

void sk_status_pack_flags(sk_buf *buf, bool heartbeat, bool has_pong, bool has_digest)
{
    sk_pack_uint(buf, (heartbeat ? HEARTBEAT : 0U) | (has_pong ? PONG : 0U) | (has_digest ? DIGEST : 0U));
}

void sk_status_pack_rest(sk_buf *buf, const sk_status *status)
{
    sk_pack_uint(buf, status->ping_ms);
    sk_pack_uint(buf, status->wall_ms);
    if (status->has_pong) {
        sk_pack_uint(buf, status->pong_ms);
        sk_pack_uint(buf, status->pong_held_ms);
    }
    if (status->has_digest) pack_sum(buf, status->digest);
}

int sk_status_read(sk_reader *reader, const sk_origin_map *map, sk_status *status)
{
    *status = (sk_status){0};
    uint64_t flags = sk_read_uint(reader);
    if (flags >= STATUS_FLAGS_END) reader->bad = true;
    status->heartbeat = flags & HEARTBEAT;
    status->has_pong = flags & PONG;
    status->has_digest = flags & DIGEST;
    if ((status->has_pong || status->has_digest) && !status->heartbeat) reader->bad = true;
    read_vv(reader, map, &status->vv);
    if (status->heartbeat) {
        read_news(reader, map, &status->news);
        status->ping_ms = read_number(reader);
        status->wall_ms = read_number(reader);
    }
    if (status->has_pong) {
        status->pong_ms = read_number(reader);
        status->pong_held_ms = read_number(reader);
    }
    if (status->has_digest) status->digest = read_sum(reader);
    return finish(reader);
}

/* -- batches ------------------------------------------------------------------------------------------------------- */

void sk_batch_pack(sk_buf *buf, const sk_batch *batch)
{
    sk_pack_uint(buf, batch->continues ? CONTINUES : 0);
    sk_pack_uint(buf, batch->origin);
    if (!batch->continues) sk_pack_uint(buf, batch->first);
    sk_pack_uint(buf, batch->count);
}

void sk_batch_txn_pack(sk_buf *buf, sk_hlc before, sk_hlc hlc, uint32_t op_count, sk_bytes raise, sk_bytes ops)
{
    bool counter_zero = (hlc & ((1 << HLC_COUNTER_BITS) - 1)) == 0;
    sk_pack_uint(buf,
                 (uint64_t)op_count << HEAD_SHIFT | (raise.len ? RAISES : 0U) | (counter_zero ? COUNTER_ZERO : 0U));
    if (counter_zero)
        sk_pack_int(buf, (int64_t)(hlc >> HLC_COUNTER_BITS) - (int64_t)(before >> HLC_COUNTER_BITS));
    else
        sk_pack_int(buf, (int64_t)(hlc - before));
    sk_buf_bytes(buf, raise);
    sk_pack_bytes(buf, ops);
}

int sk_batch_read(sk_reader *reader, const sk_origin_map *map, sk_batch *batch)
{
    uint64_t flags = sk_read_uint(reader);
    if (flags >= BATCH_FLAGS_END) reader->bad = true;
    batch->continues = flags & CONTINUES;
    batch->origin = sk_read_origin(reader, map);
    batch->first = batch->continues ? 0 : read_number(reader);
    if (!batch->continues && batch->first == 0) reader->bad = true;
    uint64_t count = sk_read_uint(reader);
    if (count == 0 || count > sk_reader_left(reader) / TXN_BYTES_MIN) reader->bad = true;
    batch->count = (uint32_t)count;
    return reader->bad ? SK_E_MALFORMED : 0;
}

bool sk_raise_next(sk_elements *list, const sk_origin_map *map, sk_dot *raise)
{
    if (list->count == 0 || list->reader.bad) return false;
    list->count--;
    raise->origin = sk_read_origin(&list->reader, map);
    raise->seq = read_number(&list->reader);
    if (raise->seq == 0) list->reader.bad = true;
    return !list->reader.bad;
}

int sk_batch_txn_read(sk_reader *reader, const sk_origin_map *map, uint32_t origin, sk_hlc before, sk_batch_txn *txn)
{
    uint64_t head = sk_read_uint(reader);
    int64_t time = sk_read_int(reader);
    if (head & COUNTER_ZERO)
        txn->hlc = ((before >> HLC_COUNTER_BITS) + (uint64_t)time) << HLC_COUNTER_BITS;
    else
        txn->hlc = before + (uint64_t)time;
    txn->raise = (sk_elements){0};
    if (head & RAISES) {
        txn->raise = begin_list(reader, 2);
        sk_elements look = txn->raise;
        sk_dot raise;
        while (sk_raise_next(&look, map, &raise))
            if (raise.origin == origin) look.reader.bad = true;
        end_list(reader, &look);
    }
    txn->ops = sk_read_bytes(reader);
    if (head >> HEAD_SHIFT > txn->ops.len) reader->bad = true;
    txn->op_count = (uint32_t)(head >> HEAD_SHIFT);
    return reader->bad ? SK_E_MALFORMED : 0;
}

/* -- the others ---------------------------------------------------------------------------------------------------- */

int sk_vector_read(sk_reader *reader, const sk_origin_map *map, sk_vv *vv)
{
    read_vv(reader, map, vv);
    return finish(reader);
}

void sk_request_pack(sk_buf *buf, const sk_request *request)
{
    sk_pack_uint(buf, request->number);
    sk_vv_pack(buf, &request->known);
    sk_pack_uint(buf, request->purpose);
    sk_pack_bool(buf, request->resumable);
    if (!request->resumable) return;
    sk_vv_pack(buf, &request->vv);
    sk_pack_bool(buf, request->reconcile);
    sk_pack_bytes(buf, request->cursor);
}

int sk_request_read(sk_reader *reader, const sk_origin_map *map, sk_request *request)
{
    *request = (sk_request){.number = read_number(reader)};
    read_vv(reader, map, &request->known);
    uint64_t purpose = sk_read_uint(reader);
    if (purpose > SK_FOR_AUDIT) reader->bad = true;
    request->purpose = (sk_purpose)purpose;
    request->resumable = sk_read_bool(reader);
    if (request->resumable && !reader->bad) {
        read_vv(reader, map, &request->vv);
        request->reconcile = sk_read_bool(reader);
        request->cursor = sk_read_bytes(reader);
    }
    return finish(reader);
}

void sk_begin_pack(sk_buf *buf, const sk_begin *begin)
{
    sk_pack_uint(buf, begin->number);
    sk_vv_pack(buf, &begin->vv);
    sk_vv_pack(buf, &begin->floor);
    sk_pack_bool(buf, begin->reconcile);
    sk_pack_bool(buf, begin->resumed);
}

int sk_begin_read(sk_reader *reader, const sk_origin_map *map, sk_begin *begin)
{
    *begin = (sk_begin){.number = read_number(reader)};
    read_vv(reader, map, &begin->vv);
    read_vv(reader, map, &begin->floor);
    begin->reconcile = sk_read_bool(reader);
    begin->resumed = sk_read_bool(reader);
    return finish(reader);
}

void sk_chunk_pack(sk_buf *buf, uint64_t number, const sk_transfer_counts *counts, sk_bytes rows)
{
    sk_message_begin(buf, SK_MESSAGE_CHUNK);
    sk_pack_uint(buf, number);
    sk_pack_uint(buf, counts->rows);
    sk_pack_uint(buf, counts->done);
    sk_pack_uint(buf, counts->sent);
    sk_pack_bytes(buf, rows);
}

int sk_chunk_read(sk_reader *reader, uint64_t *number, sk_transfer_counts *counts, sk_bytes *rows)
{
    *number = read_number(reader);
    counts->rows = sk_read_uint(reader);
    counts->done = sk_read_uint(reader);
    counts->sent = sk_read_uint(reader);
    *rows = sk_read_bytes(reader);
    return finish(reader);
}

void sk_piece_pack(sk_buf *buf, uint64_t number, sk_bytes rows)
{
    sk_message_begin(buf, SK_MESSAGE_PIECE);
    sk_pack_uint(buf, number);
    sk_pack_bytes(buf, rows);
}

int sk_piece_read(sk_reader *reader, uint64_t *number, sk_bytes *rows)
{
    *number = read_number(reader);
    *rows = sk_read_bytes(reader);
    return finish(reader);
}

int sk_chunk_ack_read(sk_reader *reader, uint64_t *number, uint64_t *chunks)
{
    *number = read_number(reader);
    *chunks = read_number(reader);
    return finish(reader);
}

int sk_end_read(sk_reader *reader, uint64_t *number)
{
    *number = read_number(reader);
    return finish(reader);
}

int sk_cancel_read(sk_reader *reader, uint64_t *number, bool *by_source, int *code)
{
    *number = read_number(reader);
    *by_source = sk_read_bool(reader);
    *code = read_code(reader);
    return finish(reader);
}

int sk_goodbye_read(sk_reader *reader, int *code)
{
    *code = read_code(reader);
    return finish(reader);
}

int sk_enough_read(sk_reader *reader, const sk_origin_map *map, uint32_t *origin)
{
    *origin = sk_read_origin(reader, map);
    return finish(reader);
}

/* -- comparing ----------------------------------------------------------------------------------------------------- */

void sk_compare_pack(sk_buf *buf, uint64_t number, uint64_t rows, sk_digest sum)
{
    sk_message_begin(buf, SK_MESSAGE_COMPARE);
    sk_pack_uint(buf, number);
    sk_pack_uint(buf, rows);
    pack_sum(buf, sum);
}

int sk_compare_read(sk_reader *reader, uint64_t *number, uint64_t *rows, sk_digest *sum)
{
    *number = read_number(reader);
    *rows = read_number(reader);
    *sum = read_sum(reader);
    return finish(reader);
}

void sk_ask_pack(sk_buf *buf, uint64_t number, sk_bytes from, sk_bytes to)
{
    sk_message_begin(buf, SK_MESSAGE_ASK);
    sk_pack_uint(buf, number);
    sk_pack_bytes(buf, from);
    sk_pack_bytes(buf, to);
}

int sk_ask_read(sk_reader *reader, uint64_t *number, sk_bytes *from, sk_bytes *to)
{
    *number = read_number(reader);
    *from = sk_read_bytes(reader);
    *to = sk_read_bytes(reader);
    return finish(reader);
}

void sk_message_begin_list(sk_buf *buf, sk_message_type type, uint64_t number, uint32_t count)
{
    static const uint32_t widths[] = {[SK_MESSAGE_PARTS] = 4, [SK_MESSAGE_ROWS] = 3, [SK_MESSAGE_WANT] = 1};
    sk_message_begin(buf, type);
    sk_pack_uint(buf, number);
    sk_pack_array(buf, widths[type] * count);
}

void sk_part_pack(sk_buf *buf, const sk_part *part)
{
    sk_pack_bytes(buf, part->from);
    sk_pack_uint(buf, part->rows);
    pack_sum(buf, part->sum);
}

void sk_listed_pack(sk_buf *buf, const sk_listed *row)
{
    sk_pack_bytes(buf, row->key);
    sk_pack_uint(buf, row->digest);
    sk_pack_bool(buf, row->news);
}

bool sk_part_next(sk_elements *list, sk_part *part)
{
    if (list->count == 0 || list->reader.bad) return false;
    list->count--;
    part->from = sk_read_bytes(&list->reader);
    part->rows = read_number(&list->reader);
    part->sum = read_sum(&list->reader);
    return !list->reader.bad;
}

bool sk_listed_next(sk_elements *list, sk_listed *row)
{
    if (list->count == 0 || list->reader.bad) return false;
    list->count--;
    row->key = sk_read_bytes(&list->reader);
    row->digest = sk_read_uint(&list->reader);
    row->news = sk_read_bool(&list->reader);
    return !list->reader.bad;
}

bool sk_wanted_next(sk_elements *list, sk_bytes *key)
{
    if (list->count == 0 || list->reader.bad) return false;
    list->count--;
    *key = sk_read_bytes(&list->reader);
    return !list->reader.bad;
}

int sk_parts_read(sk_reader *reader, uint64_t *number, sk_elements *parts)
{
    *number = read_number(reader);
    *parts = begin_list(reader, 4);
    if (parts->count > SK_PARTS_MAX) return SK_E_PROTOCOL;
    sk_elements look = *parts;
    sk_part part;
    while (sk_part_next(&look, &part)) {}
    end_list(reader, &look);
    return finish(reader);
}

int sk_rows_read(sk_reader *reader, uint64_t *number, sk_elements *rows)
{
    *number = read_number(reader);
    *rows = begin_list(reader, 3);
    if (rows->count > SK_LISTED_MAX) return SK_E_PROTOCOL;
    sk_elements look = *rows;
    sk_listed row;
    while (sk_listed_next(&look, &row)) {}
    end_list(reader, &look);
    return finish(reader);
}

int sk_want_read(sk_reader *reader, uint64_t *number, sk_elements *keys)
{
    *number = read_number(reader);
    *keys = begin_list(reader, 1);
    if (keys->count > SK_LISTED_MAX) return SK_E_PROTOCOL;
    sk_elements look = *keys;
    sk_bytes key;
    while (sk_wanted_next(&look, &key)) {}
    end_list(reader, &look);
    return finish(reader);
}
