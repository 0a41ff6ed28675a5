/* Catch-up (tier 2), transfers of everything (tier 3 to an empty node), and the floor, while all nodes write, apply live
 * transactions and forget. A transfer may be cut at any point, and is resumed from the same sender or another.
 *
 *   right: PASSES_ON                        node 2 learns from node 1 what that one learned by transfers
 *   right: SECOND_SENDER                    node 2 sends too
 *
 *   wrong: PASSES_ON CLOCK_EARLY            the vector is joined when a transfer begins
 *   wrong: PASSES_ON ROWS_AT_ONCE           rows become visible as they come
 *   wrong: PASSES_ON JOINED_CLOCK           rows are merged against the vector after the join
 *   wrong: PASSES_ON CURSOR_ALONE           the cursor survives an interruption, the vector that goes with it does not
 *   wrong: PASSES_ON RETENTION_CROSSED      a transfer is resumed though the history since has been forgotten
 *   wrong: SECOND_SENDER OLDER_RESUMED      it is resumed from a sender that is behind what is staged
 *   wrong: PASSES_ON WRITE_UNFOLDED         a row is written before it is folded
 *   wrong: PASSES_ON SENT_UNFOLDED          a node sends rows that are not folded yet
 *   wrong: PASSES_ON FLOOR_IGNORED          a peer below the floor is sent only what changed
 *   wrong: PASSES_ON FLOOR_NOT_INHERITED    the receiver of everything keeps its own floor
 *   wrong: PASSES_ON NO_REMOVALS            a transfer brings no history of removals
 *   wrong: PASSES_ON ABSENT_KEPT            rows that the sender of everything does not have stay */
#define ORIGINS 3
#define SEQS 2
#define LIMITS 2, 1, 0
mtype = { bringing, rows, history, done };
#define HOLDS(n, x) 0
inline before_taking(n, x) { skip }
#include "fold.inc"

#ifdef RETENTION_CROSSED
#define kept(a) 1
#else
#define kept(a) within(floor[a], low)
#endif
#ifdef OLDER_RESUMED
#define older(a) 0
#else
#define older(a) (!within(fold_vv, vv[a]))
#endif

/* OFFER, REQUEST, BEGIN. Resumed: rows below the cursor are brought forward from `low`. */
inline open(a)
{
    d_step {
        from == NOBODY && phase != folding && !within(vv[a], vv[1]);
        all = !above_floor(a, 1);
        resumed = phase == staging && everything == all && within(low, vv[a]) && kept(a);
        printf("node 1: a transfer of %e from %d %e\n", (all -> all_rows : changed_rows), a,
               (resumed -> resumes : begins));
        if
        :: resumed && older(a) -> abandon() /* and the next one begins anew */
        :: else ->
            if
            :: !resumed -> abandon(); low = vv[a]; stage = rows
            :: else ->
                stage = bringing;
#ifdef CURSOR_ALONE
                low = vv[a]
#endif
            fi;
            take_snapshot(a);
            everything = all;
#ifdef CLOCK_EARLY
            vv[1] = vv[1] | vv[a];
#endif
        fi;
        judge_node(1)
    }
}

inline stage_row(row)
{
    stage_entries(row, snap_live & touch[row]);
    if
    :: row >= cursor -> cursor = row + 1; low = fold_vv
    :: else
    fi;
#ifdef ROWS_AT_ONCE
    live[1] = (live[1] & ~touch[row]) | merge(staged[row], fold_vv, live[1] & touch[row], vv[1]);
#endif
    skip
}

/* One row, or the history: the sender reads it from its snapshot, node 1 stages it. */
inline chunk()
{
    d_step {
        from != NOBODY && stage != done;
        if
        :: stage == bringing && at < cursor ->
            if
            :: snap_hist & touch[at] & ~low -> stage_row(at)
            :: else
            fi;
            at++
        :: stage == bringing && at == cursor -> stage = rows
        :: stage == rows && at < 2 ->
            if
            :: (everything -> (snap_live & touch[at]) : (snap_hist & touch[at] & ~asked)) -> stage_row(at)
            :: else
            fi;
            at++
        :: stage == rows && at == 2 -> stage = history
        :: stage == history ->
            hist[1] = hist[1] | (snap_hist & ~asked & ~vv[1] & REMOVALS);
            stage = done
        fi;
        judge_node(1)
    }
}

active proctype model()
{
    do
    :: write(0, 0, 1) :: write(0, 0, 0) :: write(0, 1, 1) :: write(0, 1, 0)
    :: write(1, 0, 1) :: write(1, 0, 0) :: write(1, 1, 1) :: write(1, 1, 0)
    :: deliver_any(0, 1) :: deliver_any(0, 2) :: deliver_any(1, 0)
    :: deliver_any(1, 2) :: deliver_any(2, 0) :: deliver_any(2, 1)
    :: open(0) :: chunk() :: cut() :: end() :: fold_step(everything)
    :: transfer_whole(0) :: forget(0)
#ifdef SECOND_SENDER
    :: open(2) :: forget(2)
#else
    :: transfer_whole(1) :: forget(1)
#endif
    :: else -> break
    od
}
