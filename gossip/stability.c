/* What may be forgotten (engine.h, invariant 3), in two phases; laggards: see below.
 *
 * First: when the meet of all members' acknowledgements has moved, it is kept as `everywhere_next`, and with it
 * `stable_need`: all that any member has acknowledged by now, the join. Second: once that is applied here, it is handed
 * to the host. Both stay fixed in between, so that new writes cannot put it off for ever.
 *
 * The host is told two vectors. `stable` never goes back: up to it the history may go, whoever joins later; a member
 * below the floor is sent all that it needs. `everywhere` is the meet for those who are members now, and is empty again
 * from when a member joins until all have acknowledged with it; it says which resets' dead counts may go. The argument
 * below is about those.
 *
 * Why that is enough. Say a reset s is at or below everywhere_next, and a transaction t that has not seen s comes here
 * after s was forgotten. A life (status.c) of t's region originated t.
 *  - If it is the one that acknowledged s, it had t on disk before s, so t was in its acknowledgement, hence in
 *    stable_need: t was here before.
 *  - If it is an earlier one, which lost s or never had it (an old copy came back, a disk was lost), only others may
 *    know of t. That is what views are for. A member's view says which life of each member, itself included, it knows
 *    of. First and second phase begin only when all members have acknowledged with the same view as ours. So each said
 *    what it has when t's life was over and it no longer heard that life; if t was with any of them then, it is in
 *    stable_need; if with none, it cannot come from them later, since none can have got it from a life that is over.
 *  - A later one comes up from that disk, with s. (Or from an older copy, without: then its own origin is spent, and s
 *    says nothing of the new one's counts.)
 * A member's own transactions, too, acknowledge what it had when it wrote them: what they have seen, and themselves
 * (sk_status_sent). That it sends another's acknowledges nothing: an own one, from before it had that, may be on its way. So
 * what is acknowledged has with each transaction all that this one has seen, and so has `stable`.
 * It does not hold for a t that lives on in no member but only in a backup, and is put back after all. That can only be of
 * a life that was not gone on with: its region's next one began from an older copy or from nothing (a break, which its
 * incarnation says; dot.h). Were t of the life that acknowledged s, or of one whose disk that one went on with, it would
 * have been in the acknowledgement, by the first case. So the host strips no dead counts of origins that a break has left
 * open-ended (sk_row_strip): there the record of what s took back stays. Everything else that may be forgotten names single
 * dots, and knows a t that was never covered for what it is.
 *
 * When all members are restored, from backups of whatever age, this goes for each of them: every one begins with a break
 * and a new term, views are none until all have met, and what any of them had forgotten was forgotten rightly by its copy.
 *
 * Members come and go, and not everybody knows at once. A view has a part for each member, so databases that disagree
 * about who is a member have different views and forget nothing until they agree; the transaction that adds or removes
 * one is part of what they acknowledge with it. What is left:
 *  - A database that was forgotten may come back, with transactions that only it has. No acknowledgement of the others
 *    says anything about it. So the host strips no dead count of an origin of which it may have more than they have: any
 *    but those that a member writes under now (sk_engine_is_current), as long as there is a forgotten database. It must
 *    also keep what has left dead counts in the history, so that they go when that database is a member again and has
 *    acknowledged their resets: that is what `everywhere` is for.
 *  - A view may be kept that its member has left (it added a member that we do not know yet). The new member has its
 *    transactions from members, or from a life that knew of it. If that life is over, whoever knows that it is knows of
 *    the new member too, by the same words, and has no view like ours. Lost is only a member that nobody knows any more
 *    because those who added it lost their disks: that is as good as a backup.
 *
 * A view is a hash of the members' terms. It is not whole (0), and then nobody goes by it, while the term of a member is
 * not known, or its link still brings words of another life than the one that others tell of. And it is said only
 * when all that was applied before it is durable: what came from an earlier life is then in the acknowledgement that it
 * goes with. Members' views come with their words. A member never forgets a life that it knew of, so of two views that
 * it had, the one that is ours is good with whatever it acknowledged since. One of its earlier lives is never ours.
 *
 * Laggards. Only dead counts need all this. History names rows that have changed; whoever lacks some of it that is gone
 * is below the floor and is reconciled, whatever its view, its life or its acknowledgements were. So history need not wait
 * for a member that its host will not keep any more of it for: from then on `stable` is the meet of what all others have
 * acknowledged, of whatever view, at once, beside the two phases. `everywhere` waits for every member as ever, and with it
 * the dead counts that it has not acknowledged the resets of; what speaks of them stays in the history, below the floor
 * (sk_db_forget), and reaches the laggard with its reconcile. Once a laggard has acknowledged all at or below the floor
 * history is kept for it again. A transfer to it holds back what it has staged, as any does, so that what it has when it
 * ends is not below the floor again; until the host calls it a laggard once more.
 *
 * Invariants:
 *  1. `stable` only grows, and is at most the durable vector; `everywhere` is at most `stable`.
 *  2. While `stable_waits`, everywhere_next is at most what every member was known to have when it was worked out; when
 *     an acknowledgement is lowered (status.c), or members come or go, it is worked out again. */
#include "gossip/engine_internal.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

void sk_stability_touch(sk_engine *engine)
{
    sk_sooner(&engine->stable_at_ms, engine->now_ms + engine->limits.ack_ms);
}

void sk_stability_lowered(sk_engine *engine)
{
    engine->stable_waits = false;
    sk_stability_touch(engine);
}

void sk_stability_joined(sk_engine *engine)
{
    sk_vv_clear(&engine->everywhere);
    sk_stability_lowered(engine);
}

/* -- views --------------------------------------------------------------------------------------------------------- */

static uint64_t hash_life(const char *region, uint64_t term)
{
    return XXH3_64bits_withSeed(region, strlen(region), term);
}

static uint64_t view_of(const sk_engine *engine)
{
    uint64_t view = hash_life(engine->region, engine->term);
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        const sk_peer *member = &engine->peers[m];
        if (!sk_is_member(member)) continue;
        if (member->term == 0 || (member->state == LINK_UP && member->said_term != member->term)) return 0;
        view += hash_life(member->region, member->term);
    }
    return view;
}

uint64_t sk_stability_view(sk_engine *engine)
{
    uint64_t view = view_of(engine);
    if (view != engine->view) {
        engine->view = view;
        sk_vv_copy(&engine->view_from, engine->applied);
    }
    return sk_vv_at_most(&engine->view_from, &engine->durable) ? view : 0;
}

void sk_stability_take_view(sk_engine *engine, sk_peer *member, uint64_t view)
{
    if (member->view == view || (member->view && member->view == view_of(engine))) return;
    member->view = view;
    sk_stability_touch(engine);
}

static bool agreed(sk_engine *engine)
{
    uint64_t view = sk_stability_view(engine);
    if (view != engine->view_told) {
        engine->view_told = view;
        sk_status_spread(engine);
    }
    for (uint32_t m = 0; m < engine->peer_count; m++)
        if (sk_is_member(&engine->peers[m]) && engine->peers[m].view != view) return false;
    return view != 0;
}

/* -- forgetting ---------------------------------------------------------------------------------------------------- */

/* Up to `stable`, as far as it has come. */
static void forget(sk_engine *engine)
{
    sk_ring_let_go(&engine->ring, &engine->stable);
    engine->host.forget(engine->host.self, &engine->stable, &engine->everywhere);
}

/* What all members have, or all but the laggards. */
static void meet_members(sk_engine *engine, bool with_laggards, sk_vv *meet)
{
    sk_vv_copy(meet, &engine->durable);
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        sk_peer *member = &engine->peers[m];
        if (!sk_is_member(member)) continue;
        if (with_laggards || !member->laggard) sk_vv_meet(meet, &member->acked);
        /* It may have staged, from another, what went with that one's disk: nobody can go on with it, nor ever acknowledge it. */
        if (member->has_staged)
            member->has_staged = !sk_vv_at_most(&member->staged, &member->acked) && sk_vv_at_most(&member->staged, engine->applied);
        if (member->has_staged) sk_vv_meet(meet, &member->staged);
    }
}

void sk_stability_release(sk_engine *engine)
{
    engine->release = true;
    sk_stability_touch(engine);
}

static bool is_below_floor(const sk_engine *engine, const sk_peer *member)
{
    const sk_vv *floor = engine->host.floor ? engine->host.floor(engine->host.self) : NULL;
    return !sk_vv_at_most(&engine->stable, &member->acked) || (floor && !sk_vv_at_most(floor, &member->acked));
}

/* History goes that nobody needs but laggards. Those that are none any more count from the next time on. */
static void go_on_without_laggards(sk_engine *engine)
{
    bool due = engine->release;
    for (uint32_t m = 0; m < engine->peer_count; m++) due |= engine->peers[m].laggard;
    engine->release = false;
    if (!due) return;
    meet_members(engine, false, &engine->free);
    if (!sk_vv_at_most(&engine->free, &engine->stable)) {
        sk_vv_join(&engine->stable, &engine->free);
        forget(engine);
    }
    for (uint32_t m = 0; m < engine->peer_count; m++)
        if (engine->peers[m].laggard) engine->peers[m].laggard = is_below_floor(engine, &engine->peers[m]);
}

static void work_out(sk_engine *engine)
{
    meet_members(engine, true, &engine->everywhere_next);
    if (sk_vv_at_most(&engine->everywhere_next, &engine->everywhere)) return;

    sk_vv_copy(&engine->stable_need, &engine->everywhere_next);
    for (uint32_t m = 0; m < engine->peer_count; m++) sk_vv_join(&engine->stable_need, &engine->peers[m].acked);
    engine->stable_waits = true;
}

void sk_stability_tick(sk_engine *engine)
{
    if (engine->now_ms < engine->stable_at_ms) return;
    engine->stable_at_ms = NEVER;
    go_on_without_laggards(engine);
    if (!agreed(engine)) return;
    if (!engine->stable_waits) work_out(engine);
    if (!engine->stable_waits || !sk_vv_at_most(&engine->stable_need, engine->applied)) return;
    engine->stable_waits = false;
    sk_vv_join(&engine->everywhere, &engine->everywhere_next);
    sk_vv_join(&engine->stable, &engine->everywhere_next);
    forget(engine);
    sk_stability_touch(engine); /* it may have moved on while this one waited */
}
