/* The database of one region: rows, what is derived from them, the version vector, the history.
 *
 * It binds the rules of crdt/ to a store. Everything it changes goes into the store's open batch and is visible at once
 * to its own reads; sk_db_seal closes the batch. One turn of the event loop is one batch; a transaction never spans two.
 *
 * Invariants (sk_db_check):
 *  1. A batch holds rows, history, vector and sums of the same transactions: what the disk has is always one moment.
 *  2. History: for every causally closed vector W at or above the floor, the rows that differ between W and ours are
 *     among the row keys recorded at dots above W. (Entries of dots that were replaced since may linger until they are
 *     forgotten: they cost a look, never a wrong answer.)
 *  3. `digest` is the sum over all rows of sk_row_digest; `keys`, `conflicts` count what they say.
 *     `sums` has the same by ranges, as far as it has been worked out since the start.
 *     `kept` is about what the history above the floor takes, in bytes of keys and values: exact where all of it was put
 *     here and none is forgotten, and once all is. In between what goes is taken to be its even share, and what came
 *     both with a transfer and live counts twice.
 *  4. What is derived (sizes in a key's own row, the deadline and conflict indexes) is a function of the rows.
 *  While a transfer is being folded in (node/fold.h) 2 to 4 hold for the rows already folded; whoever looks at a key
 *  calls sk_db_touch first, whoever looks at all of them sk_db_touch_all: for commands and what regions send node/wanted.h does. */
#ifndef SK_NODE_DB_H
#define SK_NODE_DB_H

#include "crdt/op.h"
#include "crdt/register_mv.h"
#include "crdt/rowkey.h"
#include "node/audit.h"
#include "node/history.h"
#include "node/quarantine.h"
#include "node/sums.h"
#include "storage/store.h"

typedef struct sk_db sk_db;

typedef enum { SK_POLICY_SIBLINGS, SK_POLICY_NEWEST } sk_policy;

/* A policy in force, longest prefix first. */
typedef struct {
    sk_bytes prefix; /* owned by the database */
    sk_policy policy;
} sk_policy_rule;

typedef struct {
    const char *region, *cluster;
    sk_bytes life;        /* what tells this life of the data directory from a copy of it or a restored one */
    uint64_t incarnation; /* used if a new one must be taken (sk_incarnation_make, as a break) */
    bool joins;           /* if it is made anew, it is not complete before sk_db_joined */
} sk_db_identity;

/* One row that the open transaction has touched. */
typedef struct sk_touched sk_touched;

typedef struct {
    bool active;
    sk_dot dot;
    sk_hlc hlc;
    sk_vv seen; /* owned */
    sk_vv told; /* owned: what sk_db_vector gave, where that has the dot; else empty */
    sk_touched *touched; /* owned array */
    uint32_t count, room;
    uint32_t *index; /* owned; open addressing over touched, used when there are many */
    uint32_t index_size;
    size_t bytes;  /* packed size of its operations, at most */
    int refused;   /* not 0: abort it. SK_E_LIMIT: it has become larger than a transaction may; else what kept a command
                    * from being carried out whole */
    bool resized;  /* it added or removed members: the sizes in rows that it touched before are old */
    sk_arena arena;
    sk_buf ops; /* scratch: its operations, packed when it commits */
} sk_open_txn;

struct sk_fold;

struct sk_db {
    sk_store *store; /* borrowed */
    char region[SK_REGION_NAME_MAX + 1];
    sk_origins origins;
    uint32_t own; /* our current origin */
    sk_vv vv;     /* applied: the node clock */
    sk_vv floor;  /* history at or below may be gone */
    sk_vv kept;   /* bytes of history above the floor, by origin */
    sk_hlc clock;
    uint64_t wall_ms;  /* set by the owner before each event */
    uint64_t ahead_ms; /* how much of it is not to be believed: stamps are made without (gossip/clock.h) */
    sk_digest digest;
    sk_sums sums;
    sk_audit audit;
    sk_quarantine quarantine;
    uint64_t sealed; /* number of the last batch that was sealed: the open one has a higher */
    uint64_t keys, conflicts;
    uint64_t rest; /* the sum over all rows of sk_row_rest */
    sk_policy_rule *rules; /* owned */
    uint32_t rule_count;
    uint64_t rules_batch;  /* the last that they may rest on */
    sk_open_txn txn;
    sk_history_page page; /* the open batch's, not yet put into it */
    size_t transaction_max; /* bytes of a local transaction, packed; 0: no limit. Set by the owner */
    struct sk_fold *fold;  /* owned; NULL while no transfer is staged or being folded in */
    sk_vv scan_until;      /* history up to here may hold flags that this process has not counted */
    uint64_t dead_flags;   /* history entries flagged as leaving dead counts, counted since the start */
    uint64_t read_batch;   /* the highest uncommitted batch that a read rested on, since it was last zeroed */
    int failed;            /* not 0: a read or write went wrong half-way; nothing more is sealed until sk_db_reload */
    bool dirty;            /* the open batch has something */
    bool rules_stale;
    bool members_stale;    /* a row of the members' table has changed; cleared by the owner */
    bool revisit;          /* history at or below the floor is to be gone through: sk_db_revisit */
    bool revisit_waits;    /* some of it waits until a reset is everywhere… */
    sk_vv revisit_by;      /* …which was so, when it was last begun to be gone through, of those up to here */
    sk_buf revisit_from;   /* where that goes on */
    bool joining;          /* it was made to join a cluster, and does not hold all of it yet */
    sk_buf pack;           /* scratch */
    sk_arena scratch;      /* reset by each outermost call that uses it */
    sk_arena sizes;        /* likewise, while the sizes in a key's own row follow its members */
    /* Hooks of the owner; any may be NULL. */
    void *self;
    void (*on_local)(void *self, const sk_txn *txn); /* a local transaction commits into the open batch */
    void (*on_change)(void *self, sk_bytes key);     /* a row of this client key is another now */
    /* May a database that is no member now come to be one, with more of this origin than the members have? */
    bool (*may_return)(void *self, uint32_t origin);
};

/** Opens over a store; creates what a new database needs (and seals it: the caller waits for durability before it
 *  serves). Takes a new incarnation when `life` is not the one it was last opened with. `error` gets a sentence.
 *  SK_E_REGION for another region's or cluster's database, SK_E_CORRUPT, SK_E_FORMAT, SK_E_IO. Owned by the caller. */
int sk_db_open(sk_db *db, sk_store *store, const sk_db_identity *identity, sk_buf *error);
void sk_db_close(sk_db *db);
/** After sk_store_reopen: everything in memory anew from what the disk has. On error nothing changed. */
int sk_db_reload(sk_db *db);
/** It holds what the cluster held when it joined: noted with the open batch. */
void sk_db_joined(sk_db *db);
/** Takes a new incarnation from here on; the old origin is then just another one. */
int sk_db_new_incarnation(sk_db *db, uint64_t incarnation);
/** The number of an origin, recorded if it is new. */
int sk_db_intern(sk_db *db, sk_bytes region, uint64_t incarnation, uint32_t *origin);
/** Adds vector and sums to the open batch and seals it. Returns its number. */
uint64_t sk_db_seal(sk_db *db);

/* -- rows -------------------------------------------------------------------------------------------------------------- */

/** The row as it stands, empty if there is none. Everything in the arena. SK_E_IO, SK_E_CORRUPT, SK_E_MEMORY (also of a name
 *  that did not fit: data NULL). */
int sk_db_row(sk_db *db, sk_bytes raw, sk_arena *arena, sk_row *row);
/** The same, where one that makes no sense (it cannot be read, or has entries of transactions beyond our vector; node/sums.h) counts as
 *  none: the digest, which goes on with what that row had been, says that the database is damaged. SK_E_CORRUPT: the store cannot
 *  read. */
int sk_db_row_sensible(sk_db *db, sk_bytes raw, sk_arena *arena, sk_row *row, bool *sense);
/** A stored row; values point into `value`. SK_E_CORRUPT also for an origin that was never interned. */
int sk_db_row_read(const sk_db *db, sk_bytes value, sk_arena *arena, sk_row *row);
/** Where sk_db_row says SK_E_CORRUPT: is there a row, so that it is this one that makes no sense, or can the store not read? */
bool sk_db_row_is_there(sk_db *db, sk_bytes raw);
/** A hint that the row will be asked for soon (sk_store_fetch). */
void sk_db_fetch(sk_db *db, sk_table table, sk_bytes key, sk_bytes member);
/** A parsed row key with its packed form. */
typedef struct {
    sk_rowkey key;
    sk_bytes raw;
} sk_row_name;
/** Packs a row key into the arena. data is NULL if it did not fit. */
sk_row_name sk_row_name_of(sk_arena *arena, sk_table table, sk_bytes key, sk_bytes member);
/** Replaces a row and brings everything derived from it up to date. `old` is what sk_db_row gave. */
int sk_db_row_put(sk_db *db, const sk_row_name *name, const sk_row *old, const sk_row *new);
/** The same of a row that becomes what was committed: what all rows should come to stays. */
int sk_db_row_mend(sk_db *db, const sk_row_name *name, const sk_row *old, const sk_row *new);

/** A key is there if its register has content or its hash or set has members. */
static inline bool sk_key_row_exists(const sk_row *row)
{
    return row->fields || row->members || sk_row_live(row, SK_CLASS_CONTENT);
}

/* -- local transactions ------------------------------------------------------------------------------------------------- */

/** Opens a transaction; until commit every change belongs to it. */
void sk_db_begin(sk_db *db);
/** Applies one operation to a row; op->key is set from `name`. The operation was made from the row as it stands now.
 *  The bytes it borrows are copied. `known`: that row, where the caller has just read it (its sizes may be older); NULL:
 *  it is read once more.
 *  SK_E_LIMIT: with it the transaction would be larger than `transaction_max` (or the rows that it touches than a small
 *  multiple of that in memory); it must be aborted, and every further change answers the same. Other errors leave
 *  `failed` set: the batch must not be sealed. */
int sk_db_change(sk_db *db, const sk_row_name *name, const sk_row *known, const sk_op *op);
/** The dot that the open transaction will have. */
static inline sk_dot sk_db_next_dot(const sk_db *db)
{
    return (sk_dot){db->own, sk_vv_get(&db->vv, db->own) + 1};
}
/** Has the open transaction, if there is one, changed anything by now? */
bool sk_db_amid_changes(const sk_db *db);
/** Our vector, with the open transaction where that has changed anything by now: what a client is told to have seen. Once it
 *  was told, the transaction keeps its dot, even if what follows makes nothing of it. Borrowed until the next call. */
const sk_vv *sk_db_vector(sk_db *db);
/** What a transaction of at most so many packed bytes may take in memory while it is made: the rows that it touches are held
 *  as they were and as they become, and a value that it changes again and again in each of its states. */
#define SK_TRANSACTION_MEMORY(bytes) (16 * (size_t)(bytes) + 1024 * 1024)
/** Could the open transaction take operations of so many packed bytes more, and in memory the row of one of them? */
bool sk_db_has_room(const sk_db *db, size_t bytes);
/** Closes it: every row is again as it was before sk_db_begin. */
void sk_db_abort(sk_db *db);
/** Closes it. Returns its seq, or 0 if it changed nothing. */
uint64_t sk_db_commit(sk_db *db);

/* -- remote transactions and forgetting ----------------------------------------------------------------------------------- */

/** Applies a transaction whose dependencies are met: all of it or, on error, nothing. */
int sk_db_apply(sk_db *db, const sk_txn *txn);
/** Forgets history up to `stable`, raises the floor to it, and strips the dead counts that it speaks of whose resets are
 *  `everywhere`. What speaks of other dead counts, and of those of origins that may return, stays in the history, below
 *  the floor. */
void sk_db_forget(sk_db *db, const sk_vv *stable, const sk_vv *everywhere);
/** The same, but where history has to be read for it about so many entries. 1: there is more to forget, 0: that was all, or
 *  it has to wait; errors in db->failed. */
int sk_db_forget_some(sk_db *db, const sk_vv *stable, const sk_vv *everywhere, uint32_t entries);
/** The same up to the floor of the sender of a transfer that has come in; no dead counts are stripped. For node/fold.c. 1: there
 *  is more, 0: that was all; or an error (also in db->failed). */
int sk_db_forget_inherited(sk_db *db, const sk_vv *floor, uint32_t entries);
/** About how many bytes of history there are above the floor that `has` (NULL: nothing) does not cover. */
uint64_t sk_db_kept(const sk_db *db, const sk_vv *has);
/** Looks again at about so many entries of what stayed. 1: at more later, 0: done for now; or an error (also in
 *  db->failed). */
int sk_db_revisit(sk_db *db, const sk_vv *everywhere, uint32_t entries);
/** All that stayed is to be looked at again: what may return has changed, or there is more that stays. */
void sk_db_revisit_anew(sk_db *db);
/** Records that a row changed at a dot of a transaction that is being applied. Its bytes are added to db->kept when its page
 *  is full, or the batch. */
void sk_db_history_put(sk_db *db, sk_dot dot, sk_bytes raw, unsigned flags);
/** The same at a dot above our vector that a transfer has brought; its bytes are added to `kept`. */
void sk_db_history_stage(sk_db *db, sk_dot dot, sk_bytes raw, unsigned flags, sk_vv *kept);
/** Puts an entry as it is to stand there, in a record of its own, and counts nothing. No page may have its dot. */
void sk_db_history_single(sk_db *db, sk_dot dot, sk_bytes raw, unsigned flags);
/** Records that a row has a dead count that was reset at a dot: what a repair brings, whose transaction had not met it here.
 *  Errors of the store. */
int sk_db_history_record_dead(sk_db *db, sk_dot dot, sk_bytes raw);
/** Puts the page that is being made into the batch: before the history is read, and at the batch's end. */
void sk_db_history_flush(sk_db *db);
/** Does the history name this row at this dot? 1 and its flags, 0, or an error: SK_E_CORRUPT for one that is not what was put. */
int sk_db_history_find(sk_db *db, sk_dot dot, sk_bytes raw, unsigned *flags);
/** Begins the history anew: what a person, or sums, found damaged. The floor rises to the whole vector; what speaks of dead
 *  counts stays, all else is to go then: sk_db_history_clear, of each record. A transfer that is still staged is dropped.
 *  SK_E_BUSY while one is folded in. */
int sk_db_history_renew(sk_db *db);
void sk_db_history_clear(sk_db *db, sk_bytes key, sk_bytes value);
/** Adds the rows that the history names above a vector, which is at or above the floor, and sorts the list; to `removed` (may be
 *  NULL) those that it names with SK_HISTORY_REMOVES. About `entries` of it, in whole records; the vector rises above them.
 *  1: there are more, 0: it is our own vector now; or an error. */
int sk_db_history_rows(sk_db *db, sk_vv *above, sk_row_keys *rows, sk_row_keys *removed, uint32_t entries);
/** Does any record say that this row has a dead count? It goes through the whole history: for checks. */
bool sk_db_history_speaks(sk_db *db, sk_bytes raw);
/** Reads the vector and floor that a snapshot holds. */
int sk_db_snapshot_state(sk_db *db, sk_store_snapshot *snapshot, sk_vv *vv, sk_vv *floor);

/** Reads the digest that a snapshot holds. */
int sk_db_snapshot_digest(sk_db *db, sk_store_snapshot *snapshot, sk_digest *digest);

/* -- policies --------------------------------------------------------------------------------------------------------------- */

enum { SK_POLICIES_MAX = 1024 };
/** The policy for a client key: of the longest prefix that has one; SIBLINGS if none has. */
sk_policy sk_db_policy(sk_db *db, sk_bytes key);

/* -- iteration -------------------------------------------------------------------------------------------------------------- */

/** Calls `visit` for every row whose raw key begins with `prefix` and is at or above `from` (data NULL: the first); it
 *  returns 0 to go on, 1 to stop. What it is given is borrowed for the call. Returns visit's last answer, or an error.
 *  Changing rows while iterating is allowed: the iteration sees the state of its beginning. */
typedef int sk_visit(void *self, sk_bytes raw, const sk_row *row);
int sk_db_each(sk_db *db, sk_bytes prefix, sk_bytes from, sk_visit *visit, void *self);
/** The same over the derived index whose entries begin with `prefix`, key only (row is NULL). */
int sk_db_each_derived(sk_db *db, sk_bytes prefix, sk_bytes from, sk_visit *visit, void *self);
enum { SK_INDEX_DEADLINE = 'x', SK_INDEX_CONFLICT = 'c', SK_INDEX_DEADLINE_BYTES = 9 };

/** The whole state anew from the rows; asserts that sums and indexes agree. For tests and the simulator. */
void sk_db_check(sk_db *db);

#endif
