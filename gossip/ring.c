#include "gossip/ring.h"

#include "gossip/engine.h"

#include <stdlib.h>

enum {
    CHECKPOINT_EVERY = 64,
    SEGMENT_BYTES_MIN = 4 * 1024,
    SEGMENT_BYTES_MAX = 1024 * 1024,
    WIRE_FRAMING = 6, /* about what a transaction takes on the wire beside its raise and its operations */
    STABLE_PART = 16, /* of the ring is kept though everybody has it: by default 4 MiB, which the processor's caches hold */
    SPARE_MAX = 4,
};

#define DEAD UINT32_MAX /* a record's origin once no lane has it any more */

struct sk_ring_segment {
    sk_ring_segment *newer; /* owned */
    size_t cap, len;
    size_t head; /* where the oldest record that was not evicted begins */
    uint32_t live;
    uint8_t data[];
};

/* What stands before each record in its segment. */
typedef struct {
    uint32_t origin; /* or DEAD */
    uint32_t len;    /* of the record, without this */
} record_header;

struct sk_ring_entry {
    sk_hlc hlc;
    uint64_t end_bytes; /* of the lane, this one included */
    sk_ring_segment *segment;
    size_t offset; /* of the header; then raise, operations, checkpoint */
    uint32_t raise_len, ops_len, checkpoint_len, op_count;
    bool fresh;
};

void sk_ring_init(sk_ring *ring, size_t bytes_max, uint32_t txns_max)
{
    *ring = (sk_ring){.bytes_max = bytes_max, .txns_max = txns_max};
    ring->segment_bytes = bytes_max / 16;
    if (ring->segment_bytes < SEGMENT_BYTES_MIN) ring->segment_bytes = SEGMENT_BYTES_MIN;
    if (ring->segment_bytes > SEGMENT_BYTES_MAX) ring->segment_bytes = SEGMENT_BYTES_MAX;
}

void sk_ring_free(sk_ring *ring)
{
    while (ring->oldest) {
        sk_ring_segment *newer = ring->oldest->newer;
        free(ring->oldest);
        ring->oldest = newer;
    }
    while (ring->spare) {
        sk_ring_segment *next = ring->spare->newer;
        free(ring->spare);
        ring->spare = next;
    }
    for (uint32_t o = 0; o < ring->lane_count; o++) {
        free(ring->lanes[o].entries);
        sk_vv_free(&ring->lanes[o].base);
        sk_vv_free(&ring->lanes[o].last);
    }
    free(ring->lanes);
    sk_buf_free(&ring->scratch);
    *ring = (sk_ring){0};
}

static sk_ring_lane *lane_of(sk_ring *ring, uint32_t origin)
{
    sk_assert(origin < SK_ORIGINS_MAX);
    if (origin >= ring->lane_count) {
        ring->lanes = sk_realloc(ring->lanes, (origin + 1) * sizeof *ring->lanes);
        memset(ring->lanes + ring->lane_count, 0, (origin + 1 - ring->lane_count) * sizeof *ring->lanes);
        ring->lane_count = origin + 1;
    }
    return &ring->lanes[origin];
}

static uint8_t *record_of(const sk_ring_entry *entry)
{
    return entry->segment->data + entry->offset + sizeof(record_header);
}

static size_t record_len(const sk_ring_entry *entry)
{
    return (size_t)entry->raise_len + entry->ops_len + entry->checkpoint_len;
}

/* What an entry counts for in ring->bytes. */
static size_t cost_of(size_t record)
{
    return record + sizeof(record_header) + sizeof(sk_ring_entry);
}

/* -- raises -------------------------------------------------------------------------------------------------------- */

/* Appends what `seen` has above `over`; nothing at all if it has nothing. False if it is not above it everywhere. */
static bool pack_raise(sk_buf *buf, const sk_vv *seen, const sk_vv *over, uint32_t own)
{
    uint32_t raised = 0;
    uint32_t count = seen->count > over->count ? seen->count : over->count;
    for (uint32_t o = 0; o < count; o++) {
        if (o == own) continue;
        if (sk_vv_get(seen, o) < sk_vv_get(over, o)) return false;
        raised += sk_vv_get(seen, o) > sk_vv_get(over, o);
    }
    if (raised == 0) return true;
    sk_pack_array(buf, 2 * raised);
    for (uint32_t o = 0; o < seen->count; o++) {
        if (o == own || seen->seq[o] == sk_vv_get(over, o)) continue;
        sk_pack_uint(buf, o);
        sk_pack_uint(buf, seen->seq[o] - sk_vv_get(over, o));
    }
    return true;
}

static void apply_raise(sk_vv *seen, sk_bytes raise)
{
    if (raise.len == 0) return;
    sk_reader reader = sk_reader_of(raise);
    for (uint32_t left = sk_read_array(&reader) / 2; left > 0; left--) {
        uint32_t origin = (uint32_t)sk_read_uint(&reader);
        sk_vv_set(seen, origin, sk_vv_get(seen, origin) + sk_read_uint(&reader));
    }
    sk_assert(sk_reader_done(&reader));
}

/* -- leaving ------------------------------------------------------------------------------------------------------- */

/* The record is no longer in its lane. */
static void forget_record(sk_ring *ring, const sk_ring_entry *entry)
{
    record_header *header = (record_header *)(void *)(entry->segment->data + entry->offset);
    header->origin = DEAD;
    entry->segment->live--;
    ring->bytes -= cost_of(record_len(entry));
    ring->txns--;
}

/* Drops segments without records from the old end. */
static void trim_segments(sk_ring *ring)
{
    while (ring->oldest && ring->oldest->live == 0) {
        sk_ring_segment *empty = ring->oldest;
        ring->oldest = empty->newer;
        if (!ring->oldest) ring->newest = NULL;
        if (ring->spare_count == SPARE_MAX || empty->cap != ring->segment_bytes) {
            free(empty);
            continue;
        }
        empty->newer = ring->spare;
        ring->spare = empty;
        ring->spare_count++;
    }
}

static void drop_first(sk_ring *ring, uint32_t origin)
{
    sk_ring_lane *lane = &ring->lanes[origin];
    sk_ring_entry *entry = &lane->entries[lane->head];
    apply_raise(&lane->base, sk_bytes_of(record_of(entry), entry->raise_len));
    forget_record(ring, entry);
    lane->head++;
    lane->count--;
    lane->first++;
}

/* Of the oldest record; there must be one. */
static uint32_t oldest_origin(sk_ring *ring)
{
    trim_segments(ring);
    sk_ring_segment *segment = ring->oldest;
    sk_assert(segment != NULL);
    for (;;) {
        const record_header *header = (const record_header *)(const void *)(segment->data + segment->head);
        if (header->origin != DEAD) return header->origin;
        segment->head += sizeof *header + (header->len + 7) / 8 * 8;
    }
}

static void evict_oldest(sk_ring *ring)
{
    drop_first(ring, oldest_origin(ring));
    trim_segments(ring);
}

void sk_ring_let_go(sk_ring *ring, const sk_vv *stable)
{
    while (ring->txns && ring->bytes > ring->bytes_max / STABLE_PART) {
        uint32_t origin = oldest_origin(ring);
        if (ring->lanes[origin].first > sk_vv_get(stable, origin)) break;
        evict_oldest(ring);
    }
}

void sk_ring_drop_above(sk_ring *ring, uint32_t origin, uint64_t seq)
{
    if (sk_ring_end(ring, origin) <= seq) return;
    sk_ring_lane *lane = &ring->lanes[origin];
    while (lane->count && lane->first + lane->count - 1 > seq) {
        forget_record(ring, &lane->entries[lane->head + lane->count - 1]);
        lane->count--;
    }
    if (lane->count)
        sk_ring_seen(ring, origin, lane->first + lane->count - 1, &lane->last);
    else
        lane->head = 0;
    trim_segments(ring);
}

/* -- entering ------------------------------------------------------------------------------------------------------ */

static void start_lane(sk_ring *ring, uint32_t origin, uint64_t seq)
{
    sk_ring_drop_above(ring, origin, 0);
    sk_ring_lane *lane = &ring->lanes[origin];
    lane->head = 0;
    lane->first = seq;
    sk_vv_clear(&lane->base);
    sk_vv_clear(&lane->last);
}

static sk_ring_entry *add_entry(sk_ring_lane *lane)
{
    if (lane->head + lane->count == lane->cap && lane->head > lane->cap / 2) {
        memmove(lane->entries, lane->entries + lane->head, lane->count * sizeof *lane->entries);
        lane->head = 0;
    }
    if (lane->head + lane->count == lane->cap) {
        lane->cap = lane->cap ? lane->cap * 2 : 64;
        lane->entries = sk_realloc(lane->entries, lane->cap * sizeof *lane->entries);
    }
    return &lane->entries[lane->head + lane->count++];
}

static sk_ring_segment *segment_with(sk_ring *ring, size_t room)
{
    sk_ring_segment *segment = ring->newest;
    if (segment && segment->cap - segment->len >= room) return segment;
    size_t cap = room > ring->segment_bytes ? room : ring->segment_bytes;
    if (ring->spare && cap == ring->segment_bytes) {
        segment = ring->spare;
        ring->spare = segment->newer;
        ring->spare_count--;
    } else {
        segment = sk_realloc(NULL, sizeof *segment + cap);
    }
    *segment = (sk_ring_segment){.cap = cap};
    if (ring->newest)
        ring->newest->newer = segment;
    else
        ring->oldest = segment;
    ring->newest = segment;
    return segment;
}

/* Raise and checkpoint into ring->scratch, in this order. */
static void encode_seen(sk_ring *ring, const sk_txn *txn, size_t *raise_len, size_t *checkpoint_len)
{
    static const sk_vv nothing;
    uint32_t own = txn->dot.origin;
    sk_ring_lane *lane = &ring->lanes[own];
    sk_buf_reset(&ring->scratch);
    if (!pack_raise(&ring->scratch, &txn->seen, &lane->last, own)) {
        start_lane(ring, own, txn->dot.seq);
        pack_raise(&ring->scratch, &txn->seen, &lane->last, own);
    }
    *raise_len = ring->scratch.len;
    if (txn->dot.seq % CHECKPOINT_EVERY == 0) pack_raise(&ring->scratch, &txn->seen, &nothing, own);
    *checkpoint_len = ring->scratch.len - *raise_len;
}

void sk_ring_append(sk_ring *ring, const sk_txn *txn)
{
    uint32_t origin = txn->dot.origin;
    sk_ring_lane *lane = lane_of(ring, origin);
    if (lane->count == 0 || txn->dot.seq != lane->first + lane->count) start_lane(ring, origin, txn->dot.seq);
    size_t raise_len, checkpoint_len;
    encode_seen(ring, txn, &raise_len, &checkpoint_len);
    bool fresh = lane->count == 0;
    size_t len = raise_len + txn->ops.len + checkpoint_len;
    /* One that no message could carry is left to catch-up, which sends rows and not transactions. */
    if (txn->ops.len > SK_TRANSACTION_MAX || cost_of(len) > ring->bytes_max) return;
    while (ring->bytes + cost_of(len) > ring->bytes_max || (ring->txns_max && ring->txns >= ring->txns_max))
        evict_oldest(ring);
    if (lane->count == 0) lane->first = txn->dot.seq;

    size_t padded = (len + 7) / 8 * 8; /* so that headers are aligned */
    sk_ring_segment *segment = segment_with(ring, sizeof(record_header) + padded);
    record_header header = {origin, (uint32_t)len};
    uint8_t *to = segment->data + segment->len;
    memcpy(to, &header, sizeof header);
    to += sizeof header;
    if (raise_len) memcpy(to, ring->scratch.data, raise_len);
    if (txn->ops.len) memcpy(to + raise_len, txn->ops.data, txn->ops.len);
    if (checkpoint_len) memcpy(to + raise_len + txn->ops.len, ring->scratch.data + raise_len, checkpoint_len);

    lane->end_bytes += raise_len + txn->ops.len + WIRE_FRAMING;
    *add_entry(lane) = (sk_ring_entry){.hlc = txn->hlc,
                                       .end_bytes = lane->end_bytes,
                                       .segment = segment,
                                       .offset = segment->len,
                                       .raise_len = (uint32_t)raise_len,
                                       .ops_len = (uint32_t)txn->ops.len,
                                       .checkpoint_len = (uint32_t)checkpoint_len,
                                       .op_count = txn->op_count,
                                       .fresh = fresh};
    segment->len += sizeof header + padded;
    segment->live++;
    ring->bytes += cost_of(len);
    ring->txns++;
    if (raise_len) apply_raise(&lane->last, sk_bytes_of(ring->scratch.data, raise_len));
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

uint64_t sk_ring_end(const sk_ring *ring, uint32_t origin)
{
    if (origin >= ring->lane_count || ring->lanes[origin].count == 0) return 0;
    return ring->lanes[origin].first + ring->lanes[origin].count - 1;
}

bool sk_ring_has(const sk_ring *ring, uint32_t origin, uint64_t seq)
{
    return seq <= sk_ring_end(ring, origin) && seq > 0 && seq >= ring->lanes[origin].first;
}

static const sk_ring_entry *entry_of(const sk_ring *ring, uint32_t origin, uint64_t seq)
{
    sk_assert(sk_ring_has(ring, origin, seq));
    const sk_ring_lane *lane = &ring->lanes[origin];
    return &lane->entries[lane->head + (seq - lane->first)];
}

static uint64_t wire_start(const sk_ring_entry *entry)
{
    return entry->end_bytes - entry->raise_len - entry->ops_len - WIRE_FRAMING;
}

uint64_t sk_ring_wire_bytes(const sk_ring *ring, uint32_t origin, uint64_t from, uint64_t to)
{
    return entry_of(ring, origin, to)->end_bytes - wire_start(entry_of(ring, origin, from));
}

uint64_t sk_ring_fit(const sk_ring *ring, uint32_t origin, uint64_t from, uint64_t to, uint64_t bytes)
{
    uint64_t limit = wire_start(entry_of(ring, origin, from)) + bytes;
    uint64_t low = from, high = to;
    while (low < high) {
        uint64_t middle = high - (high - low) / 2;
        if (entry_of(ring, origin, middle)->end_bytes <= limit)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

sk_ring_txn sk_ring_get(const sk_ring *ring, uint32_t origin, uint64_t seq)
{
    const sk_ring_entry *entry = entry_of(ring, origin, seq);
    const uint8_t *record = record_of(entry);
    return (sk_ring_txn){.hlc = entry->hlc,
                         .op_count = entry->op_count,
                         .fresh = entry->fresh,
                         .raise = sk_bytes_of(record, entry->raise_len),
                         .ops = sk_bytes_of(record + entry->raise_len, entry->ops_len)};
}

void sk_ring_seen(const sk_ring *ring, uint32_t origin, uint64_t seq, sk_vv *seen)
{
    const sk_ring_lane *lane = &ring->lanes[origin];
    uint64_t from = seq;
    while (from > lane->first && entry_of(ring, origin, from)->checkpoint_len == 0) from--;
    const sk_ring_entry *start = entry_of(ring, origin, from);
    if (start->checkpoint_len) {
        sk_vv_clear(seen);
        apply_raise(seen, sk_bytes_of(record_of(start) + start->raise_len + start->ops_len, start->checkpoint_len));
        from++;
    } else {
        sk_vv_copy(seen, &lane->base);
    }
    for (; from <= seq; from++) apply_raise(seen, sk_ring_get(ring, origin, from).raise);
}

void sk_ring_check(const sk_ring *ring)
{
    size_t bytes = 0;
    uint64_t txns = 0, live = 0;
    for (uint32_t o = 0; o < ring->lane_count; o++) {
        const sk_ring_lane *lane = &ring->lanes[o];
        sk_assert(lane->head + lane->count <= lane->cap);
        txns += lane->count;
        for (uint32_t i = lane->head; i < lane->head + lane->count; i++) {
            const sk_ring_entry *entry = &lane->entries[i];
            record_header header;
            memcpy(&header, entry->segment->data + entry->offset, sizeof header);
            sk_assert(header.origin == o);
            sk_assert(header.len == record_len(entry));
            sk_assert(entry->offset >= entry->segment->head);
            sk_assert(i == lane->head || !entry->fresh);
            bytes += cost_of(record_len(entry));
        }
    }
    for (const sk_ring_segment *segment = ring->oldest; segment; segment = segment->newer) {
        sk_assert(segment->len <= segment->cap);
        sk_assert(segment->newer != NULL || segment == ring->newest);
        live += segment->live;
    }
    uint32_t spare = 0;
    for (const sk_ring_segment *segment = ring->spare; segment; segment = segment->newer) spare++;
    sk_assert(spare == ring->spare_count && spare <= SPARE_MAX);
    sk_assert(bytes == ring->bytes);
    sk_assert(bytes <= ring->bytes_max);
    sk_assert(txns == ring->txns);
    sk_assert(live == ring->txns);
    sk_assert(ring->txns_max == 0 || ring->txns <= ring->txns_max);
}
