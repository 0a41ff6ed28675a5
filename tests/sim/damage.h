/* Disks and rows that are not what they should be: flip.c, wear.c, stray.c. */
#ifndef SK_TESTS_SIM_DAMAGE_H
#define SK_TESTS_SIM_DAMAGE_H

#include "crdt/row.h"
#include "crdt/rowkey.h"
#include "storage/store.h"
#include "tests/sim/random.h"

typedef struct sim_world sim_world;
typedef struct sim_region sim_region;
typedef struct sim_event sim_event;

/* A byte that was made another: flip.c. */
typedef struct {
    bool struck; /* the time for it has come and gone */
    bool goes_on; /* it comes again and again: wear.c */
    uint32_t region;
    uint64_t was; /* bits: regions that were damaged some time */
    sk_cf cf;
    sk_store *sound; /* owned; the disk as it was before; NULL: nothing was flipped, or it was put back */
    sk_vv held;      /* canonical: what was durable on that one */
    bool refused;
} sim_flip;

/* Damage amid writes: wear.c. */
typedef struct {
    bool struck; /* as above */
    uint32_t to_come; /* events */
    sim_random random;
    sk_buf last; /* owned; the key, or prefix, of the row that was written last */
} sim_wear;

/* A row that differs: stray.c. */
typedef struct {
    enum { SIM_STRAY_TO_COME, SIM_STRAY_PLANTED, SIM_STRAY_RESOLVED, SIM_STRAY_OVER } phase;
    uint32_t region;
    sk_buf raw;           /* owned; its key */
    sk_digest difference; /* how much more its digest is than that of the others */
} sim_stray;

/* -- flip.c -------------------------------------------------------------------------------------------------------- */

/** All is at rest: a region is stopped and damaged, in some runs, once. True if it was. */
bool sim_flip_strike(sim_world *world);
/** It does not start: is that right? Then its disk is as it was. */
bool sim_flip_refused(sim_region *region);
/** What its rows are, or what follows from them, may be wrong. */
bool sim_flip_unsound(const sim_region *region);
/** It was damaged, some time. */
bool sim_flip_was(const sim_region *region);
/** It has found what was damaged. */
bool sim_flip_found(const sim_region *region);
/** What it says that it cannot mend an operator mends. */
void sim_flip_look(sim_world *world);
void sim_flip_check_end(sim_world *world);
/** What was damaged before is done with; from now on this region is, again and again (wear.c). */
void sim_flip_begin(sim_world *world, uint32_t region);
/** One byte of any pair from `first` up to `end`, in the store of a region that is down, becomes another; or the `whole` pair is
 *  lost. */
void sim_flip_damage(sim_region *region, sim_random *random, sk_cf cf, bool whole, sk_bytes first, sk_bytes end);
typedef struct {
    const char *argv[4]; /* the second is the key, and left out here */
    sk_table table;      /* where what it writes stands */
} sim_write;
/** Does one command, beside all clients. False: it is refused. `raw` becomes where what was written stands. */
bool sim_flip_write(sim_region *region, const sim_write *what, uint32_t key, sk_buf *raw);
void sim_flip_free(sim_world *world);

/* -- wear.c -------------------------------------------------------------------------------------------------------- */

/** All is at rest: the disk of a region begins to wear, in some runs, once. True if it does. */
bool sim_wear_strike(sim_world *world);
void sim_wear_event(sim_world *world, const sim_event *event);
bool sim_wear_goes_on(const sim_world *world);
void sim_wear_free(sim_world *world);

/* -- stray.c ------------------------------------------------------------------------------------------------------- */

/** All is at rest: a row of a region is made another, in some runs, once. True if it was. */
bool sim_stray_strike(sim_world *world);
/** What is still to come of it, and what an operator does; NULL: nothing. */
const char *sim_stray_look(sim_world *world);
/** This region's rows are not what the history says. */
bool sim_stray_unsound(const sim_region *region);
/** Regions may tell each other that they differ. */
bool sim_stray_differs(const sim_region *region);
/** This one may have taken a row from another. */
bool sim_stray_settled(const sim_region *region);
void sim_stray_free(sim_world *world);

#endif
