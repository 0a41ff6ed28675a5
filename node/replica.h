/* One region's replica: database, replication engine, clients' sessions. Everything but the sockets.
 *
 * It does no I/O of its own, beyond its store's; time and randomness come from outside. The node drives it from libuv
 * (node/server.c, node/link.c), the simulator from a seed: the same object code.
 *
 *   request -> sk_command_execute -> rows, history, ring ------ sk_replica_turn ------> store commits
 *                                                                                          |
 *   reply leaves  <- client->hold <= durable  <-------- sk_replica_reap  <-----------------+
 *   delta leaves  <- engine, sk_engine_durable <--------'
 *
 * Invariants:
 *  1. A reply is not sent before sk_replica_durable() reaches the client's `hold` at the moment the reply was made.
 *  2. The engine hears of a batch's vector only when the batch is durable.
 *  3. If a commit fails, nobody has seen its effects: the replica goes back to what the disk has (`epoch` moves), and
 *     every reply that was held is an error instead. */
#ifndef SK_NODE_REPLICA_H
#define SK_NODE_REPLICA_H

#include "gossip/engine.h"
#include "node/client.h"
#include "node/cursor.h"
#include "node/db.h"
#include "node/expiry.h"
#include "node/fold.h"
#include "node/member.h"
#include "node/retention.h"
#include "node/wanted.h"

struct sk_backup_status; /* node/backups.h */

enum { SK_FOLD_ROWS = 256 };

typedef struct {
    const char *region, *cluster;
    sk_bytes life;                  /* see sk_db_identity */
    const uint8_t *public_key;      /* of this region: SK_MEMBER_KEY bytes. Borrowed */
    const sk_member_seed *peers;    /* of the configuration, peer_count of them. Borrowed */
    uint32_t peer_count;
    const char *join;               /* a new database gets everything from this peer before it answers; NULL: none */
    bool join_accepts_writes;       /* … but takes writes meanwhile */
    sk_engine_limits limits;
    const char *password_hash;      /* argon2id string; NULL: no password. Borrowed */
    uint64_t foreign_expiry_ms;     /* how long after a deadline another region's key is left to that region */
    size_t transaction_bytes_max;   /* of one local transaction, and of the arguments that it is made of */
    sk_retention_cap retention;
    uint32_t leaf_rows;             /* rows in a leaf of the database's sums, about; 0: SK_LEAF_ROWS */
    uint32_t fold_rows;             /* rows of a transfer that a turn puts into place, about; 0: SK_FOLD_ROWS */
    uint64_t seed;                  /* random bits: incarnations, SPOP, RANDOMKEY */
} sk_replica_options;

typedef struct {
    void *self;
    /* Links; as in sk_engine_host. */
    void (*send)(void *self, uint32_t peer, sk_bytes message);
    size_t (*queued)(void *self, uint32_t peer);
    void (*hang_up)(void *self, uint32_t peer, int error);
    /* REGION LINK name up|down: the owner closes the link and dials or accepts no more, or does again. */
    void (*link_allowed)(void *self, uint32_t peer, bool allowed);
    /* Who is a member is not what it was (replica->members; sk_replica_peer): who may connect, and who is dialed. Not
     * within another call of the replica's. May be NULL. */
    void (*members_changed)(void *self);
    /* A monotonic clock in microseconds, which tells how long work took: what transfer_share goes by. May be NULL: that
     * is not measured. */
    uint64_t (*clock_us)(void *self);
    /* Appends what a person should know of the link to a peer that is not up; may be NULL. */
    void (*link_note)(void *self, uint32_t peer, sk_buf *text);
    /* CONFIG GET and SET; may be NULL. `get` appends each parameter that the pattern matches as two bulks, name and
     * value, and returns how many; `set` is sk_settings_set (node/settings.h). */
    int (*config_get)(void *self, sk_bytes pattern, const sk_reply *reply);
    int (*config_set)(void *self, const sk_bytes *pairs, size_t count, size_t *failed, sk_buf *error);
    /* Appends "name:value\r\n" lines of what the owner knows to a section of INFO (server, clients,
     * memory, persistence, stats, replication, keyspace); may be NULL. */
    void (*info)(void *self, const char *section, sk_buf *text);
    /* BACKUP CREATE and STATUS; may be NULL. `backup` starts one, or returns an error with a sentence. */
    int (*backup)(void *self, sk_bytes directory, sk_buf *error);
    void (*backup_status)(void *self, struct sk_backup_status *status);
    /* Each local transaction as it commits into the open batch (not yet durable), in the numbers of db.origins: what the
     * simulator's history is made of; may be NULL. */
    void (*audit)(void *self, const sk_txn *txn);
    /* May the store take writes now? False when the disk is nearly full; may be NULL. */
    bool (*writable)(void *self);
} sk_replica_host;

typedef struct {
    uint64_t batch;
    sk_vv vv; /* owned */
    sk_digest digest;
    bool whole; /* every row is in place: the digest is that of the vector */
} sk_sealed;

struct sk_replica {
    sk_db db;
    sk_engine *engine;
    sk_store *store; /* borrowed */
    sk_replica_host host;
    sk_replica_options options; /* strings borrowed */
    char region[SK_REGION_NAME_MAX + 1];
    uint64_t now_ms, wall_ms; /* as of the last event */
    uint64_t started_ms;      /* wall */
    uint64_t random;          /* state of a generator */

    sk_client *clients; /* list; not owned */
    uint64_t next_client_id;
    uint32_t client_count, blocked_count;
    sk_watches watches;

    sk_sealed *sealed; /* owned; batches not yet durable, oldest first */
    uint32_t sealed_count, sealed_room;
    uint64_t last_sealed, durable;
    sk_vv durable_vv; /* owned */
    sk_digest durable_digest;
    bool durable_whole; /* as of sk_sealed */
    uint64_t epoch;   /* moves whenever uncommitted state was lost: replies held across it are void */
    int store_error;  /* not 0: writes are refused until the store works again */
    uint64_t retry_at_ms;
    sk_members members;             /* as the engine's peers follow them */
    sk_retention retention;
    bool has_join_goal;             /* what the peer that we join through had when the link came up */
    sk_vv join_goal;                /* owned */
    bool link_down[SK_MEMBERS_MAX]; /* by an operator, by peer number */
    sk_expiry expiry;
    uint64_t repair_at_ms;          /* monotonic: when damaged rows may be asked for again */
    uint64_t sums_at_ms;            /* monotonic: the next step of the sums */
    uint64_t sums_work;             /* batches and commands until the last one */
    bool hurries;                   /* … is wanted at once: somebody waits for the audit */
    uint64_t fold_at_ms;            /* … of a fold */
    uint32_t fold_rows;             /* put into place in a turn */
    uint64_t fold_debt_us;          /* to be rested for those that were */
    uint64_t fold_batch;            /* not before this is durable */
    size_t fold_bytes;              /* … since then */
    sk_wanted wanted;               /* of them, before others */
    uint64_t worked_us;             /* for transfers, since the engine last asked */
    bool more_to_do;                /* a fold goes on: call turn again soon */
    sk_arena arena; /* a command's */
    sk_cursors cursors; /* scans under way */
    struct sk_import *import;  /* owned; NULL: none */
    const sk_client *importer; /* whose it is */

    uint64_t stat_commands, stat_writes, stat_expired, stat_conflicts_refused;
    bool stopping;
};

/** Opens over a store (which outlives it). `error` gets a sentence. Owned by the caller. */
int sk_replica_new(sk_store *store, const sk_replica_options *options, const sk_replica_host *host, uint64_t now_ms,
                   uint64_t wall_ms, sk_buf *error, sk_replica **replica);
void sk_replica_free(sk_replica *replica);

/** Sets the time before an event. */
void sk_replica_time(sk_replica *replica, uint64_t now_ms, uint64_t wall_ms);
/** The end of a turn of the event loop: expiry, folding, then seals what the turn changed. */
void sk_replica_turn(sk_replica *replica);
/** Puts the open batch, and all before it, to the disk, and waits for that: for what changes more in one turn than memory is
 *  to hold. No transaction is open. An error is in db.failed too. */
int sk_replica_commit(sk_replica *replica);
/** Brings all rows of a transfer into place, as sk_db_touch_all, and commits meanwhile. No transaction is open. 0, or an error. */
int sk_replica_fold_all(sk_replica *replica);
/** Asks the store what is durable now; tells the engine; answers blocked clients. Call when the store wakes the owner,
 *  and at least every sk_replica_next_ms. Afterwards the owner sends every reply whose hold is at most `durable`; if
 *  `epoch` has moved, held replies of an older epoch must be replaced by an error and their connections closed. */
void sk_replica_reap(sk_replica *replica);
/** When the replica wants the next turn and reap (monotonic ms), if nothing happens before. */
uint64_t sk_replica_next_ms(const sk_replica *replica);
/** The batch that a reply must wait for if it rests on everything that is visible now. */
static inline uint64_t sk_replica_newest_batch(const sk_replica *replica)
{
    return replica->last_sealed + (replica->db.dirty || replica->db.failed);
}

/** The wall clock, as far as it is to be believed: one that is ahead of all others shows keys as expired here, but takes
 *  nothing away from anybody. */
static inline uint64_t sk_replica_believed_ms(const sk_replica *replica)
{
    return replica->wall_ms - replica->db.ahead_ms;
}

/** The owner's fine clock; 0 if it has none. */
static inline uint64_t sk_replica_clock_us(const sk_replica *replica)
{
    return replica->host.clock_us ? replica->host.clock_us(replica->host.self) : 0;
}

/* Links: the owner's events go straight to the engine, with the replica's time. */
static inline void sk_replica_link_up(sk_replica *replica, uint32_t peer)
{
    sk_engine_link_up(replica->engine, peer, replica->now_ms, replica->wall_ms);
}
static inline void sk_replica_link_down(sk_replica *replica, uint32_t peer)
{
    sk_engine_link_down(replica->engine, peer, replica->now_ms, replica->wall_ms);
}
static inline void sk_replica_heard(sk_replica *replica, uint32_t peer, bool large)
{
    sk_engine_heard(replica->engine, peer, large, replica->now_ms, replica->wall_ms);
}
static inline void sk_replica_message(sk_replica *replica, uint32_t peer, sk_bytes message)
{
    sk_engine_message(replica->engine, peer, message, replica->now_ms, replica->wall_ms);
}
static inline void sk_replica_writable(sk_replica *replica, uint32_t peer)
{
    sk_engine_writable(replica->engine, peer, replica->now_ms, replica->wall_ms);
}

/** Begins an import for a client; only one at a time, and not while a transfer comes in: SK_E_BUSY. */
int sk_replica_import(sk_replica *replica, const sk_client *client);
/** Ends the import, if there is one, and drops what it brought. */
void sk_replica_import_abort(sk_replica *replica);
/** Appends a sentence about how far a new database has come; nothing if it is complete (replica->db.joining). */
void sk_replica_join_progress(const sk_replica *replica, sk_buf *text);
/** The peer's number in the engine, or -1. */
int sk_replica_peer(const sk_replica *replica, sk_bytes region);
/** How many other regions have other rows than this one at the same vector. */
uint32_t sk_replica_drifts(const sk_replica *replica);
/** What the audit has found, in a word: as sk_audit_text, or "drift". */
const char *sk_replica_audit_text(const sk_replica *replica);
/** Forgets some of the history, as sk_db_forget_some. */
void sk_replica_forget(sk_replica *replica, const sk_vv *stable, const sk_vv *everywhere);
/** What the engine asks of it (node/replica_host.c). */
sk_engine_host sk_replica_engine_host(sk_replica *replica);
/** Random bits from the replica's seeded generator. */
uint64_t sk_replica_random(sk_replica *replica);

#endif
