/* What may be forgotten (gossip/stability.c, gossip/status.c): terms, views, two phases; told by a counter.
 *
 * Node 0 adds to a counter, the others reset it. A reset that has taken all of an entry leaves it dead, and the dead entry
 * is stripped when the reset is forgotten: from then on an increment from before the reset would count as new. Nodes tell
 * each other what they have, in which term, and what they know of the third. The counter's rules are those of
 * crdt/count.h, crdt/op.c and sk_row_merge. All that a node applies is durable here: live.pml is about the rest.
 *
 * The oracle knows who saw what: what counts at a node are the increments that its vector covers and no reset that it
 * covers has seen. And a node forgets nothing that a member lacks, in the life that the node knows of it.
 *
 *   right: TWO_RESETS                       both other nodes reset, nobody comes back with less
 *   right: RESTORE                          node 0 comes back once as an old copy, in a new life
 *   right: LEAVE                            node 0 is forgotten while it is away with an increment of its own, and added again
 *
 *   wrong: TWO_RESETS WITHOUT_ABSENT        forgetting does not ask what others have
 *   wrong: TWO_RESETS WITHOUT_NEED          it does not wait for what members had when they acknowledged
 *   wrong: TWO_RESETS RELAYED_COUNT         who sends a transaction of another's counts as having it, before it said what else it has
 *   wrong: TWO_RESETS SEEN_NOT_COUNTED      what an own transaction has seen is not acknowledged with it
 *   wrong: TWO_RESETS RETENTION_STRIPS      dead entries go with history that is cut before it is stable
 *   wrong: TWO_RESETS BASE_LOST             the merge of two entries does not join their bases
 *   wrong: RESTORE WITHOUT_VIEWS            acknowledgements count whatever lives their sender knew of
 *   wrong: RESTORE EARLIER_LIVES            what an earlier life acknowledged counts for the next
 *   wrong: RESTORE OLD_WORDS                words of an earlier life count where they say more than those of the present
 *   wrong: RESTORE OLD_LINK                 a view counts while the link still brings words of another life
 *   wrong: LEAVE FORGOTTEN_STRIPPED         dead entries of a region that was forgotten are stripped */
#define NODES 3
#define INCREMENTS 2
#define DOTS (INCREMENTS + 3) /* increments of node 0's first life, then one reset of each node */
#define reset_of(n) (INCREMENTS + (n))
#define dot(d) (1 << (d))
#define has(set, d) (((set) >> (d)) & 1)
#define within(a, b) (!((a) & ~(b)))
#define at(n, m) ((n) * NODES + (m))

/* What is written. Of an increment the epoch and base that it carries, of a reset the entry that it saw. */
byte seen[DOTS], epoch_of[DOTS], base_of[DOTS];

/* What a node has: its vector, and the counter's entry of node 0 (seq 0: none). Each increment adds 1. */
byte vv[NODES], seq[NODES], epoch[NODES], base[NODES], by[NODES];

/* What a node knows of members (sk_peer): acknowledged, the term (here: life) of node 0, views. */
byte acked[9];
byte term[NODES] = 1;
byte view_of[9] = 1;

/* Forgetting (gossip/stability.c). */
byte stable[NODES], everywhere[NODES], next[NODES], need[NODES];
bit waits[NODES];

/* Links with node 0: which of its lives the link is with. 0: down. */
byte life[NODES] = 1;
byte the_life = 1; /* of node 0 now */

#ifdef RESTORE
bit copied;
byte copy_vv, copy_seq, copy_epoch, copy_base, copy_by;
byte old_vv; /* what the first life had when it ended, still on its way on links that are not closed */
#endif
#ifdef LEAVE
mtype = { forgets, adds }; /* words for traces */
byte roster[NODES]; /* 0: node 0 is a member; 1: forgotten; 2: added again */
byte roster_of[DOTS]; /* as who wrote it had it: it is state like any other, and a transaction comes after what it saw */
#define is_member(n, m) (!((m) == 0 && roster[n] == 1))
#else
#define is_member(n, m) 1
#endif

hidden byte d, i, count, gone, s_seq, s_epoch, s_base, s_by, s_kept, r_kept, meet, all, v;

#define is_live(n) (seq[n] != 0 && base[n] != seq[n])

/* -- the oracle -------------------------------------------------------------------------------------------------------- */

inline judge(n)
{
    gone = 0;
    count = 0;
    i = INCREMENTS;
    do
    :: i < DOTS ->
        if
        :: has(vv[n], i) -> assert(within(seen[i], vv[n])); gone = gone | seen[i]
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < INCREMENTS ->
        if
        :: has(vv[n], i) -> assert(within(seen[i], vv[n])); count = count + !has(gone, i)
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = seq[n] - (base[n] != 0 -> base[n] : (seq[n] != 0 -> epoch[n] - 1 : 0));
    assert(i == count)
}

/* -- the counter ------------------------------------------------------------------------------------------------------- */

inline no_entry(n)
{
    seq[n] = 0;
    epoch[n] = 0;
    base[n] = 0;
    by[n] = 0
}

/* Node n applies increment d: what it knows of the same epoch's base stays. */
inline take_increment(n)
{
    if
    :: seq[n] != 0 && epoch[n] == epoch_of[d] && base[n] > base_of[d]
    :: else -> base[n] = base_of[d]
    fi;
    seq[n] = d + 1;
    epoch[n] = epoch_of[d];
    by[n] = 0 /* an increment is later than any base: the entry is live */
}

/* Node n applies reset d, which saw the entry up to base_of[d]. */
inline take_reset(n)
{
    if
    :: seq[n] != 0 && epoch[n] == epoch_of[d] && base_of[d] > base[n] && base_of[d] <= seq[n] ->
        base[n] = base_of[d];
        by[n] = (base[n] == seq[n] -> d : 0)
    :: else
    fi
}

inline take(n)
{
    if
    :: d < INCREMENTS -> take_increment(n)
    :: else -> take_reset(n)
    fi;
    vv[n] = vv[n] | dot(d)
}

#ifdef LEAVE
#define note_roster(n) roster_of[d] = roster[n]
#define roster_at(x) roster_of[x]
#else
#define note_roster(n) skip
#define roster_at(x) 0
#endif

inline increment()
{
    d_step {
        the_life == 1 && !has(vv[0], INCREMENTS - 1);
        d = (has(vv[0], 0) -> 1 : 0);
        seen[d] = vv[0];
        note_roster(0);
        epoch_of[d] = (is_live(0) -> epoch[0] : d + 1);
        base_of[d] = (epoch_of[d] == epoch[0] -> base[0] : 0);
        take(0);
        printf("node 0: increment %d\n", d);
        judge(0)
    }
}

inline reset(n)
{
    d_step {
        is_live(n) && !has(vv[n], reset_of(n));
        d = reset_of(n);
        seen[d] = vv[n];
        note_roster(n);
        epoch_of[d] = epoch[n];
        base_of[d] = seq[n];
        take(n);
        printf("node %d: reset %d, having seen %d\n", n, d, vv[n]);
        judge(n)
    }
}

inline bring_roster(state, b)
{
#ifdef LEAVE
    if
    :: state > roster[b] && (b) != 0 -> enrol(b, state)
    :: state > roster[b] && (b) == 0 -> roster[b] = state
    :: else
    fi
#else
    skip
#endif
}

#ifdef LEAVE
#define join_roster(a, b) bring_roster(roster[a], b)
#else
#define join_roster(a, b) skip
#endif

/* -- links ------------------------------------------------------------------------------------------------------------- */

#ifdef LEAVE
#define admitted(a, b) (!(((a) == 0 && roster[b] == 1) || ((b) == 0 && roster[a] == 1)))
#else
#define admitted(a, b) 1
#endif
/* Both ends are on a link of node 0's present life. */
#define linked(a, b) (admitted(a, b) && ((a) != 0 || life[b] == the_life) && ((b) != 0 || life[a] == the_life))

inline deliver(a, b, x)
{
    d_step {
        linked(a, b) && has(vv[a], x) && !has(vv[b], x) && within(seen[x], vv[b]);
        d = x;
        take(b);
        bring_roster(roster_at(d), b);
        printf("node %d: applies %d, live from %d\n", b, d, a);
        judge(b)
    }
}

inline deliver_any(a, b)
{
    if
    :: deliver(a, b, 0) :: deliver(a, b, 1) :: deliver(a, b, 2) :: deliver(a, b, 3) :: deliver(a, b, 4)
    fi
}

/* A transfer, in one piece: what node a has meets what node b has (sk_row_merge, for one count). */
inline merge_entry(a, b)
{
    if
    :: seq[a] != 0 && seq[b] != 0 ->
        s_kept = is_live(a) && ((is_live(b) && seq[a] == seq[b]) || !has(vv[b], seq[a] - 1));
        r_kept = is_live(b) && ((is_live(a) && seq[a] == seq[b]) || !has(vv[a], seq[b] - 1));
        s_seq = seq[b];
        s_epoch = epoch[b];
        s_base = base[b];
        s_by = by[b]; /* ours, before it is overwritten */
        if
        :: (s_kept && !(r_kept && seq[b] > seq[a])) || (!s_kept && !r_kept && seq[a] > seq[b]) ->
            seq[b] = seq[a];
            epoch[b] = epoch[a];
            base[b] = base[a];
            by[b] = by[a]
        :: else
        fi;
#ifndef BASE_LOST
        if
        :: epoch[b] == epoch[a] && base[a] > base[b] -> base[b] = base[a]; by[b] = by[a]
        :: else
        fi;
        if
        :: epoch[b] == s_epoch && s_base > base[b] -> base[b] = s_base; by[b] = s_by
        :: else
        fi;
#endif
        if
        :: is_live(b) -> by[b] = 0;
            if
            :: !s_kept && !r_kept -> no_entry(b)
            :: else
            fi
        :: else
        fi
    :: seq[a] != 0 && seq[b] == 0 && !has(vv[b], seq[a] - 1) ->
        seq[b] = seq[a];
        epoch[b] = epoch[a];
        base[b] = base[a];
        by[b] = by[a]
    :: seq[a] == 0 && seq[b] != 0 && has(vv[a], seq[b] - 1) -> no_entry(b)
    :: else
    fi
}

inline transfer(a, b)
{
    d_step {
        linked(a, b) && !within(vv[a], vv[b]);
        merge_entry(a, b);
        vv[b] = vv[b] | vv[a];
        join_roster(a, b);
        printf("node %d: a transfer from %d\n", b, a);
        judge(b)
    }
}

/* -- words: HELLO, STATUS, and gossip ---------------------------------------------------------------------------------- */

/* Who node 0 is to node n: which life, or no member. 0: the view is not whole. */
#define NO_MEMBER 255
#ifdef OLD_LINK
#define whole(n) 1
#else
#define whole(n) ((n) == 0 || life[n] == 0 || life[n] == term[n])
#endif
#define view(n) (!is_member(n, 0) -> NO_MEMBER : (whole(n) -> term[n] : 0))

inline take_view(n, m)
{
    if
    :: view_of[at(n, m)] != 0 && view_of[at(n, m)] == view(n)
    :: else -> view_of[at(n, m)] = v
    fi
}

/* What node n is told of a later life of node 0 replaces what it knew. */
inline lower(n, words)
{
#ifdef EARLIER_LIVES
    acked[at(n, 0)] = acked[at(n, 0)] | (words)
#else
    if
    :: !within(acked[at(n, 0)], words) -> waits[n] = 0
    :: else
    fi;
    acked[at(n, 0)] = words
#endif
}

/* Node n hears node 0 itself: `words`, on a link with its life life[n], and the view v. */
inline hear_itself(n, words)
{
    if
    :: life[n] > term[n] ->
        term[n] = life[n];
        lower(n, words);
        take_view(n, 0)
    :: life[n] == term[n] -> acked[at(n, 0)] = acked[at(n, 0)] | (words); take_view(n, 0)
#ifdef OLD_WORDS
    :: life[n] < term[n] && within(acked[at(n, 0)], words) -> acked[at(n, 0)] = words
#endif
    :: else
    fi
}

/* What node a says of node 0 to node b, the third. */
inline hear_about(a, b)
{
    if
    :: acked[at(a, 0)] != 0 && term[a] >= term[b] ->
        if
        :: term[a] > term[b] -> term[b] = term[a]; lower(b, acked[at(a, 0)])
        :: else -> acked[at(b, 0)] = acked[at(b, 0)] | acked[at(a, 0)]
        fi;
        v = view_of[at(a, 0)];
        take_view(b, 0)
    :: else
    fi
}

/* Nodes 1 and 2 speak. */
inline tell(a, b)
{
    d_step {
        join_roster(a, b);
#ifdef RESTORE
        hear_about(a, b);
#endif
        acked[at(b, a)] = acked[at(b, a)] | vv[a];
        v = view(a);
        take_view(b, a);
        printf("node %d: tells %d that it has %d\n", a, b, vv[a])
    }
}

/* Node a, 1 or 2, speaks to node 0. */
inline tell_0(a)
{
    d_step {
        linked(a, 0);
        join_roster(a, 0);
        acked[at(0, a)] = acked[at(0, a)] | vv[a];
        v = view(a);
        take_view(0, a);
        printf("node %d: tells 0 that it has %d\n", a, vv[a])
    }
}

/* Node 0 speaks to node b; maybe on a new link. */
inline told_by_0(b, new_link)
{
    d_step {
        (new_link || life[b] == the_life) && admitted(0, b);
        life[b] = the_life;
        v = the_life;
        hear_itself(b, vv[0]);
        printf("node 0: tells %d that it has %d, in its life %d\n", b, vv[0], the_life)
    }
}

/* Node b has transactions of a's own from a, which sends only what it has on disk: they count without words, and what they
 * have seen. Not so what a sends on for another: an own one that a had written before it had that may still be on its way
 * (RELAYED_COUNT). */
#ifdef RESTORE
#define has_sent(a, b) ((a) == 0 && life[b] != the_life -> old_vv : vv[a])
#define in_life(a, b) ((a) != 0 || (life[b] != 0 && life[b] == term[b]))
#else
#define has_sent(a, b) vv[a]
#define in_life(a, b) 1
#endif
#ifdef RELAYED_COUNT
#define own(a) ((1 << DOTS) - 1)
#else
#define own(a) ((a) == 0 -> (1 << INCREMENTS) - 1 : dot(reset_of(a)))
#endif
#ifdef SEEN_NOT_COUNTED
#define saw(x) 0
#else
#define saw(x) seen[x]
#endif
inline sent(a, b)
{
    d_step {
        admitted(a, b) && in_life(a, b) && ((b) != 0 || life[a] == the_life) &&
            !within(has_sent(a, b) & vv[b] & own(a), acked[at(b, a)]);
        i = 0;
        do
        :: i < DOTS ->
            if
            :: has(has_sent(a, b) & vv[b] & own(a), i) -> acked[at(b, a)] = acked[at(b, a)] | saw(i) | dot(i)
            :: else
            fi;
            i++
        :: else -> break
        od;
        printf("node %d: has transactions of %d's own, which has them then, and what they have seen\n", b, a)
    }
}

inline link_down(b)
{
    d_step {
        life[b] != 0 && the_life == 2;
        life[b] = 0;
        printf("node %d: its link with 0 is down\n", b)
    }
}

/* -- node 0 comes back as an old copy ---------------------------------------------------------------------------------- */

#ifdef RESTORE
inline copy()
{
    d_step {
        !copied && vv[0] == dot(0);
        copied = 1;
        copy_vv = vv[0];
        copy_seq = seq[0];
        copy_epoch = epoch[0];
        copy_base = base[0];
        copy_by = by[0];
        printf("node 0: a copy is made\n")
    }
}

/* Its first life ends. What that one said last may still arrive; what it knew of others is gone. */
inline restore()
{
    d_step {
        copied && the_life == 1 && vv[0] != copy_vv;
        the_life = 2;
        old_vv = vv[0];
        vv[0] = copy_vv;
        seq[0] = copy_seq;
        epoch[0] = copy_epoch;
        base[0] = copy_base;
        by[0] = copy_by;
        copy_vv = 0;
        copy_seq = 0;
        copy_epoch = 0;
        copy_base = 0;
        copy_by = 0;
        stable[0] = 0;
        everywhere[0] = 0;
        next[0] = 0;
        need[0] = 0;
        waits[0] = 0;
        acked[at(0, 1)] = 0;
        acked[at(0, 2)] = 0;
        view_of[at(0, 1)] = 0;
        view_of[at(0, 2)] = 0;
        term[0] = 2;
        printf("node 0: comes back as the copy, having %d\n", vv[0])
    }
}

inline deliver_old(b, x)
{
    d_step {
        the_life == 2 && life[b] == 1 && has(old_vv, x) && !has(vv[b], x) && within(seen[x], vv[b]);
        d = x;
        take(b);
        printf("node %d: applies %d, still from the first life of node 0\n", b, d);
        judge(b)
    }
}

inline told_by_old(b)
{
    d_step {
        the_life == 2 && life[b] == 1 && within(old_vv & ((1 << INCREMENTS) - 1), vv[b]);
        v = 1;
        hear_itself(b, old_vv);
        printf("node %d: hears that node 0 has %d, from its first life\n", b, old_vv)
    }
}
#endif

/* -- node 0 is forgotten as a member, and added again ------------------------------------------------------------------ */

#ifdef LEAVE
inline enrol(n, state)
{
    roster[n] = state;
    acked[at(n, 0)] = 0;
    view_of[at(n, 0)] = 0;
    waits[n] = 0;
    everywhere[n] = (state == 2 -> 0 : everywhere[n]);
    life[n] = state == 2
}

inline operator(n, state)
{
    d_step {
        roster[n] == state - 1;
        enrol(n, state);
        printf("node %d: the operator %e node 0\n", n, (state == 1 -> forgets : adds))
    }
}
#endif

/* -- forgetting -------------------------------------------------------------------------------------------------------- */

#ifdef WITHOUT_VIEWS
#define agreed(n, m) 1
#else
#define agreed(n, m) (!is_member(n, m) || (view(n) != 0 && view_of[at(n, m)] == view(n)))
#endif
#define others(n, m1, m2) (agreed(n, m1) && agreed(n, m2))
#define words_of(n, m, none) (is_member(n, m) -> acked[at(n, m)] : (none))

#ifdef WITHOUT_ABSENT
#define met(n, m1, m2) vv[n]
#else
#define met(n, m1, m2) (vv[n] & words_of(n, m1, vv[n]) & words_of(n, m2, vv[n]))
#endif

inline work_out(n, m1, m2)
{
    d_step {
        others(n, m1, m2) && !waits[n] && !within(met(n, m1, m2), everywhere[n]);
        meet = met(n, m1, m2);
        next[n] = meet;
        need[n] = meet | words_of(n, m1, 0) | words_of(n, m2, 0);
        waits[n] = 1
    }
}

/* Nobody forgets what a member lacks, in the life that this node knows of it. */
#ifdef RESTORE
#define has_now(n, m) ((m) == 0 && the_life == 2 && term[n] == 1 -> old_vv : vv[m])
#else
#define has_now(n, m) vv[m]
#endif
#ifdef FORGOTTEN_STRIPPED
#define strips(n) (seq[n] != 0 && !is_live(n) && has(everywhere[n], by[n]))
#else
#define strips(n) (seq[n] != 0 && !is_live(n) && has(everywhere[n], by[n]) && is_member(n, 0))
#endif
#ifdef WITHOUT_NEED
#define needs(n) next[n]
#else
#define needs(n) need[n]
#endif

/* History beyond a configured size is cut whether or not it is stable. */
inline cut_history(n)
{
    d_step {
        seq[n] != 0 && !is_live(n);
        no_entry(n);
        judge(n)
    }
}

inline strip(n)
{
    if
    :: strips(n) -> no_entry(n)
    :: else
    fi
}

inline forget(n, m1, m2)
{
    d_step {
        others(n, m1, m2) && waits[n] && within(needs(n), vv[n]);
        i = has_now(n, m1);
        assert(!is_member(n, m1) || within(next[n] & ~stable[n], i));
        i = has_now(n, m2);
        assert(!is_member(n, m2) || within(next[n] & ~stable[n], i));
        everywhere[n] = everywhere[n] | next[n];
        stable[n] = stable[n] | next[n];
        i = 0;
        do
        :: i < DOTS ->
            assert(!has(stable[n], i) || within(seen[i], stable[n])); /* else history starts in the midst of a row's */
            i++
        :: else -> break
        od;
        waits[n] = 0;
        next[n] = 0;
        need[n] = 0;
        strip(n);
        printf("node %d: forgets up to %d\n", n, stable[n]);
        judge(n)
    }
}

active proctype model()
{
    do
    :: increment()
    :: reset(1)
#ifdef TWO_RESETS
    :: reset(2)
#endif
    :: deliver_any(0, 1) :: deliver_any(0, 2) :: deliver_any(1, 0)
    :: deliver_any(1, 2) :: deliver_any(2, 0) :: deliver_any(2, 1)
#ifndef RESTORE
    :: transfer(0, 1) :: transfer(0, 2) :: transfer(1, 0)
    :: transfer(1, 2) :: transfer(2, 0) :: transfer(2, 1)
#endif
    :: tell(1, 2) :: told_by_0(2, 0)
    :: sent(0, 2)
#ifdef RESTORE
    :: tell(2, 1) :: told_by_0(1, 0) :: told_by_0(1, 1) :: told_by_0(2, 1)
    :: copy() :: restore()
    :: deliver_old(1, 1) :: deliver_old(2, 1)
    :: told_by_old(1) :: told_by_old(2)
    :: link_down(1) :: link_down(2)
    :: sent(0, 1) :: sent(2, 1)
    :: work_out(1, 0, 2) :: forget(1, 0, 2)
#endif
#ifdef LEAVE
    :: tell(2, 1)
    :: operator(1, 1) :: operator(1, 2) :: operator(2, 1)
    :: sent(1, 2)
    :: work_out(2, 0, 1) :: forget(2, 0, 1)
#endif
#ifdef TWO_RESETS
    :: tell_0(1) :: tell_0(2)
    :: sent(1, 2) :: sent(1, 0) :: sent(2, 0)
    :: work_out(0, 1, 2) :: forget(0, 1, 2)
    :: work_out(2, 0, 1) :: forget(2, 0, 1)
#endif
#ifdef RETENTION_STRIPS
    :: cut_history(1)
#endif
    od
}
