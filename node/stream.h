/* The whole state of a database as a stream of bytes, for export and import: MessagePack values one after the other.
 *
 *   "skerry export", 1 (the format)
 *   frames, each three values: its kind (uint), its body (bin), and the body's sum (uint)
 *
 *     0 head   made at (wall ms), cluster, region, count of origins, of each: region and incarnation
 *              vector and floor, each: count of pairs, of each: number of an origin (its place in the list), seq
 *     1 rows   records as a transfer's chunks have them (node/fold.h), in the order of their raw row keys
 *     2 end    rows, history records, digest (two numbers: high and low 64 bits)
 *
 * Rows and vectors name origins by their place in the head's list. A sum is XXH3-64 of the body, seeded with the sum of
 * the frame before (of the first: 0) plus the kind: frames that are missing, repeated, exchanged or damaged are seen at
 * once, and a stream without its end is none.
 *
 * Lengths are written in one form each (bin 32, uint 64), so that a reader always knows how much it still needs. */
#ifndef SK_NODE_STREAM_H
#define SK_NODE_STREAM_H

#include "crdt/row.h"
#include "crdt/vv.h"

enum {
    SK_STREAM_FORMAT = 1,
    SK_STREAM_ROWS = 64 << 10,    /* bytes of a frame of rows, about; one row may be more */
    SK_STREAM_BODY_MAX = 1 << 30, /* of any frame: a row of many large siblings. An export of a larger one fails */
    SK_STREAM_HEAD_MAX = 1 << 20, /* of a head: SK_ORIGINS_MAX origins take a third of it */
    SK_STREAM_END_MAX = 64,
};

typedef enum { SK_STREAM_HEAD, SK_STREAM_CHUNK, SK_STREAM_END } sk_stream_kind;

/* -- frames -------------------------------------------------------------------------------------------------------- */

/** Begins a stream; `sum` is carried from one call to the next. */
void sk_stream_begin(sk_buf *out, uint64_t *sum);
void sk_stream_frame(sk_buf *out, uint64_t *sum, sk_stream_kind kind, sk_bytes body);

typedef struct {
    sk_buf held; /* the last piece, behind what the one before it left of a frame */
    size_t used; /* of it: the frames that were read, which the next piece drops, all at once */
    uint64_t sum;
    bool begun, ended;
} sk_stream_reader;

/** Takes the next piece, of any length. */
void sk_stream_feed(sk_stream_reader *reader, sk_bytes piece);
/** 1 and a frame (borrowed until the next piece), 0: more is needed, or all was read; SK_E_MALFORMED for bytes that are
 * no stream, SK_E_FORMAT for another format, SK_E_CORRUPT for a wrong sum, SK_E_TOO_LARGE for a frame that claims more
 * than one of its kind can have. Nothing may follow the end. */
int sk_stream_next(sk_stream_reader *reader, sk_stream_kind *kind, sk_bytes *body);
void sk_stream_reader_free(sk_stream_reader *reader);

/* -- bodies -------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t made_ms;
    sk_bytes cluster, region; /* borrowed */
    sk_origins origins;       /* owned */
    sk_vv vv, floor;          /* owned */
} sk_stream_head;

void sk_stream_head_pack(sk_buf *out, const sk_stream_head *head);
/** 0 or SK_E_MALFORMED; free it in any case. */
int sk_stream_head_read(sk_bytes body, sk_stream_head *head);
void sk_stream_head_free(sk_stream_head *head);

typedef struct {
    uint64_t rows, history;
    sk_digest digest;
} sk_stream_end;

void sk_stream_end_pack(sk_buf *out, const sk_stream_end *end);
/** 0 or SK_E_MALFORMED. */
int sk_stream_end_read(sk_bytes body, sk_stream_end *end);

#endif
