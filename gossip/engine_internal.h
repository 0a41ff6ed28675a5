/* The engine's own state, shared by its files and by nobody else.
 *
 *   engine.c     life, links up and down, dispatch of messages, timers, what operators ask
 *   status.c     HELLO and STATUS: who has what, heartbeats, terms, amnesia
 *   send.c       live sending, relays
 *   backlog.c    what comes cheaper by a transfer, though the ring has it
 *   receive.c    live receiving, transactions held back
 *   transfer.c   transfers, both sides
 *   reconcile.c  what is compared in some of them
 *   drift.c      equal vectors, unequal digests
 *   stability.c  what may be forgotten
 *
 * A link's states, and what moves it:
 *
 *   DOWN --sk_engine_link_up: HELLO sent--> GREETING --their HELLO: sk_status_hello--> UP
 *   GREETING, UP --sk_engine_link_down, or sk_link_close (an error, GOODBYE, silence)--> DOWN
 *
 * Everything in the `session` part of a peer is void when its link goes down. */
#ifndef SK_GOSSIP_ENGINE_INTERNAL_H
#define SK_GOSSIP_ENGINE_INTERNAL_H

#include "gossip/clock.h"
#include "gossip/engine.h"
#include "gossip/message.h"
#include "gossip/pace.h"
#include "gossip/ring.h"

enum {
    PEERS_MAX = SK_MEMBERS_MAX - 1,
    RESEND_MS = 100,              /* a RESEND waits at least this long: more may be dropped meanwhile */
    BUSY_MS = 50,                 /* how often a busy sink is asked again, or a link that does not move */
    RELAY_REVIEWS = 4,            /* relays are reviewed this often within relay_ms */
    GOSSIP_BYTES_MAX = 64 * 1024, /* about; what does not fit goes with the next heartbeat */
};

#define NEVER UINT64_MAX
#define NO_PEER UINT32_MAX

/* A sparse vector, as small as what was sent: `seen` of one transaction. */
typedef struct {
    sk_dot *list; /* owned; each origin once */
    uint32_t count, cap;
} sk_seen;

/* One origin on one link. */
typedef struct {
    uint64_t next;         /* seq to send next; 0: not set, the peer's vector + 1 */
    bool continues;        /* next - 1 was sent in this session: the peer has its time and `seen` to go on from */
    sk_hlc sent_hlc;       /* its time */
    bool relaying;         /* the peer gets this origin from us, though it is not our own */
    uint64_t transferred;  /* up to this seq a transfer brings it, also where the ring could */
    uint64_t lag_seq;      /* where the peer's vector stood… */
    uint64_t lag_since_ms; /* …at this time, when it was first found behind; NEVER: it is not */
    uint64_t got;          /* receiving: the last seq that came; 0: none */
    sk_hlc got_hlc;
    sk_seen got_seen;
    uint64_t enough_at_ms; /* when we may say again that we need no relay of it */
} sk_track;

typedef enum { LINK_DOWN, LINK_GREETING, LINK_UP } sk_link_state;

/* How the peer's digest compares with ours: drift.c. */
typedef struct {
    sk_digest difference; /* theirs less ours, when the vectors were last equal */
    uint64_t since_ms;    /* it was first this */
    bool lasts;           /* it is no passing one */
    bool told;            /* the host knows of drift */
    bool compared;        /* … and of the rows that make the difference */
    uint64_t ask_at_ms;   /* not before */
} sk_drift;

typedef struct {
    sk_source *source;    /* owned, NULL: nothing is being sent */
    sk_purpose purpose;
    uint64_t number;      /* of the transfer last begun; 0: none in this session */
    sk_vv vv;             /* owned; of its head */
    uint64_t sent, acked; /* chunks */
    uint64_t progress_ms; /* when it last got on */
    bool wanted;          /* the ring cannot bring what the peer lacks, or not as cheaply */
    uint64_t offer_at_ms; /* not before */
    uint64_t again_at_ms; /* the source is not asked before: it has worked enough for a while */
    uint64_t said_ms;     /* when the last chunk went */
    uint64_t debt_us;     /* to be waited: for what went, at transfer_bytes_per_s, and for work, at transfer_share */
    uint64_t rows_sent;
    sk_pace pace;         /* through our rows */
    sk_buf rest;          /* owned; rows of a chunk that goes in pieces… */
    size_t rest_at;       /* … and how many bytes of that have gone */
    /* of a reconcile, see reconcile.c */
    bool reconcile;
    bool compares; /* COMPARE was sent */
    bool gives;    /* rows that were asked for */
    sk_buf questions; /* owned; packed, in the order they came */
    uint32_t question_count;
    uint64_t answers;
} sk_outgoing;

typedef struct {
    /* what is known of the member, with or without a link */
    char region[SK_REGION_NAME_MAX + 1]; /* empty: this number is free, and all else is as zeroed */
    sk_vv acked;           /* owned; durable there */
    uint64_t term;         /* of `acked`: see status.c */
    uint64_t view;         /* that it had when it acknowledged that, or earlier: see stability.c */
    uint32_t current;      /* its own origin, or SK_ORIGIN_UNKNOWN */
    sk_vv staged;          /* owned; what it has staged of a transfer of ours is at least of this vector */
    bool has_staged;       /* … and the transfer has not come to its end, as far as we know */
    bool laggard;          /* history is not kept for it, but for what it has staged */
    sk_peer_status counts; /* only the counters and times in it */
    sk_clock clock;

    /* session */
    sk_link_state state;
    sk_origin_map map;   /* owned; the peer's numbers to ours */
    uint32_t announced;  /* how many of our origins the peer knows */
    sk_vv vv;            /* owned; durable there, as it said in this session */
    uint64_t said_term;  /* the term that it said */
    uint64_t said_view;  /* the view that it said with it */
    uint64_t begun_term; /* the term that its HELLO began, which it may not know of; 0: none */
    sk_vv told;          /* owned; what we said is durable here */
    uint64_t neighbours; /* bit per peer: regions that it has links with */
    uint64_t informed;   /* … of which what it said covers all that we know */
    sk_track *tracks;    /* owned; index = origin */
    uint32_t track_count;
    bool blocked;         /* its queue was full */
    uint32_t send_from;   /* origin that the next round of sending begins with */
    uint32_t gossip_from; /* member that the next heartbeat's gossip begins with */
    uint64_t heard_ms;
    uint64_t heartbeat_at_ms, ack_at_ms, flush_at_ms, resend_at_ms, review_at_ms; /* NEVER: not set */
    uint64_t resent_sum; /* of our vector at the last RESEND: has it moved since? */
    bool has_ping;
    uint64_t ping_ms, ping_came_ms; /* theirs, to be given back */
    bool has_offer;
    sk_vv offer;        /* owned; what a transfer from it would bring */
    uint64_t requested; /* number of the last transfer we asked for */
    sk_drift drift;
    sk_outgoing out;
} sk_peer;

/* A transaction that waits for its dependencies. */
typedef struct sk_held sk_held;

typedef struct {
    sk_held *first, *last; /* owned; consecutive seqs from applied + 1 */
    uint64_t end;          /* seq of last */
} sk_held_lane;

typedef struct {
    uint32_t peer; /* NO_PEER: none */
    bool begun;    /* BEGIN has come */
    sk_purpose purpose;
    sk_digest difference; /* of an audit: that it is to find the rows of */
    uint64_t number, chunks, progress_ms;
    uint64_t retry_at_ms; /* the sink was busy */
    struct sk_comparing *comparing; /* owned by reconcile.c; NULL: this is none */
    sk_buf pieces;                  /* owned; of the next chunk */
    uint64_t rows_sent;             /* as the sender said with its last chunk */
    sk_pace pace;                   /* likewise, through its rows; then ours in comparing */
} sk_incoming;

struct sk_engine {
    char region[SK_REGION_NAME_MAX + 1];
    sk_engine_host host;
    sk_engine_limits limits;
    const sk_vv *applied;      /* the host's */
    const sk_origins *origins; /* the host's */
    const uint32_t *own;       /* the host's */
    uint64_t now_ms, wall_ms;
    sk_clock_reference clock; /* what our own is bounded by */
    sk_vv durable;         /* owned */
    uint64_t term;         /* of our own acknowledgements; 0: no time was told yet */
    uint32_t fresh_origin; /* one of ours that this process began: nobody can know more of it */
    uint32_t spent_origin; /* one of ours that others know more of: nothing may be written under it */
    uint32_t origin_count; /* of *origins, when we last looked */
    sk_ring ring;
    sk_peer peers[PEERS_MAX];
    uint32_t peer_count; /* the highest number that was ever given, + 1 */
    sk_held_lane *held; /* owned; index = origin */
    uint32_t held_lanes;
    size_t held_bytes;
    uint64_t held_retry_at_ms; /* applying one failed for a while */
    bool store_failed;         /* nothing is asked for: it could not be kept */
    sk_incoming incoming;
    uint32_t repair_from; /* member that the next repair is asked of, if it can be */
    sk_vv stable, everywhere;                /* owned; last handed to forget */
    bool stable_waits;                       /* `everywhere_next` waits until `stable_need` is applied */
    bool release;                            /* history goes, whether or not anything is agreed on */
    sk_vv everywhere_next;                   /* owned */
    sk_vv stable_need;                       /* owned */
    uint64_t stable_at_ms;                   /* when to look again; NEVER: nothing changed */
    uint64_t view, view_told;                /* ours, and the one last said on the links */
    sk_vv view_from;                         /* owned; it may be said when this is durable */
    sk_buf out;                              /* the message being made */
    sk_buf names, gossip, ops, txns, raises; /* scratch */
    sk_arena arena;                          /* scratch: one operation's lists */
    sk_vv seen, free;                        /* scratch */
};

/* -- engine.c ------------------------------------------------------------------------------------------------------ */

/** Sends engine->out, and before it the origins that the peer was not told. */
void sk_link_send(sk_engine *engine, uint32_t peer);
/** Ends the session and has the host hang up; with `goodbye` the peer is told why. */
void sk_link_close(sk_engine *engine, uint32_t peer, int error, bool goodbye);
/** The record of an origin on a link, there from now on. Borrowed until the next call. */
sk_track *sk_link_track(sk_engine *engine, sk_peer *peer, uint32_t origin);
/** Index of the member of that name; NO_PEER for ourselves and for strangers. */
uint32_t sk_engine_find(const sk_engine *engine, sk_bytes region);
static inline bool sk_is_member(const sk_peer *peer)
{
    return peer->region[0] != 0;
}
static inline void sk_sooner(uint64_t *at_ms, uint64_t ms)
{
    if (*at_ms > ms) *at_ms = ms;
}

/* -- status.c ------------------------------------------------------------------------------------------------------ */

void sk_status_send_hello(sk_engine *engine, uint32_t peer);
int sk_status_hello(sk_engine *engine, uint32_t peer, sk_reader *reader);
int sk_status_origins(sk_engine *engine, uint32_t peer, sk_reader *reader);
int sk_status_status(sk_engine *engine, uint32_t peer, sk_reader *reader);
void sk_status_send(sk_engine *engine, uint32_t peer, bool heartbeat);
/** The peer has sent transactions up to this one, which has seen that. A peer sends what it has on disk, so each of its own
 *  says what it had there when it was written, itself included. Without that nobody could forget what a writer has written
 *  but after its heartbeats. Errors as of sk_status_amnesia. */
int sk_status_sent(sk_engine *engine, uint32_t peer, sk_dot dot, const sk_vv *seen);
/** Heartbeats are due soon on every link: something in the news changed. */
void sk_status_spread(sk_engine *engine);
/** The host's table of origins may have grown. */
static inline void sk_status_grown(sk_engine *engine)
{
    engine->origin_count = engine->origins->count;
}
/** A new incarnation, in any case. */
int sk_status_reincarnate(sk_engine *engine);
/** A peer knows `seq` of our own current origin, which we do not: a new incarnation, unless it cannot be so. */
int sk_status_amnesia(sk_engine *engine, uint64_t seq);

/* -- send.c -------------------------------------------------------------------------------------------------------- */

/** Sends what is due, live and of a transfer, as far as the link takes it. */
void sk_send_pump(sk_engine *engine, uint32_t peer);
/** From now on the peer gets this origin from us: its backlog live, or by a transfer where that costs less. */
void sk_send_start(sk_engine *engine, uint32_t peer, uint32_t origin);
/** We cannot send it a transfer: what the ring has for it goes live, whatever that costs. */
void sk_send_live(sk_peer *to);
/** Looks again which origins the peer needs to get from us. */
void sk_send_review(sk_engine *engine, uint32_t peer);
/** The peer's vector has moved: cursors with it. */
void sk_send_advance(sk_engine *engine, uint32_t peer, uint32_t origin);
/** The peer has sent us something of this origin: it has that, and gets more of it without us. */
void sk_send_got(sk_peer *peer, uint32_t origin);
/** Cursors back (or on) to what `vv` lacks. */
void sk_send_rewind(sk_engine *engine, uint32_t peer, const sk_vv *vv);
/** The seq that goes next. */
static inline uint64_t sk_send_next(const sk_peer *peer, uint32_t origin)
{
    uint64_t next = origin < peer->track_count ? peer->tracks[origin].next : 0;
    return next ? next : sk_vv_get(&peer->vv, origin) + 1;
}

/* -- backlog.c ----------------------------------------------------------------------------------------------------- */

/** Would a transfer of all that the peer lacks cost clearly less than this origin's transactions out of the ring? */
bool sk_backlog_is_wasteful(sk_engine *engine, uint32_t peer, uint32_t origin);

/* -- receive.c ----------------------------------------------------------------------------------------------------- */

int sk_receive_batch(sk_engine *engine, uint32_t peer, sk_reader *reader);
int sk_receive_resend(sk_engine *engine, uint32_t peer, sk_reader *reader);
int sk_send_enough(sk_engine *engine, uint32_t peer, sk_reader *reader);
/** Applies held transactions until none can be, after the applied vector moved by other means. */
void sk_receive_release(sk_engine *engine);
/** Asks this peer to send again, soon. */
void sk_receive_want(sk_engine *engine, uint32_t peer);
void sk_receive_send_resend(sk_engine *engine, uint32_t peer);
/** The applied vector went back: what does not follow it any more is dropped, and asked for again. */
void sk_receive_rolled_back(sk_engine *engine);
/** Drops what came over this link and is held back, and what follows it: it is sent again when the link is back. */
void sk_receive_link_down(sk_engine *engine, uint32_t peer);
/** Drops everything held back. */
void sk_receive_drop_all(sk_engine *engine);
void sk_receive_check(const sk_engine *engine);
void sk_receive_free(sk_engine *engine);
void sk_seen_free(sk_seen *seen);

/* -- transfer.c ---------------------------------------------------------------------------------------------------- */

int sk_transfer_message(sk_engine *engine, uint32_t peer, int type, sk_reader *reader);
/** Offers, and sends chunks as the window and the queue allow. */
void sk_transfer_pump(sk_engine *engine, uint32_t peer);
/** Asks for a transfer that was offered, if one is wanted and none is under way. */
void sk_transfer_request(sk_engine *engine);
/** Asks a peer for a repair: sk_engine_repair. */
int sk_transfer_repair(sk_engine *engine, const sk_vv *least);
/** A link is up: what the peer may have staged of an earlier transfer can be gone on with, until it has all that we have now. */
void sk_transfer_may_be_staged(sk_engine *engine, sk_peer *to);
/** None comes in, and there is a store to keep one. */
static inline bool sk_transfer_may_ask(const sk_engine *engine)
{
    return engine->incoming.peer == NO_PEER && !engine->store_failed;
}
/** Asks a peer for a transfer, if sk_transfer_may_ask. */
void sk_transfer_ask(sk_engine *engine, uint32_t peer, sk_purpose purpose);
/** Gives up what made no progress. */
void sk_transfer_tick(sk_engine *engine);
/** The link is gone. */
void sk_transfer_link_down(sk_engine *engine, uint32_t peer);
/** Closes every source; the peers are told. */
void sk_transfer_close_sources(sk_engine *engine);
/** The store went back: snapshots and staged rows are not to be relied on. */
void sk_transfer_rolled_back(sk_engine *engine);
uint64_t sk_transfer_next_ms(const sk_engine *engine);

/** How long to rest for the work done since this was last called, so that it takes no more than its share. */
uint64_t sk_transfer_rest_us(sk_engine *engine);
/** Adds what a peer was sent, and what that took to read, to what is waited for. */
void sk_transfer_charge(sk_engine *engine, uint32_t peer, size_t bytes);
/** Says how many chunks have come. */
void sk_transfer_send_chunk_ack(sk_engine *engine);
/** The transfer has come to its end. */
void sk_transfer_send_end(sk_engine *engine, uint32_t peer);
/** The sink's last step, or the next of its last steps. */
int sk_transfer_finish(sk_engine *engine);
/** A step at the sink failed: the transfer is off; the link too if the peer is to blame, by the error that is returned. */
int sk_transfer_sink_failed(sk_engine *engine, int status);

/* -- reconcile.c --------------------------------------------------------------------------------------------------- */

/** The incoming transfer is a reconcile from a sender of this vector; it is one no more. */
void sk_reconcile_begin(sk_engine *engine, const sk_vv *vv);
void sk_reconcile_end(sk_engine *engine);
/** May this transaction not be applied before the incoming transfer has ended? */
bool sk_reconcile_withholds(const sk_engine *engine, sk_dot dot);
/** Nothing more is asked, and END may come. */
bool sk_reconcile_is_through(const sk_engine *engine);
/** END has come, and the sink has more to do: it goes on with sk_transfer_finish. */
void sk_reconcile_finish(sk_engine *engine);
/** That is so: nothing more of it may come. */
bool sk_reconcile_is_finishing(const sk_engine *engine);
/** COMPARE, PARTS, ROWS of the incoming transfer. */
int sk_reconcile_told(sk_engine *engine, int type, sk_reader *reader);
/** Goes on with comparing, if it is time. */
int sk_reconcile_pump(sk_engine *engine);
uint64_t sk_reconcile_next_ms(const sk_engine *engine);
/** All was pushed, and it is going through what it has beside what the sender has. */
bool sk_reconcile_is_comparing(const sk_engine *engine);
/** The time that it would still have rested is made a gift of: the limits are others. */
void sk_reconcile_forgive(sk_engine *engine);
/** All has been pushed: what follows is asked for. */
void sk_reconcile_send_compare(sk_engine *engine, uint32_t peer);
/** ASK, WANT, DONE. */
int sk_reconcile_asked(sk_engine *engine, uint32_t peer, int type, sk_reader *reader);
/** Deals with the next question: 1; 0 if there is none, or nothing follows it; or an error. */
int sk_reconcile_answer(sk_engine *engine, uint32_t peer);

/* -- drift.c ------------------------------------------------------------------------------------------------------- */

/** Our digest as it may be told. */
bool sk_drift_digest(const sk_engine *engine, sk_digest *digest);
/** A heartbeat has come, and its vector been taken over. */
void sk_drift_hear(sk_engine *engine, uint32_t peer, const sk_status *said);
/** Asks peers that drift for their rows, if it is time. */
void sk_drift_ask(sk_engine *engine);
/** The rows that make this difference are known; they are to be compared once more. */
void sk_drift_compared(sk_engine *engine, uint32_t peer, sk_digest difference);
void sk_drift_again(sk_engine *engine, uint32_t peer);

/* -- stability.c --------------------------------------------------------------------------------------------------- */

/** Acknowledgements have moved. */
void sk_stability_touch(sk_engine *engine);
/** A member's acknowledgement was lowered, or there is one less: what rested on it is worked out anew. */
void sk_stability_lowered(sk_engine *engine);
/** History goes without waiting for an agreement, as soon as it is looked at again. */
void sk_stability_release(sk_engine *engine);
/** There is a member more, that may have seen nothing. */
void sk_stability_joined(sk_engine *engine);
void sk_stability_tick(sk_engine *engine);
/** Our view as it may be said now; 0: not yet. */
uint64_t sk_stability_view(sk_engine *engine);
/** A member was said to have had this view when it acknowledged what it did. */
void sk_stability_take_view(sk_engine *engine, sk_peer *member, uint64_t view);

#endif
