/* What must be where: a formula over the history of operations, not a second implementation.
 *
 * Every local transaction is recorded as it commits, in canonical origin numbers (one table for the whole run). For a
 * vector V the state of a row is then
 *
 *   a value, membership or deadline of dot d is there    iff d <= V and no operation e <= V on the row removed it
 *   origin o's share of a sum is                         the increments of o at dots <= V that no e <= V has reset
 *
 * where an operation removes (resets) what its `seen` vector covers if it forgets that class, and what it lists. Which
 * operations removed an entry never changes, so it is worked out when they are recorded: for each entry a short list of
 * the earliest ones (an operation that had seen another remover adds nothing).
 *
 * A transaction that a crash voided before it was durable never happened. Its dot may be used again, for other content;
 * the history notices then, and drops the old tail. */
#ifndef SK_TESTS_SIM_ORACLE_H
#define SK_TESTS_SIM_ORACLE_H

#include "crdt/op.h"

typedef struct sim_txn sim_txn;

typedef struct {
    sim_txn *txn;
    uint32_t row;
    bool has_content, has_deadline;
    bool forgets_content, forgets_deadlines;
    sk_entry content, deadline; /* dot and origin canonical; the value is owned */
    sk_number delta;            /* a count: what this operation added */
    sk_dot *removers[2];        /* owned; by class: the earliest operations that removed what this one added */
    uint32_t remover_count[2];
} sim_op;

struct sim_txn {
    sk_dot dot;
    sk_hlc hlc;
    uint64_t uid; /* never given twice */
    sk_vv seen;   /* owned; canonical */
    sim_op *ops;  /* owned */
    uint32_t op_count;
};

typedef struct {
    char region[SK_REGION_NAME_MAX + 1];
    uint64_t incarnation;
    sim_txn **txns; /* owned; index = seq - 1 */
    uint64_t count, room;
    uint64_t acked; /* the highest seq that a client was told of */
    bool excused;   /* its region lost its disk, or part of it: what was acknowledged may be gone with it */
} sim_origin;

typedef struct {
    sk_bytes raw; /* owned */
    sim_op **ops; /* owned array; in the order of recording */
    uint32_t count, room;
    uint64_t mark; /* scratch of whoever goes over all rows */
} sim_row;

typedef struct {
    sim_origin *origins; /* owned */
    uint32_t origin_count;
    sim_row *rows; /* owned */
    uint32_t row_count, row_room;
    uint32_t *index; /* owned; open addressing: row + 1 */
    uint32_t index_size;
    uint64_t next_uid, marks;
    uint64_t reused; /* dots used again after a crash voided them */
    char error[200]; /* not empty: what was recorded cannot be */
} sim_oracle;

void sim_oracle_free(sim_oracle *oracle);
/** The canonical number of an origin. */
uint32_t sim_oracle_origin(sim_oracle *oracle, const sk_origin *origin);
/** Records a local transaction; `map` has the canonical number of each of the node's origins. Sets `error` when it
 *  breaks a rule by itself: a gap in its origin's sequence, a dependency that does not exist, a dot that was
 * acknowledged before, a reset of what it had not seen. */
const sim_txn *sim_oracle_record(sim_oracle *oracle, const sk_txn *txn, const uint32_t *map, uint32_t map_count);
/** The row of that key, or NULL. */
sim_row *sim_oracle_row(sim_oracle *oracle, sk_bytes raw);

/* What one row must hold. Entries as in a stored row, in canonical numbers, dead counts left out; at most
 * SIM_ENTRIES_MAX. */
enum { SIM_ENTRIES_MAX = 512 };
typedef struct {
    sk_entry entries[SIM_ENTRIES_MAX]; /* values borrowed from the oracle */
    sk_sum share[SIM_ENTRIES_MAX];     /* of a count: the sum of its increments that stand, added up one by one */
    uint32_t count;
} sim_expected;

void sim_oracle_expect(const sim_row *row, const sk_vv *vv, sim_expected *out);
/** Is every transaction that V covers recorded, and everything that those had seen covered? NULL, or what is wrong. */
const char *sim_oracle_closed(const sim_oracle *oracle, const sk_vv *vv);
/** Names the transactions that V covers: equal for two vectors exactly when they cover the same ones. */
uint64_t sim_oracle_name(const sim_oracle *oracle, const sk_vv *vv);
static inline const sim_txn *sim_oracle_txn(const sim_oracle *oracle, sk_dot dot)
{
    if (dot.origin >= oracle->origin_count || dot.seq == 0 || dot.seq > oracle->origins[dot.origin].count) return NULL;
    return oracle->origins[dot.origin].txns[dot.seq - 1];
}

#endif
