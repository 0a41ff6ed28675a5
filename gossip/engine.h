/* The replication engine: which transactions go to whom, when, and what comes back.
 *
 * A pure state machine. It does no I/O, reads no clock and draws no randomness; time comes in with every event, and what
 * it wants done it asks of its host (struct sk_engine_host) in synchronous calls, which keeps an event's consequences in
 * one place and in one order. The node and the simulator run this same object code.
 *
 * Three tiers (ARCHITECTURE.md): live transactions out of a bounded ring in memory; catch-up transfers of changed rows
 * for a peer that fell out of the ring; reconciles for a peer below the floor. What a peer needs is decided
 * by the vector that it has acknowledged, nothing else.
 *
 * Invariants:
 *  1. Nothing leaves before it is durable here: transactions with seq above durable[origin] are never sent, and what is
 *     acknowledged to peers is the durable vector.
 *  2. A remote transaction is applied exactly once, in its origin's order, and only when the applied vector covers its
 *     `seen` vector. Anything else is kept (bounded) until it is met, or dropped and asked for again.
 *  3. History at or below `stable` may be forgotten, where stable[o] is the least vector[o] that any member has
 *     acknowledged, and only once this node has everything that any member had when it acknowledged that (else an
 *     increment made before a reset was seen could arrive after the reset's record was forgotten). Members come and go:
 *     `everywhere` is the same of those that there are now, and goes back where one is added. `stable` may go on without
 *     members that the host names as laggards; `everywhere` waits for them.
 *  4. Memory is bounded: the ring by ring_bytes_max, held-back transactions by held_bytes_max for all peers together, a
 *     link's queue by send_queue_max (the engine stops filling it; heartbeats, at some 64 KiB more), a transfer by its window,
 *     or one row where that is larger.
 *  5. One incoming transfer at a time; outgoing ones are one per peer.
 *  6. A message that breaks the protocol changes nothing: the link is closed with the error. */
#ifndef SK_GOSSIP_ENGINE_H
#define SK_GOSSIP_ENGINE_H

#include "gossip/message.h"

enum {
    SK_PROTOCOL_VERSION = 4,
    SK_MEMBERS_MAX = 64, /* regions in a cluster, this one included */
};

typedef struct sk_engine sk_engine;
typedef struct sk_source sk_source; /* the host's: an outgoing transfer being read from a snapshot */

/* What a transfer brings, told before its first row. Vectors in the local numbering of whoever holds the struct. */
typedef struct {
    sk_vv vv;        /* owned; the sender's vector in the snapshot: ours is joined with it at the end */
    sk_vv floor;     /* owned; the sender's floor */
    bool reconcile;  /* tier 3: what the sender removed and forgot is found by comparing */
    bool everything; /* not between regions: what it does not bring was not there either (node/export.h) */
    bool resumed;    /* it goes on where the interrupted one (same or earlier vv) stood */
    sk_purpose purpose;    /* what the receiver asked for it for. Known before the rest… */
    const char *from;      /* … at the receiver: the sender's region… */
    sk_digest difference;  /* … and of an audit how much more the sender's digest is than ours */
} sk_transfer_head;

/* How far an interrupted incoming transfer had come. */
typedef struct {
    sk_vv vv;      /* owned; of the sender's snapshot */
    bool reconcile;
    sk_buf cursor; /* owned; the last row key that is staged */
} sk_transfer_progress;

typedef struct {
    void *self; /* given back as the first argument of each call */

    /* Links. `peer` is the number that sk_engine_add_peer gave. Bytes are borrowed for the call. */
    void (*send)(void *self, uint32_t peer, sk_bytes message);
    size_t (*queued)(void *self, uint32_t peer); /* bytes accepted by send and not yet gone; SIZE_MAX: take no more now */
    void (*hang_up)(void *self, uint32_t peer, int error);

    /* Database. Everything goes into the store's open batch; durability is reported by sk_engine_durable. */
    int (*intern)(void *self, sk_bytes region, uint64_t incarnation, uint32_t *origin);
    /* Apply a transaction (ops packed in local numbers): rows, history, vector, in one batch. On error nothing changed. */
    /** A hint, may be NULL: the row of this key will be changed by one of the next calls of `apply`. */
    void (*fetch)(void *self, sk_bytes row_key);
    /** SK_E_BUSY: not now; it is held back until sk_engine_retry, or for a while. */
    int (*apply)(void *self, const sk_txn *txn);
    /* Forget history up to `stable`, raise the floor to it; strip dead counts whose resets are `everywhere` (stability.c).
     * May do it in pieces later, with what sk_engine_stable and sk_engine_everywhere say then. */
    void (*forget)(void *self, const sk_vv *stable, const sk_vv *everywhere);
    /* A peer knows more of our own origin than we do: take a new incarnation. Until that has been done, also again after
     * a rollback, sk_engine_must_not_write. */
    int (*new_incarnation)(void *self);

    /* History at or below is gone, and who has less needs a reconcile. Borrowed; may be NULL: it is what was forgotten. */
    const sk_vv *(*floor)(void *self);

    /* Outgoing transfer: rows that changed above `known`, from a snapshot of committed state taken now. It is a reconcile if
     * known is below our floor. progress may be NULL; the source ignores it where it cannot resume from it. */
    int (*source_open)(void *self, const sk_vv *known, const sk_transfer_progress *progress, sk_source **source,
                       sk_transfer_head *head);
    /* Appends about max bytes of rows, in the local numbering. 1: more follows, 0: that was the last; or an error. With
     * nothing appended and more to follow it has done enough work for now. */
    int (*source_chunk)(void *self, sk_source *source, size_t max, sk_buf *out);
    /* Of a reconcile, after the last chunk: what there is of rows in all; an answer to ASK (it writes the message, PARTS or
     * ROWS); rows that are to come with the next chunks. */
    void (*source_compare)(void *self, sk_source *source, uint64_t *rows, sk_digest *sum);
    int (*source_answer)(void *self, sk_source *source, uint64_t number, sk_bytes from, sk_bytes to, sk_buf *out);
    void (*source_want)(void *self, sk_source *source, sk_elements keys);
    sk_transfer_counts (*source_counts)(void *self, const sk_source *source);
    void (*source_close)(void *self, sk_source *source);

    /* Incoming transfer. */
    int (*sink_progress)(void *self, sk_transfer_progress *progress); /* 1: an interrupted one is staged; 0: none */
    bool (*sink_busy)(void *self);                                    /* the last one is still being folded in */
    int (*sink_begin)(void *self, const sk_transfer_head *head);
    int (*sink_chunk)(void *self, sk_bytes rows, const sk_origin_map *map);
    /* Of a reconcile, after the last chunk that was not asked for. A step of the preparation: 1: there is more, 0: it is
     * done. Then: the sum of what the sender is believed to have in a range (an empty `to`: no end); and going through a
     * range beside the sender's rows in it (elements by sk_listed_next): keys of rows that must come from there are appended
     * to `wanted` (sk_pack_bytes). 1: there is more, from `from` on, 0: that was all. */
    int (*sink_compare)(void *self);
    int (*sink_sum)(void *self, sk_bytes from, sk_bytes to, sk_digest *sum);
    int (*sink_settle)(void *self, sk_buf *from, sk_bytes to, sk_elements rows, sk_buf *wanted, uint32_t *count);
    /* The atomic step: applied vector joined, rows visible. Of an audit neither: what differs is gone through, some at a
     * time (1: there is more, it is to be called again), and known from here on; SK_E_BUSY: not all of it. */
    int (*sink_end)(void *self);

    /* The digest of the durable state at this vector; false: it is not known, or not to be vouched for. May be NULL. */
    bool (*digest)(void *self, const sk_vv *durable, sk_digest *digest);
    /* Though the vectors are equal the peer's digest is another, and stays so; or (said again and again) it is the same.
     * May be NULL. */
    void (*drift)(void *self, uint32_t peer, bool drifts);

    /* How long the calls of source_* and sink_* have worked since this was last asked: what transfer_share goes by. May be
     * NULL: that is not measured. */
    uint64_t (*worked_us)(void *self);
} sk_engine_host;

typedef struct {
    size_t ring_bytes_max;      /* recent transactions kept in memory for the live tier */
    uint32_t ring_txns_max;     /* likewise, by count; 0: no limit of its own */
    size_t held_bytes_max;      /* transactions that wait for their dependencies */
    size_t send_queue_max;      /* bytes queued on a link before the engine waits for sk_engine_writable; live */
    size_t batch_bytes;         /* a live message is closed at about this size */
    size_t chunk_bytes;         /* a transfer's chunk */
    size_t chunk_max;           /* one that is larger, because of a row, goes in pieces of at most SK_PIECE_MAX */
    uint32_t transfer_window;   /* chunks sent and not yet acknowledged */
    uint64_t transfer_bytes_per_s; /* of rows and answers to one peer; 0: as fast as they can be read and taken; live */
    uint32_t transfer_share;    /* of the time, in percent, that a transfer may read or compare, on each side; live */
    uint32_t flush_ms;          /* live transactions wait up to this long for company, unless batch_bytes are there */
    uint32_t ack_ms;            /* an acknowledgement waits up to this long for company */
    uint32_t heartbeat_ms;      /* a status goes out at least this often */
    uint32_t silence_ms;        /* a link that says nothing for this long is closed (SK_E_TIMEOUT) */
    uint32_t relay_ms;          /* how long a peer may lack an origin that it cannot reach before we relay */
    uint32_t audit_ms;          /* how long digests differ at equal vectors before that is drift */
} sk_engine_limits;

/** The defaults: 64 MiB ring, 64 MiB held, 4 MiB queue, 64 KiB batches, 64 KiB chunks, of 64 MiB at the most, window 16, no rate, all of
 *  the time, 2, 20, 500, 5000, 1000 and 3000 ms. */
sk_engine_limits sk_engine_limits_default(void);

/** `applied`, `origins` and `own` (our own origin's number; it changes with a new incarnation) are the host's, are read
 *  at any time, and outlive the engine. `region` is ours. Owned by the caller. */
sk_engine *sk_engine_new(const char *region, const sk_engine_host *host, const sk_engine_limits *limits,
                         const sk_vv *applied, const sk_origins *origins, const uint32_t *own);
void sk_engine_free(sk_engine *engine);

/** A member of the cluster, from now on; not within a call of the engine's to its host. Returns its number, below
 *  SK_MEMBERS_MAX and perhaps one that a removed member had, or SK_E_LIMIT. Members hold `stable` back until they
 *  acknowledge; `acked` (may be NULL) is what it had acknowledged when this node last ran. */
int sk_engine_add_peer(sk_engine *engine, const char *region, const sk_vv *acked);
/** It is no member any more: its link is closed (with a goodbye that says `error`, and a hang_up), nothing waits for it,
 *  and what it alone wrote goes on to those that lack it. Not within a call of the engine's to its host. */
void sk_engine_remove_peer(sk_engine *engine, uint32_t peer, int error, uint64_t now_ms, uint64_t wall_ms);

/** This member lacks more than history is kept for: `stable` goes on without it. It ends by itself once the member has
 *  acknowledged all that is at or below the floor: by a reconcile, mostly. What a transfer that begins from now on stages
 *  there is waited for again. */
void sk_engine_set_laggard(sk_engine *engine, uint32_t peer, uint64_t now_ms, uint64_t wall_ms);
/** History that only laggards may lack goes soon, even if nobody else can agree on what is stable. */
void sk_engine_release(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms);

/** From here on this region writes under a new incarnation (sk_engine_host.new_incarnation). Not within a call of the
 *  engine's to its host. 0, or the host's error; then it is tried again, and sk_engine_must_not_write. */
int sk_engine_reincarnate(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms);

/* -- events: each first sets the time, milliseconds; now_ms never runs backwards, wall_ms may ------------------------- */

/** The link to this peer is up (authenticated; the peer's region name is proven). The engine says hello. */
void sk_engine_link_up(sk_engine *engine, uint32_t peer, uint64_t now_ms, uint64_t wall_ms);
/** The link is gone. Everything in flight on it is forgotten; an incoming transfer keeps its staged progress. */
void sk_engine_link_down(sk_engine *engine, uint32_t peer, uint64_t now_ms, uint64_t wall_ms);
/** Part of a message came, or would have if we were reading: this is no silence. On a slow link a large message takes
 *  longer than silence_ms. `large`: it may be of a transfer, which gets on then. */
void sk_engine_heard(sk_engine *engine, uint32_t peer, bool large, uint64_t now_ms, uint64_t wall_ms);
/** A message came. On a protocol error the engine calls hang_up. */
void sk_engine_message(sk_engine *engine, uint32_t peer, sk_bytes message, uint64_t now_ms, uint64_t wall_ms);
/** This link's queue has drained. */
void sk_engine_writable(sk_engine *engine, uint32_t peer, uint64_t now_ms, uint64_t wall_ms);
/** A local transaction was applied (not yet durable): its packed ops go to the ring. */
void sk_engine_local(sk_engine *engine, const sk_txn *txn, uint64_t now_ms, uint64_t wall_ms);
/** All up to this vector is durable here. */
void sk_engine_durable(sk_engine *engine, const sk_vv *durable, uint64_t now_ms, uint64_t wall_ms);
/** The store has failed and is about to be reopened: every outgoing transfer's source is closed (the peers are told to ask
 *  again), for no snapshot may outlive that. What cannot be kept is not asked for, until it is back. */
void sk_engine_store_failed(sk_engine *engine);
/** Our rows are damaged: asks one of the peers that have at least `least` on disk, another one each time, for a repair. 1: it
 *  did; 0: a transfer comes in already, or there is no link; SK_E_GAP: there are links, and none of those peers has as much. */
int sk_engine_repair(sk_engine *engine, const sk_vv *least, uint64_t now_ms, uint64_t wall_ms);
/** If this peer's rows differ from ours, they are compared once more. */
void sk_engine_compare_again(sk_engine *engine, uint32_t peer, uint64_t now_ms, uint64_t wall_ms);
/** The applied vector was joined with what came another way than over a link: what waited for that goes on. */
void sk_engine_joined(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms);
/** What `apply` was too busy for can be tried again. Not within a call of the engine's to its host. */
void sk_engine_retry(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms);
/** Somebody, over whatever way, knows our own origin up to `seq`: if that is more than we do, we have come back with less,
 *  and a new incarnation is taken. 0, or an error: SK_E_PROTOCOL when that cannot be true. */
int sk_engine_known_elsewhere(sk_engine *engine, uint64_t seq, uint64_t now_ms, uint64_t wall_ms);
/** The store failed and went back to its durable state: drop from ring and bookkeeping what is above `applied`. `back`: it
 *  takes writes again, and what was missed meanwhile is asked for. */
void sk_engine_rolled_back(sk_engine *engine, bool back, uint64_t now_ms, uint64_t wall_ms);
/** Time passed. Call at or after sk_engine_next_ms. */
void sk_engine_tick(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms);
/** When tick is wanted next (now_ms scale), after any event. */
uint64_t sk_engine_next_ms(const sk_engine *engine);
/** Says goodbye on every link: the node is about to stop. */
void sk_engine_goodbye(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms);

/* -- what operators and waiting clients ask ---------------------------------------------------------------------------- */

typedef struct {
    const char *region;
    bool up;                  /* the link is up and both have said hello */
    const sk_vv *acked;       /* durable at the peer, as far as we know */
    bool drifts;              /* it has other rows at the same vector */
    bool laggard;             /* no history is kept for what it lacks… */
    const sk_vv *staged;      /* …but for what an unfinished transfer of ours has brought it: its vector. NULL: none */
    uint64_t last_heard_ms;   /* now_ms scale; 0: never */
    uint64_t round_trip_ms;   /* of the last heartbeat that was answered */
    bool clock_known;
    int64_t clock_offset_ms;  /* the peer's wall clock minus ours */
    uint64_t clock_error_ms;  /* at most, either way */
    uint64_t sent_bytes, received_bytes;  /* messages, before encryption */
    uint64_t sent_txns, received_txns, duplicate_txns;
    uint64_t sent_rows_bytes;      /* transfer chunks */
    uint64_t transfers_out, transfers_in;
    uint64_t received_rows_bytes;
    bool sending_transfer, receiving_transfer;
    bool comparing;              /* the one that comes in, or else the one that goes out, is a reconcile that compares */
    sk_transfer_counts transfer; /* likewise; while it compares here, `done` are rows of which it is known what is to do */
    int64_t transfer_left_ms;    /* … until it has gone through the rest of the rows; -1: not known */
} sk_peer_status;

/* How our wall clock stands to those of the peers (gossip/clock.h). */
typedef struct {
    bool known;           /* more than half of them were heard at some time */
    int64_t ahead_ms;     /* of the reference */
    uint64_t stamp_ms;    /* what local transactions are to be stamped with: the wall clock, or less */
} sk_clock_status;

sk_clock_status sk_engine_clock(const sk_engine *engine, uint64_t now_ms, uint64_t wall_ms);

/** What transfer is under way, one that comes in before one that goes out: "none", "sending", "receiving", "comparing". */
static inline const char *sk_peer_transfer(const sk_peer_status *status)
{
    if (status->comparing) return "comparing";
    return status->receiving_transfer ? "receiving" : status->sending_transfer ? "sending" : "none";
}

/** How long to rest after so much work for transfers, that it takes no more than transfer_share. */
uint64_t sk_engine_rest_us(const sk_engine *engine, uint64_t worked_us);
/** Takes over those limits that are live, from the next message on. */
void sk_engine_set_limits(sk_engine *engine, const sk_engine_limits *limits);
/** Peers have numbers below this… */
uint32_t sk_engine_peers(const sk_engine *engine);
/** …but not every number below is one's: those of removed members are free. */
bool sk_engine_is_peer(const sk_engine *engine, uint32_t peer);
/** How many other members there are. */
uint32_t sk_engine_others(const sk_engine *engine);
/** Of a peer. Borrowed until the next event. */
sk_peer_status sk_engine_peer_status(const sk_engine *engine, uint32_t peer);
/** How many other regions hold transaction `dot` on disk. */
uint32_t sk_engine_holders(const sk_engine *engine, sk_dot dot);
/** Others know more of our own origin, and no new incarnation could be taken yet: a local transaction would use a dot
 *  again that is in use elsewhere. */
bool sk_engine_must_not_write(const sk_engine *engine);
/** What was last handed to forget. `stable` never goes back; `everywhere` is empty again once a member is added. */
const sk_vv *sk_engine_stable(const sk_engine *engine);
const sk_vv *sk_engine_everywhere(const sk_engine *engine);
/** Does a member (this region included) write under this origin now, as far as we know? */
bool sk_engine_is_current(const sk_engine *engine, uint32_t origin);

/** Asserts what can be checked from inside: the simulator calls it after every step. */
void sk_engine_check(const sk_engine *engine);

#endif
