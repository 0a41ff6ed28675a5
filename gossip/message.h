/* The messages that two nodes exchange, as bytes.
 *
 * A message is a sequence of msgpack values; the first is its type. Origins go by the sender's own numbers, which it
 * announces (HELLO, ORIGINS) before it uses them; the receiver keeps an sk_origin_map per link and reads through it.
 *
 *   HELLO      version, region, origins [number, region, incarnation …], vv, news       first, once, both ways
 *   ORIGINS    [number, region, incarnation …]
 *   BATCH      flags, origin, first seq (unless it continues), count, transactions      live transactions, one origin's
 *   STATUS     flags, vv (what changed), and in a heartbeat: news, ping, [digest]       what is durable here
 *   RESEND     vv                                                    send again what is above it: something was dropped
 *   OFFER      vv                                                    you lack what only a transfer can bring
 *   REQUEST    number, vv, purpose, resumable?, [vv, reconcile, cursor]   start it
 *   BEGIN      number, vv, floor, reconcile, resumed
 *   CHUNK      number, how many rows the sender has, has gone through, has sent; rows
 *   PIECE      number, how the rows of the next CHUNK begin             of one that no message could hold
 *   CHUNK_ACK  number, how many so far
 *   COMPARE    number, rows, sum                                     of all of it; what follows is asked for
 *   ASK        number, from, to                                      what is in this range?
 *   PARTS      number, [from, rows, sum …]                           it in parts; the first one's `from` is left empty
 *   ROWS       number, [key, digest, new? …]                         its rows
 *   WANT       number, [key …]                                       send these rows
 *   DONE       number                                                nothing more is asked
 *   END        number
 *   CANCEL     number, by the source?, code
 *   GOODBYE    code                                                  nothing follows
 *   ENOUGH     origin                                                I get it from others, too: you need not relay it
 *
 * A vector is [origin, seq …], zeros left out. News is what a node tells of itself and of others:
 *   own origin, term, view, [regions that it has links with …], [region, term, current origin + 1 or 0, view, vv …]
 * (the last: what other members have acknowledged, as far as it knows; gossip/status.c says what a term is,
 * gossip/stability.c what a view is).
 *
 * A transaction in a batch: a head (operations << 2 | 2 if it raises `seen` | 1 if the time's counter is zero), the
 * time, what it raises [origin, increase …], the operations as one bin. Times and `seen` are relative to the
 * transaction before, also across batches where one continues the other. The own origin's part of `seen` is seq - 1
 * and is not sent.
 *
 * Readers are bounded by the bytes there are, allocate nothing but a vector's slots, and leave what they fill in
 * undefined on error. Each answers 0 or SK_E_MALFORMED, also for bytes that follow the message's end. */
#ifndef SK_GOSSIP_MESSAGE_H
#define SK_GOSSIP_MESSAGE_H

#include "crdt/op.h"
#include "crdt/row.h"

typedef enum {
    SK_MESSAGE_HELLO = 1,
    SK_MESSAGE_ORIGINS,
    SK_MESSAGE_BATCH,
    SK_MESSAGE_STATUS,
    SK_MESSAGE_RESEND,
    SK_MESSAGE_OFFER,
    SK_MESSAGE_REQUEST,
    SK_MESSAGE_BEGIN,
    SK_MESSAGE_CHUNK,
    SK_MESSAGE_CHUNK_ACK,
    SK_MESSAGE_END,
    SK_MESSAGE_CANCEL,
    SK_MESSAGE_GOODBYE,
    SK_MESSAGE_ENOUGH,
    SK_MESSAGE_COMPARE,
    SK_MESSAGE_ASK,
    SK_MESSAGE_PARTS,
    SK_MESSAGE_ROWS,
    SK_MESSAGE_WANT,
    SK_MESSAGE_DONE,
    SK_MESSAGE_PIECE,
} sk_message_type;

/* All in bytes. */
enum {
    SK_TRANSACTION_MAX = 64 * 1024 * 1024,
    /* One of those that hold a row, a key or a transaction: the largest of these, with what goes around it (its `seen`). */
    SK_MESSAGE_LARGEST = SK_TRANSACTION_MAX + 2 * 1024 * 1024,
    SK_MESSAGE_MAX = 1024 * 1024, /* any other, and one of several transactions */
    SK_PIECE_MAX = SK_MESSAGE_MAX / 2,
    SK_CHUNK_MAX = 1024 * 1024 * 1024, /* rows of a CHUNK with all its pieces: a row with its siblings may be as large */
};

/** How long a message of this type may be. */
size_t sk_message_max(int type);

#define SK_SEQ_MAX ((uint64_t)1 << 62) /* seqs, terms and times above this are not believed */

/** Empties `buf` and begins a message in it. */
void sk_message_begin(sk_buf *buf, sk_message_type type);
/** The type, or SK_E_MALFORMED; SK_E_PROTOCOL for a type that there is not. The reader then stands behind it. */
int sk_message_type_read(sk_reader *reader);

/* -- lists in messages --------------------------------------------------------------------------------------------- */

/* A list that was looked through and found good; its elements are read one by one. */
typedef struct {
    sk_reader reader; /* over the message */
    uint32_t count;   /* elements left */
} sk_elements;

typedef struct {
    uint32_t number;
    sk_bytes region;
    uint64_t incarnation;
} sk_announced;

/** Announces origins `from` and on. */
void sk_message_pack_origins(sk_buf *buf, const sk_origins *origins, uint32_t from);
/** False at the end of the list. */
bool sk_announced_next(sk_elements *list, sk_announced *origin);
/** The names in news. False at the end. */
bool sk_name_next(sk_elements *list, sk_bytes *name);

/* What a node says of another member. */
typedef struct {
    sk_bytes region;
    uint64_t term;
    uint32_t current; /* its own origin, or SK_ORIGIN_UNKNOWN */
    uint64_t view;    /* which lives of the members it knew of: stability.c; 0: no matter */
} sk_gossip;

void sk_gossip_pack(sk_buf *buf, const sk_gossip *gossip, const sk_vv *acked);
/** False at the end. Reads the vector over `acked`. */
bool sk_gossip_next(sk_elements *list, const sk_origin_map *map, sk_gossip *gossip, sk_vv *acked);

typedef struct {
    uint32_t own;
    uint64_t term, view;
    sk_elements neighbours, gossip;
} sk_news;

/** `names` and `gossip` are elements that were packed before (sk_pack_bytes, sk_gossip_pack). */
void sk_news_pack(sk_buf *buf, uint32_t own, uint64_t term, uint64_t view, uint32_t name_count, sk_bytes names,
                  uint32_t gossip_count, sk_bytes gossip);

/** What `vv` has that differs from `told`. */
void sk_message_pack_changes(sk_buf *buf, const sk_vv *vv, const sk_vv *told);

/* -- messages ------------------------------------------------------------------------------------------------------ */

/* HELLO after version and region, which are read first, because they decide whether the rest can be understood. */
typedef struct {
    sk_elements origins;
    sk_vv vv; /* owned */
    sk_news news;
} sk_hello;

/** Reads the version alone. */
uint64_t sk_hello_read_version(sk_reader *reader);
/** Reads the rest; vectors and news through `map`, or with map NULL against what the message itself announces, in the
 *  sender's numbers: for a look before anything is interned. The caller frees hello->vv in any case. */
int sk_hello_read(sk_reader *reader, const sk_origin_map *map, sk_bytes *region, sk_hello *hello);

int sk_origins_read(sk_reader *reader, sk_elements *origins);

typedef struct {
    bool heartbeat;
    sk_vv vv; /* owned; what changed */
    sk_news news;
    uint64_t ping_ms; /* the sender's clock, to be given back */
    uint64_t wall_ms; /* the sender's wall clock */
    bool has_pong;
    uint64_t pong_ms;      /* the receiver's own ping, given back */
    uint64_t pong_held_ms; /* how long the sender had it */
    bool has_digest;
    sk_digest digest;      /* of what is durable there */
} sk_status;

/** The part of a STATUS before the vector. */
void sk_status_pack_flags(sk_buf *buf, bool heartbeat, bool has_pong, bool has_digest);
/** The part behind the news. */
void sk_status_pack_rest(sk_buf *buf, const sk_status *status);
/** The caller frees status->vv in any case. */
int sk_status_read(sk_reader *reader, const sk_origin_map *map, sk_status *status);

typedef struct {
    uint32_t origin;
    bool continues; /* where the last batch of this origin on this link ended; `first` is 0 */
    uint64_t first;
    uint32_t count;
} sk_batch;

typedef struct {
    sk_hlc hlc;
    uint32_t op_count;
    sk_elements raise; /* of origin and increase */
    sk_bytes ops;
} sk_batch_txn;

void sk_batch_pack(sk_buf *buf, const sk_batch *batch);
/** `before` is the time of the transaction before, 0 at a fresh start. `raise` is packed, or empty. */
void sk_batch_txn_pack(sk_buf *buf, sk_hlc before, sk_hlc hlc, uint32_t op_count, sk_bytes raise, sk_bytes ops);
/** The header; the transactions follow. */
int sk_batch_read(sk_reader *reader, const sk_origin_map *map, sk_batch *batch);
/** The next transaction. The operations are not looked into. */
int sk_batch_txn_read(sk_reader *reader, const sk_origin_map *map, uint32_t origin, sk_hlc before, sk_batch_txn *txn);
/** Origin (through `map`) and increase of the next raise. False at the end. */
bool sk_raise_next(sk_elements *list, const sk_origin_map *map, sk_dot *raise);

/** RESEND and OFFER. The caller frees `vv` in any case. */
int sk_vector_read(sk_reader *reader, const sk_origin_map *map, sk_vv *vv);

/* What a transfer is asked for. */
typedef enum {
    SK_FOR_NEWS,   /* we lack something */
    SK_FOR_REPAIR, /* our rows are damaged: a reconcile in any case, and whatever differs is to be as the sender has it */
    SK_FOR_AUDIT,  /* vectors are equal and digests are not: a reconcile that changes nothing, to see which rows differ */
} sk_purpose;

typedef struct {
    uint64_t number; /* of the transfer: the receiver counts them, per link */
    sk_vv known;     /* owned */
    sk_purpose purpose;
    bool resumable;
    sk_vv vv; /* owned; what was staged so far */
    bool reconcile;
    sk_bytes cursor;
} sk_request;

void sk_request_pack(sk_buf *buf, const sk_request *request);
/** The caller frees both vectors in any case. */
int sk_request_read(sk_reader *reader, const sk_origin_map *map, sk_request *request);

/* How far an outgoing transfer has come: what its receiver is told, and takes for no more than that. */
typedef struct {
    uint64_t rows; /* that the sender has, about; 0: it does not know */
    uint64_t done; /* of those, gone through */
    uint64_t sent; /* put into chunks */
} sk_transfer_counts;

typedef struct {
    uint64_t number;
    sk_vv vv, floor; /* owned */
    bool reconcile, resumed;
} sk_begin;

void sk_begin_pack(sk_buf *buf, const sk_begin *begin);
/** The caller frees both vectors in any case. */
int sk_begin_read(sk_reader *reader, const sk_origin_map *map, sk_begin *begin);

void sk_chunk_pack(sk_buf *buf, uint64_t number, const sk_transfer_counts *counts, sk_bytes rows);
int sk_chunk_read(sk_reader *reader, uint64_t *number, sk_transfer_counts *counts, sk_bytes *rows);
void sk_piece_pack(sk_buf *buf, uint64_t number, sk_bytes rows);
int sk_piece_read(sk_reader *reader, uint64_t *number, sk_bytes *rows);
int sk_chunk_ack_read(sk_reader *reader, uint64_t *number, uint64_t *chunks);
/** END and DONE. */
int sk_end_read(sk_reader *reader, uint64_t *number);
int sk_cancel_read(sk_reader *reader, uint64_t *number, bool *by_source, int *code);
int sk_goodbye_read(sk_reader *reader, int *code);
int sk_enough_read(sk_reader *reader, const sk_origin_map *map, uint32_t *origin);

/* -- comparing: gossip/reconcile.c --------------------------------------------------------------------------------- */

enum {
    SK_ASKS_MAX = 16,   /* questions under way */
    SK_PARTS_MAX = 32,  /* of one answer */
    SK_LISTED_MAX = 64, /* rows of one answer, and keys that are wanted of it */
};

/* Part of a range: from here up to the next one. */
typedef struct {
    sk_bytes from;
    uint64_t rows;
    sk_digest sum; /* of the rows' digests */
} sk_part;

/* A row of a range. */
typedef struct {
    sk_bytes key;
    uint64_t digest; /* the low half of it */
    bool news;       /* it has an entry that the receiver did not know when it asked for the transfer */
} sk_listed;

void sk_compare_pack(sk_buf *buf, uint64_t number, uint64_t rows, sk_digest sum);
int sk_compare_read(sk_reader *reader, uint64_t *number, uint64_t *rows, sk_digest *sum);
void sk_ask_pack(sk_buf *buf, uint64_t number, sk_bytes from, sk_bytes to);
int sk_ask_read(sk_reader *reader, uint64_t *number, sk_bytes *from, sk_bytes *to);

/* The lists of PARTS, ROWS and WANT; their elements are packed one by one behind sk_message_begin_list. More elements than there
 * may be are SK_E_PROTOCOL. */
void sk_message_begin_list(sk_buf *buf, sk_message_type type, uint64_t number, uint32_t count);
void sk_part_pack(sk_buf *buf, const sk_part *part);
void sk_listed_pack(sk_buf *buf, const sk_listed *row);
int sk_parts_read(sk_reader *reader, uint64_t *number, sk_elements *parts);
int sk_rows_read(sk_reader *reader, uint64_t *number, sk_elements *rows);
int sk_want_read(sk_reader *reader, uint64_t *number, sk_elements *keys);
/** False at the end. */
bool sk_part_next(sk_elements *list, sk_part *part);
bool sk_listed_next(sk_elements *list, sk_listed *row);
bool sk_wanted_next(sk_elements *list, sk_bytes *key);

#endif
