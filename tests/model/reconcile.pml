/* Reconcile (tier 3): node 1 is below the floor of node 0, and gets only what differs.
 *
 * Node 0 pushes the rows with something above what node 1 asked with, and its history. Then node 1 asks, range by range,
 * and both compare what is left: rows that were not pushed, and of node 1's the entries that the snapshot's vector covers.
 * Here a range is both rows or one, and its sum the set of its entries. While this goes on node 1 writes, but applies no
 * live transaction that the snapshot's vector covers: it would add what node 0 may have removed and forgotten, maybe in a
 * range that has been compared. For the same reason one that is applied while an interrupted reconcile waits to be resumed
 * ends it.
 *
 *   right: TWO_SENDERS                      node 2 reconciles node 1 too
 *   right: THIRD_WRITES                     node 2 writes what may be new to node 1 and old to node 0
 *   right: PASSES_ON                        the same, and node 2 learns from node 1
 *
 *   wrong: THIRD_WRITES LIVE_DURING         live transactions that the transfer covers are applied while it comes in
 *   wrong: THIRD_WRITES LIVE_IN_PAUSE       they are applied while an interrupted one waits, and it is resumed all the same
 *   wrong: TWO_SENDERS CURSOR_ALONE         what was compared is not brought forward when it is resumed
 *   wrong: TWO_SENDERS CURSOR_AHEAD         the cursor goes past a range that is open
 *   wrong: TWO_SENDERS RETENTION_CROSSED    it is resumed though the history since has been forgotten
 *   wrong: TWO_SENDERS STAGED_COUNTED       rows that are staged are compared once more
 *   wrong: TWO_SENDERS ABSENT_KEPT     rows that the sender does not have stay
 *   wrong: TWO_SENDERS NOTHING_COMPARED     only what is new is pushed
 *   wrong: PASSES_ON FLOOR_NOT_INHERITED    the receiver keeps its own floor
 *   wrong: TWO_SENDERS JOINED_CLOCK         rows are merged against the vector after the join */
#define ORIGINS 3
#define SEQS 2
#ifdef TWO_SENDERS
#define LIMITS 2, 1, 0
#endif
#ifdef THIRD_WRITES
#define LIMITS 1, 1, 1
#endif
#ifdef PASSES_ON
#define LIMITS 2, 0, 1
#endif
mtype = { bringing, pushing, history, comparing, done };

#ifdef LIVE_DURING
#define HOLDS(n, x) 0
#else
#define HOLDS(n, x) ((n) == 1 && from != NOBODY && has(fold_vv, x))
#endif
#include "fold.inc"

bit pushed[2]; /* what the sender has pushed in this session */

inline before_taking(n, x)
{
    if
#ifndef LIVE_IN_PAUSE
    :: n == 1 && phase == staging && from == NOBODY && has(fold_vv, x) -> abandon()
#endif
    :: else
    fi
}

#ifdef RETENTION_CROSSED
#define kept(a) 1
#else
#define kept(a) within(floor[a], low)
#endif

inline open(a)
{
    d_step {
        from == NOBODY && phase != folding && !within(vv[a], vv[1]) && !within(floor[a], vv[1]);
        resumed = phase == staging && within(fold_vv, vv[a]) && kept(a);
        printf("node 1: a reconcile with %d %e\n", a, (resumed -> resumes : begins));
        stage = bringing;
        if
        :: !resumed -> abandon(); low = vv[a]
        :: else ->
#ifdef CURSOR_ALONE
            low = vv[a]
#endif
        fi;
        take_snapshot(a);
        judge_node(1)
    }
}

/* First what is below the cursor, for its rows may have changed since; then what node 1 has not seen; then the history. */
inline push()
{
    d_step {
        stage == bringing || stage == pushing || stage == history;
        if
        :: stage == bringing && at < 2 ->
            if
            :: (at < cursor || is_staged[at]) && (snap_hist & touch[at] & ~low) -> stage_entries(at, snap_live & touch[at]); pushed[at] = 1
            :: else
            fi;
            at++
        :: stage == bringing && at == 2 -> stage = pushing; at = 0; low = fold_vv
        :: stage == pushing && at < 2 ->
            if
            :: (snap_live | snap_hist) & touch[at] & ~asked -> stage_entries(at, snap_live & touch[at]); pushed[at] = 1
            :: else
            fi;
            at++
        :: stage == pushing && at == 2 -> stage = history
        :: stage == history ->
            hist[1] = hist[1] | (snap_hist & ~asked & ~vv[1] & REMOVALS);
#ifdef NOTHING_COMPARED
            stage = done
#else
            stage = comparing
#endif
        fi;
        judge_node(1)
    }
}

#ifdef STAGED_COUNTED
#define ours(row) (live[1] & touch[row] & fold_vv)
#else
#define ours(row) (is_staged[row] -> 0 : (live[1] & touch[row] & fold_vv))
#endif
#define theirs(row) (pushed[row] -> 0 : (snap_live & touch[row]))

/* ASK and SAME over all that is open. */
inline ask_all()
{
    d_step {
        stage == comparing && cursor == 0 && ours(0) == theirs(0) && ours(1) == theirs(1);
        cursor = 2;
        stage = done;
        printf("node 1: all is the same\n")
    }
}

/* ASK of one row; LIST and UNLIKE where it differs. */
inline ask()
{
    d_step {
        stage == comparing;
        if
        :: cursor == 2 -> stage = done
        :: cursor < 2 ->
            if
            :: ours(cursor) != theirs(cursor) ->
#ifdef ABSENT_KEPT
                if
                :: theirs(cursor) -> stage_entries(cursor, theirs(cursor))
                :: else
                fi
#else
                stage_entries(cursor, theirs(cursor))
#endif
            :: else
            fi;
#ifdef CURSOR_AHEAD
            cursor = 2
#else
            cursor++
#endif
        fi;
        judge_node(1)
    }
}

inline cut_off()
{
    d_step {
        from != NOBODY;
        close();
        pushed[0] = 0;
        pushed[1] = 0;
        printf("node 1: the reconcile is cut\n")
    }
}

inline end_it()
{
    d_step {
        stage == done;
        close();
        pushed[0] = 0;
        pushed[1] = 0;
        phase = folding;
        known = vv[1];
        vv[1] = vv[1] | fold_vv;
        printf("node 1: the reconcile ends, its rows count\n");
        judge_node(1)
    }
}

active proctype model()
{
    do
    :: write(0, 0, 1) :: write(0, 0, 0) :: write(0, 1, 1) :: write(0, 1, 0)
    :: write(1, 0, 1) :: write(1, 0, 0) :: write(1, 1, 1) :: write(1, 1, 0)
    :: write(2, 0, 1) :: write(2, 0, 0)
    :: deliver_any(0, 1) :: deliver_any(0, 2) :: deliver_any(1, 0)
    :: deliver_any(1, 2) :: deliver_any(2, 0) :: deliver_any(2, 1)
    :: open(0) :: push() :: ask_all() :: ask() :: cut_off() :: end_it() :: fold_step(1)
    :: forget(0)
#ifdef TWO_SENDERS
    :: open(2) :: forget(2)
#endif
#ifdef PASSES_ON
    :: transfer_whole(1)
#endif
    :: else -> break
    od
}
