/* One simulated world: regions, links, disks, clocks and clients, driven by one queue of events.
 *
 *   event.c     the queue of events
 *   config.c    what a seed draws: regions, graph, limits, workload, faults
 *   plan.c      what is left out of a run that is made smaller
 *   shrink.c    makes a failing run smaller, and tells its story
 *   region.c    a region: the replica (the node's own object code), its store, its clock, its loop
 *   network.c   links between regions
 *   fault.c     what goes wrong, and when
 *   member.c    regions that are forgotten, added, given new keys, and join
 *   clock.c     clocks that are far ahead
 *   rewind.c    backups, and all regions going back to them
 *   port.c      exports and imports
 *   flip.c      a byte on a disk that is another
 *   wear.c      a disk that goes on losing things while others write
 *   stray.c     a row that differs, and nothing on a disk says so
 *   client.c    clients: requests, replies and when they may leave
 *   workload.c  what clients ask for
 *   expect.c    what a reply must be
 *   conflict.c  what readers must be told of siblings
 *   watch.c     which EXEC must be void
 *   check.c     the promises, after every event
 *   rest.c      the end: who agrees, what is left, who lacks what
 *   crossing.c  which delta went over which link, and how often
 *   cost.c      messages and bytes of a write
 *   trace.c     one line an event; failure reports
 *   report.c    what many runs had
 *   world.c     a run: chaos, then healing, then calm rounds, then the end
 *
 * Nothing but the seed, and the plan, may influence a run: no time, no address, no order that a hash of a pointer
 * gives.
 *
 * Randomness comes in streams. What a client asks for the n-th time, what a fault does when it strikes the n-th time,
 * what one region's disk and one link's way take: each has its own. So a run from which a request, a fault or a region
 * is left out stays like itself in all the rest, which is what makes it shrink. */
#ifndef SK_TESTS_SIM_WORLD_H
#define SK_TESTS_SIM_WORLD_H

#include "node/command.h"
#include "node/replica.h"
#include "storage/memory.h"
#include "tests/sim/damage.h"
#include "tests/sim/oracle.h"
#include "tests/sim/random.h"

enum {
    SIM_REGIONS_MAX = 50, /* sets of them are 64 bits */
    SIM_MANY = 10,        /* from so many regions on a run has less of everything else */
    SIM_NOWHERE = UINT32_MAX,
    SIM_CLIENTS_MAX = 3, /* a region */
    SIM_KEYS_MAX = 8,    /* k0 to k7 */
    SIM_MEMBERS = 4,     /* fields f0 to f3, members m0 to m3 */
    SIM_TRACE_LINES = 40,
    SIM_TRACE_CHARS = 320,
    SIM_EVENTS_MAX = 3000000,      /* a run that needs more does not come to rest */
    SIM_HEAL_MS = 120 * 1000,      /* after healing, everything must agree within this time… */
    SIM_HEAL_SLOW_MS = 600 * 1000, /* …or this, where a transfer brings one row in a round trip */
};

#define SIM_WALL_MS 1700000000000u /* the true time at the beginning of every run */

/* -- events -------------------------------------------------------------------------------------------------------- */

typedef enum {
    SIM_EVENT_TIMER,     /* a: region */
    SIM_EVENT_TURN,      /* a: region, b: its run */
    SIM_EVENT_WRITTEN,   /* a: region, b: its run, n: batch. The operating system has it */
    SIM_EVENT_SYNCED,    /* likewise: the disk has it */
    SIM_EVENT_SYNC_TICK, /* a: region. Under `interval` and `os`: a sync of all that is written */
    SIM_EVENT_MESSAGE,   /* a: link, b: the end that it comes to, n: session */
    SIM_EVENT_CONNECT,   /* a: link */
    SIM_EVENT_CLOSED,    /* a: link, b: the end that notices, n: session */
    SIM_EVENT_CLIENT,    /* a: region, b: client: it makes its next request */
    SIM_EVENT_START,     /* a: region */
    SIM_EVENT_FAULT,     /* a: which kind strikes */
    SIM_EVENT_REPAIR,    /* a: which kind is over, b, n: of what */
    SIM_EVENT_LOOK,      /* healing: is everything as it must be? */
    SIM_EVENT_CALM,      /* a: region. Its write of a calm round */
    SIM_EVENT_JOIN,      /* a: region. Operators add it, and it starts */
    SIM_EVENT_WEAR,      /* a, b: what, of what (wear.c) */
} sim_event_kind;

struct sim_event {
    uint64_t at_us, order;
    sim_event_kind kind;
    uint32_t a, b;
    uint64_t n;
};

typedef struct {
    sim_event *heap; /* owned */
    uint32_t count, room;
    uint64_t order;
} sim_events;

void sim_event_push(sim_world *world, uint64_t at_us, sim_event_kind kind, uint32_t a, uint32_t b, uint64_t n);
/** False when there are none. */
bool sim_event_pop(sim_world *world, sim_event *event);

/* -- what a seed draws --------------------------------------------------------------------------------------------- */

typedef enum {
    SIM_FAULT_CUT,       /* a link's session breaks */
    SIM_FAULT_STALL,     /* a link, or one direction of it, goes silent for a while */
    SIM_FAULT_PARTITION, /* links between two groups of regions, or some of them, go */
    SIM_FAULT_FLAP,      /* a link breaks again and again */
    SIM_FAULT_KILL,      /* a process dies; what the operating system has stays */
    SIM_FAULT_POWER,     /* a machine goes down; what was not synced may be lost */
    SIM_FAULT_STOP,      /* a clean stop */
    SIM_FAULT_RESTORE,   /* an old copy of the disk comes back */
    SIM_FAULT_AMNESIA,   /* the same, and nothing tells the node; its peers do */
    SIM_FAULT_DISK,      /* commits fail for a while */
    SIM_FAULT_SLOW,      /* a disk is slow for a while */
    SIM_FAULT_CLOCK,     /* a wall clock jumps */
    SIM_FAULT_OPERATOR,  /* REGION LINK down, and up again */
    SIM_FAULT_CLONE,     /* a copy of the disk goes on elsewhere; the disk itself may come back later (RESTORE) */
    SIM_FAULT_MIDWAY,    /* a process dies between two effects of one step */
    SIM_FAULT_LOSS,      /* a link loses packets for a while: TCP brings them later, and all behind them */
    SIM_FAULT_AGAIN,     /* a region asks for what is on its way: deltas come twice */
    SIM_FAULT_MEMBERS,   /* REGION FORGET, ADD and REKEY, here and there, also at once; drawn apart (member.c) */
    SIM_FAULT_REWIND,    /* all regions, or some, are restored from backups of different age; drawn apart (rewind.c) */
    SIM_FAULT_COUNT
} sim_fault;

const char *sim_fault_name(sim_fault fault);

typedef enum {
    SIM_SHAPE_MESH,
    SIM_SHAPE_LINE,
    SIM_SHAPE_RING,
    SIM_SHAPE_STAR,
    SIM_SHAPE_TREE,
    SIM_SHAPE_BRIDGE,
    SIM_SHAPE_RANDOM,
    SIM_SHAPE_COUNT
} sim_shape;

const char *sim_shape_name(sim_shape shape);

/* What has a plainest value, and can be set to it when a run is made smaller. */
typedef enum {
    SIM_KNOB_CALM,
    SIM_KNOB_RETENTION,
    SIM_KNOB_VALUES,
    SIM_KNOB_CLOCKS,
    SIM_KNOB_MESH,
    SIM_KNOB_DELAY,
    SIM_KNOB_DISK,
    SIM_KNOB_TIMES,
    SIM_KNOB_RING,
    SIM_KNOB_HELD,
    SIM_KNOB_QUEUE,
    SIM_KNOB_BATCH,
    SIM_KNOB_CHUNK,
    SIM_KNOB_DURABILITY,
    SIM_KNOB_MEMBERS,
    SIM_KNOB_COUNT
} sim_knob;

/* Requests, strikes of faults, and what operators do, as one number each. */
typedef uint64_t sim_atom;

/* Beside the faults. */
enum {
    SIM_ATOM_ACT = SIM_FAULT_COUNT, /* of an operator, in a strike of MEMBERS */
    SIM_ATOM_JOIN,                  /* of the late region: 1 it is added, 2 it starts */
    SIM_ATOM_KINDS
};
const char *sim_atom_name(uint32_t kind);

/* What of a seed's run happens: all of it, unless `small`. */
typedef struct {
    bool small;
    uint64_t regions;  /* bit per region that the seed drew */
    uint32_t plain;    /* bit per sim_knob */
    uint64_t chaos_ms; /* 0: as long as the seed says */
    sim_atom *kept;    /* owned; ascending */
    uint32_t kept_count;
} sim_plan;

static inline sim_atom sim_atom_request(uint32_t region, uint32_t client, uint64_t n)
{
    return (uint64_t)1 << 62 | (uint64_t)region << 48 | (uint64_t)client << 40 | n;
}
static inline sim_atom sim_atom_strike(uint32_t kind, uint64_t n) { return (uint64_t)kind << 48 | n; }
bool sim_plan_keeps(const sim_plan *plan, sim_atom atom);
/** As text of one word, for a command line. */
void sim_plan_print(const sim_plan *plan, sk_buf *text);
/** False if the text is none. */
bool sim_plan_read(const char *text, sim_plan *plan);
void sim_plan_copy(sim_plan *to, const sim_plan *from);
void sim_plan_free(sim_plan *plan);

typedef struct {
    uint8_t a, b;
} sim_pair;

typedef struct {
    uint32_t regions;
    uint32_t drawn;                  /* regions that the seed drew: some may be left out */
    uint32_t id[SIM_REGIONS_MAX];    /* the number that a region had then: what is drawn goes by it */
    uint32_t place[SIM_REGIONS_MAX]; /* and back; SIM_NOWHERE: it is left out */
    bool graph[SIM_REGIONS_MAX][SIM_REGIONS_MAX];
    sim_pair links[SIM_REGIONS_MAX * SIM_REGIONS_MAX / 2]; /* those that were drawn, by id */
    uint32_t link_count;
    sim_shape shape;
    sk_durability durability;
    sk_engine_limits limits;
    uint64_t foreign_expiry_ms;
    sk_retention_cap retention;
    uint32_t fold_rows; /* of a transfer, put into place in a turn; 0: as many as the node would */
    uint32_t faults;    /* bit per sim_fault */
    uint32_t retired;   /* this region, by id, is forgotten in the end; SIM_NOWHERE: none is */
    uint32_t late;      /* this one joins while the others run; SIM_NOWHERE: none does */
    uint32_t through;   /* this one of them it joins through */
    uint64_t late_us;   /* and then */
    uint64_t fault_mean_us[SIM_FAULT_COUNT];
    bool clocks; /* wrong from the start, and running at different speeds */
    uint64_t chaos_us, heal_ms;
    uint64_t delay_us, delay_tail_us;   /* of a message: base, and at most so much more */
    uint64_t turn_us, disk_us, sync_us; /* means */
    uint32_t clients, keys;
    uint64_t think_us;
    uint32_t pipeline; /* requests that a client has under way at most */
    uint32_t large_permille;
    uint32_t watch_permille; /* of the MULTIs, those with a WATCH before them */
    uint32_t check_permille; /* of the steps, for the costly checks */
    uint32_t calm_rounds;    /* judged ones, after healing: see crossing.c */
} sim_config;

void sim_config_draw(sim_config *config, sim_random *random);
/** In how small steps transfers are put into place: drawn from a generator of its own, as are those below. */
void sim_fold_draw(sim_config *config, uint64_t seed);
/** Whether this seed's clients WATCH: drawn from a generator of its own, so that other seeds mean what they meant. */
void sim_watch_draw(sim_config *config, uint64_t seed);
/** Whether this seed rewinds: drawn from a generator of its own, so that other seeds mean what they meant. */
void sim_rewind_draw(sim_config *config, uint64_t seed);
/** Links of that shape between the regions that there are. */
void sim_config_graph(sim_config *config, sim_shape shape, sim_random *random);
/** Are all regions, but for the one at this place (SIM_NOWHERE: for none), linked some way or other? */
bool sim_config_connected(const sim_config *config, uint32_t without);
/** Takes away what the plan leaves out. False if what is left is no cluster. */
bool sim_config_reduce(sim_config *config, const sim_plan *plan);

/* -- network ------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t *data; /* owned */
    size_t len;
    uint32_t delta_origin; /* of a BATCH: canonical */
    uint64_t delta_last;   /* 0: it is none */
} sim_message;

typedef struct {
    sim_message *list; /* owned ring */
    uint32_t first, count, room;
    size_t bytes;
    uint64_t last_us; /* when the last one arrives */
    uint32_t stalls;  /* reasons for being silent */
    uint32_t waiting; /* messages that arrived during a stall */
    sk_vv sent;      /* canonical; owned: how far each origin was sent in this session, since it was last asked again */
    sk_vv arrived;   /* likewise, of what the receiver has been handed */
    sk_vv batch_end; /* likewise, where a batch that continues goes on; never forgotten within a session */
} sim_lane;

typedef struct {
    uint32_t region[2];
    bool exists;
    bool up[2];
    bool dead; /* what is sent is lost; an end that is up will notice */
    bool connecting;
    uint64_t session; /* the number of the one there is, or was last */
    uint32_t blocks;  /* reasons for there being none */
    bool refused[2];  /* by that end's operator */
    bool closing[2];  /* that end's engine has closed it: no link_down follows */
    uint32_t loss_permille;
    uint64_t delay_us;
    sim_random random;
    sim_lane to[2];
} sim_link;

void sim_network_init(sim_world *world);
void sim_network_free(sim_world *world);
uint32_t sim_network_link(const sim_world *world, uint32_t a, uint32_t b);
void sim_network_send(sim_world *world, uint32_t from, uint32_t to, sk_bytes bytes);
size_t sim_network_queued(const sim_world *world, uint32_t from, uint32_t to);
/** The engine at `from` closes its link. */
void sim_network_hang_up(sim_world *world, uint32_t from, uint32_t to, int error);
/** The operator of `from` forbids or allows the link. */
void sim_network_allow(sim_world *world, uint32_t from, uint32_t to, bool allowed);
/** Who is a member for `region` is not what it was. */
void sim_network_members(sim_world *world, uint32_t region);
void sim_network_message(sim_world *world, const sim_event *event);
void sim_network_connect(sim_world *world, const sim_event *event);
void sim_network_closed(sim_world *world, const sim_event *event);
/** The session breaks: what is under way is lost, both ends notice sooner or later. */
void sim_network_cut(sim_world *world, uint32_t link);
void sim_network_block(sim_world *world, uint32_t link);
void sim_network_unblock(sim_world *world, uint32_t link);
void sim_network_stall(sim_world *world, uint32_t link, uint32_t end);
void sim_network_unstall(sim_world *world, uint32_t link, uint32_t end);
/** A region's process is gone: so are its ends. */
void sim_network_gone(sim_world *world, uint32_t region);
/** Tries to connect, soon, what is not connected and may be. */
void sim_network_dial(sim_world *world, uint32_t region);
/** Are all links of those that stay up at both ends, with nothing under way that is not a message? */
bool sim_network_whole(const sim_world *world);
/** Appends which are not: "; …" each. */
void sim_network_describe(const sim_world *world, sk_buf *text);

/* -- deltas on links ----------------------------------------------------------------------------------------------- */

/** A message leaves, or is handed over: BATCHes are followed. */
void sim_crossing_sent(sim_world *world, uint32_t link, uint32_t end, sim_message *message);
void sim_crossing_arrived(sim_world *world, uint32_t link, uint32_t end, const sim_message *message);
/** A new session begins. */
void sim_crossing_reset(sim_link *link);
void sim_crossing_free(sim_world *world);
/** Begins the next calm round, or ends the last; false when there are no more. */
bool sim_crossing_round(sim_world *world);
/** A region's write of this round. */
void sim_crossing_write(sim_world *world, uint32_t region);
/** The link is as it should be, and its way short beside the patience of relays. */
void sim_network_calm(sim_world *world, uint64_t delay_us);

/* -- clients ------------------------------------------------------------------------------------------------------- */

enum { SIM_ARGS_MAX = 12, SIM_QUEUE_MAX = 5, SIM_WATCHED_MAX = 2 };

typedef enum {
    SIM_ASK_PLAIN,
    SIM_ASK_READ,
    SIM_ASK_TOKEN,
    SIM_ASK_AFTER,
    SIM_ASK_WAIT,
    SIM_ASK_SIBLINGS,
    SIM_ASK_WATCH
} sim_ask;

typedef struct {
    sk_bytes argv[SIM_ARGS_MAX]; /* owned */
    uint32_t argc;
    bool single; /* not part of a MULTI: it can be tried again */
    sim_ask ask;
    sk_vv after; /* AFTER: what must be there (canonical); owned */
} sim_request;

/* A reply that was made and has not left. */
typedef struct {
    sim_request request; /* owned */
    sk_buf reply;
    uint64_t hold, epoch;
    bool blocked;
    sk_vv saw;         /* canonical: the region's vector when the reply was made; owned */
    sk_dot wrote;      /* canonical; seq 0: nothing */
    sk_dot last_write; /* WAIT: the client's, canonical */
} sim_pending;

typedef enum { SIM_ABSENT, SIM_PRESENT, SIM_UNSURE } sim_presence;

/* What a client watches, and what has become of it. */
typedef struct {
    bool active;
    sk_vv vv; /* canonical: what the region had then; owned */
    uint64_t epoch;
    uint32_t count;
    uint32_t keys[SIM_WATCHED_MAX];
    sim_presence presence[SIM_WATCHED_MAX]; /* of each key, then */
    bool in_multi[SIM_WATCHED_MAX];         /* a MULTI here has been about it since */
    bool changed;                           /* one that was there then had other rows at some time since */
    bool comes_again;                       /* what a transfer brought of it is put into place a second time */
} sim_watch;

typedef struct {
    sim_region *region;
    sim_random random;    /* of the request that it is at */
    uint64_t asked;       /* requests drawn */
    uint32_t values;      /* in the one that it is at */
    sim_request again;    /* one whose reply was void: it may be tried again */
    sk_client *session;   /* NULL while the region is down */
    sim_pending *pending; /* owned */
    uint32_t pending_count;
    sim_request queued[SIM_QUEUE_MAX]; /* a MULTI being sent: its commands */
    uint32_t queued_count;
    uint32_t queued_sent;    /* 0: nothing, or WATCH; 1: MULTI; then one more for each command */
    sim_request watch_first; /* a WATCH to be sent before it; argc 0: none */
    sim_request put_off;     /* one that waits for rows, to be made again; argc 0: none */
    sim_watch watch;
} sim_client;

/* A token or context that some client got: others may use it, anywhere. */
typedef struct {
    sk_buf text;
    sk_vv vv;          /* canonical */
    uint32_t region;   /* that gave it */
    sk_buf key, field; /* of a context; an empty field: none */
} sim_note;

enum { SIM_NOTES_MAX = 8 };

void sim_client_connect(sim_region *region);
/** The process is gone, or its store failed: whatever was held is void. */
void sim_client_disconnect(sim_region *region);
void sim_client_free(sim_region *region);
void sim_client_step(sim_world *world, uint32_t region, uint32_t client);
/** A region that joins refuses reads. */
void sim_client_check_loading(sim_region *region);
/** Sends the replies that may leave now; voids those of an older epoch. */
void sim_client_release(sim_region *region);
/** Amnesia: until the region has been told of it. From then on it must see by itself that it writes under no old dot,
 *  also where its disk fails and the new incarnation has to be taken again. */
bool sim_client_is_mute(sim_region *region);
/** Makes one request, at once. `checked`: it is about what the model knows (expect.c). False: rows that it is about are not in
 *  place, and it is not made; the client is to be blocked no more when it is tried again. */
bool sim_client_ask(sim_region *region, uint32_t number, const char *const *words, uint32_t count, bool checked);

/** Draws a request. */
void sim_workload_draw(sim_world *world, sim_region *region, sim_client *client, sim_request *out);
void sim_request_free(sim_request *request);
void sim_workload_init(sim_world *world);
void sim_workload_free(sim_world *world);
/** A token or a context is kept for others, in the place of an old one. Copies. */
void sim_workload_note(sim_world *world, sim_client *client, const sim_request *request, sk_bytes text,
                       const sk_vv *vv);

/* A reply, parsed: enough of RESP2 for what clients here ask. */
typedef enum {
    SIM_REPLY_NULL,
    SIM_REPLY_INT,
    SIM_REPLY_TEXT,
    SIM_REPLY_STATUS,
    SIM_REPLY_ERROR,
    SIM_REPLY_ARRAY
} sim_reply_kind;
typedef struct {
    sim_reply_kind kind;
    int64_t number; /* INT; ARRAY: its count */
    sk_bytes text;
} sim_reply;
/** Takes the next element off `at`; the elements of an array follow one by one. False if it is not RESP. */
bool sim_reply_next(sk_bytes *at, sim_reply *reply);

/* -- what a reply must be ------------------------------------------------------------------------------------------ */

/** A client is about to make a request: what the keyspace shows. */
void sim_expect_before(sim_region *region);
/** It has made it (or EXEC for several): what the keyspace shows now, and the reply, must be what follows from that. */
void sim_expect_after(sim_region *region, const sim_request *requests, uint32_t count, bool exec, sk_bytes reply);
/** What it was told of a key that may be in conflict is what the history shows there (GET, SIBLINGS GET). */
void sim_conflict_check(sim_region *region, const sim_request *request, sk_bytes reply);
void sim_expect_init(sim_world *world);
void sim_expect_free(sim_world *world);
/** Is the key there for readers, as the history says, at what the region has now? */
sim_presence sim_expect_presence(sim_region *region, uint32_t key);

/* -- what is watched ----------------------------------------------------------------------------------------------- */

/** The client has said WATCH, and was told OK. */
void sim_watch_begin(sim_client *client, const sim_request *request);
/** The region has come to this canonical vector: what of that is watched? */
void sim_watch_look(sim_region *region, const sk_vv *now);
enum { SIM_MAY_RUN = 1, SIM_MAY_BE_VOID = 2 };
/** An EXEC of these is done: what comes and goes within it, its transaction does not tell. */
void sim_watch_exec(sim_region *region, const sim_request *requests, uint32_t count);
/** What EXEC may come to, asked before it is done. */
uint32_t sim_watch_verdict(const sim_client *client);
/** EXEC is done. */
void sim_watch_over(sim_client *client, uint32_t verdict);
/** The session is gone. */
void sim_watch_end(sim_client *client);

/* -- regions ------------------------------------------------------------------------------------------------------- */

enum { SIM_BACKUPS_MAX = 3 }; /* of a region */

typedef struct {
    sk_store *store; /* owned; NULL: none */
    sk_vv vv;        /* canonical: what it has for certain */
} sim_kept_backup;

enum { SIM_STREAMS_MAX = 4 };

/* A region's state as a stream (port.c). */
typedef struct {
    sk_buf bytes; /* empty: none */
    sk_vv vv;     /* canonical: what it has for certain */
} sim_stream;

/* An import under way. */
typedef struct {
    sk_client *client; /* the replica's; NULL: none */
    uint64_t run;      /* of the region when it began */
    sim_stream stream; /* a copy */
    size_t at;
    sim_random random; /* of its pieces, and of what is between them */
} sim_import;

struct sim_region {
    sim_world *world;
    uint32_t index;
    char name[8];
    sk_store *store;     /* always there: the disk */
    sk_replica *replica; /* NULL: the process is down */
    uint64_t run;        /* counts starts */
    char life[64];
    uint64_t lives, disks;                /* counts boots, and disks that are not the ones of before */
    bool new_life;                        /* at the next start */
    int64_t wall_offset_ms, wall_most_ms; /* what counts as right, and the most of it so far */
    int64_t far_ms;                       /* and what does not: clock.c */
    int64_t drift_ppm;                    /* its clocks, both of them, run so much faster */
    sim_random random;                    /* of its loop, its disk and its starts */
    uint32_t fuse;                        /* MIDWAY: effects up to its death; 0: it does not die */
    bool dead;                            /* it has died in this step; what it still does is without effect */
    uint64_t dead_sealed;
    sim_client clients[SIM_CLIENTS_MAX];

    uint8_t first_key[SK_MEMBER_KEY];      /* that the configurations name */
    uint8_t key[SK_MEMBER_KEY];            /* its public key */
    uint8_t next_key[SK_MEMBER_KEY];       /* from the next start on */
    uint32_t keys;                         /* that were ever made for it */
    sk_member_seed seeds[SIM_REGIONS_MAX]; /* what its configuration says: the others */
    uint32_t seed_count;
    uint8_t peer_was[SK_MEMBERS_MAX]; /* which region a number of the engine meant last: a hint */
    bool was_joining;
    uint64_t restarted_us; /* by an operator, when that was last */
    sk_vv join_goal;       /* canonical: what the one that it joins through had on disk when they were linked */

    uint64_t timer_us; /* when the pending TIMER event is; UINT64_MAX: none */
    uint32_t spins;    /* times in a row that it wanted to be called at once */
    bool turn_pending;
    uint64_t disk_upto; /* the batch that the disk is busy with, or was last */
    bool disk_busy;
    int disk_error; /* what commits fail with; 0: they do not */
    bool nearly_full;
    uint64_t slow; /* the disk takes so many times as long */
    uint64_t last_epoch;

    sk_store *copy;                        /* a backup; NULL: none */
    uint64_t copied_own, copied_seq;       /* when it was made: the incarnation, and how far it had come at least */
    sim_kept_backup kept[SIM_BACKUPS_MAX]; /* for rewind.c */
    sim_import import;
    uint64_t mute_own;    /* amnesia: clients wait while the region's incarnation is this one; 0: they do not */
    uint64_t less_own;    /* it came back with less of this incarnation than others have on disk; 0: it did not */
    uint64_t less_losses; /* how often regions had lost something by then */

    /* what the checks remember */
    uint32_t *map; /* owned; its origin numbers to canonical ones */
    uint32_t map_count;
    sk_vv vv;        /* canonical, as of the last check */
    sk_vv at_least;  /* canonical: what must be there after a start or a rollback */
    sk_vv durable;   /* canonical: durable in the last run, as far as it was known */
    uint64_t losses; /* times that something durable or committed was lost here */
    bool dirty;      /* something happened since the costly checks */
    bool rows_due;   /* all rows are to be looked at: it has started, rolled back, or put a transfer into place */
    sk_dot last_txn; /* canonical; of the last local transaction; seq 0: none since it was zeroed */
};

void sim_region_init(sim_world *world, uint32_t index);
void sim_region_free(sim_region *region);
void sim_region_start(sim_region *region);
/** Ends the process. `keep_all`: a kill; else a machine that went down. */
void sim_region_crash(sim_region *region, bool kill);
void sim_region_stop(sim_region *region);
/** The process is about to do something that others see: false if it has died before. */
bool sim_region_effect(sim_region *region);
/** Brings what is written, and no more, to the disk. */
int sim_region_sync(sim_region *region);
/** A region's own monotonic clock. */
uint64_t sim_region_now_ms(const sim_region *region);
/** Tells the replica the time, before an event. */
void sim_region_time(sim_region *region);
/** After an event: wakes what must be woken, and checks. */
void sim_region_after(sim_region *region);
/** What an operator says; its reply is appended. */
void sim_region_command(sim_region *region, const sk_bytes *argv, size_t argc, sk_buf *out);
void sim_region_timer(sim_region *region);
void sim_region_turn(sim_region *region, uint64_t run);
void sim_region_disk(sim_region *region, const sim_event *event);
void sim_region_sync_tick(sim_region *region);
uint64_t sim_region_wall_ms(const sim_region *region);

/* -- members ------------------------------------------------------------------------------------------------------- */

/** Whether and how members change, whatever else the seed draws. */
void sim_member_draw(sim_config *config, uint64_t seed);
/** Regions have been left out. False if that leaves no cluster. */
bool sim_member_reduce(sim_config *config);
/** All regions are there, and get keys and configurations. */
void sim_member_init(sim_world *world);
/** The one that it joins through by its configuration; NULL: it does not. */
const char *sim_member_joins(const sim_region *region);
/** The region that has this number in the engine; the number that a region has there, or -1. */
uint32_t sim_member_region(sim_region *region, uint32_t peer);
int sim_member_peer(const sim_region *region, const sim_region *other);
/** Does it take the other one, with the key that it has, for a member? */
bool sim_member_accepts(const sim_region *region, const sim_region *other);
/** An operator, or two, do something about it (NULL: it is left out). */
void sim_member_strike(sim_world *world, sim_region *about);
/** True if the region joins later: then it starts by itself. */
bool sim_member_waits(sim_world *world, const sim_region *region);
void sim_member_join(sim_world *world, sim_region *region);
void sim_member_linked(sim_world *world, const sim_link *link);
/** Has it joined? Then it has all that it must. */
void sim_member_check(sim_region *region);
/** From now on the others do without the one that is retired. */
void sim_member_retire(sim_world *world);
/** While it heals, operators bring the members in order. False: they had nothing to do. */
bool sim_member_heal(sim_world *world);
/** Operators are told that nothing is lacking of what forgotten regions wrote. NULL: they are. */
const char *sim_member_missing(sim_region *region);
/** Appends who takes whom for what it is not: "; …" each. */
void sim_member_describe(const sim_world *world, sk_buf *text);

/* -- clock.c ------------------------------------------------------------------------------------------------------- */

/** Sets the region's clock far ahead, if it is its turn. */
bool sim_clock_far(sim_world *world, sim_region *region);
/** A local transaction was stamped. */
void sim_clock_check(const sim_region *region, sk_hlc stamp);
/** What the end of a run still waits for; NULL: nothing. */
const char *sim_clock_missing(const sim_world *world);
/** Brings `map` up to date, and makes a vector canonical (over `out`). */
void sim_region_canonical(sim_region *region, const sk_vv *vv, sk_vv *out);
static inline bool sim_region_up(const sim_region *region) { return region->replica != NULL; }

/* -- faults -------------------------------------------------------------------------------------------------------- */

void sim_fault_init(sim_world *world);
void sim_fault_strike(sim_world *world, sim_fault fault);
void sim_fault_repair(sim_world *world, const sim_event *event);
/** One of the regions that the seed had, drawn for the strike that is under way; NULL: that one is left out. */
sim_region *sim_fault_region(sim_world *world);
/** It dies and comes back with an empty one. */
void sim_fault_new_disk(sim_world *world, sim_region *region);
/** Its process starts again after a while. */
void sim_fault_restart_later(sim_world *world, sim_region *region);
/** Takes a backup of the region (NULL: it is left out), or restores it or all from what they have; or an export, an
 * import. */
void sim_rewind_strike(sim_world *world, sim_region *region);
/** Keeps an export of a region; begins to import one that was kept into another; the next step of that; its end, if all
 * is healed. */
void sim_port_export(sim_region *region);
void sim_port_import(sim_region *region);
void sim_port_step(sim_region *region);
void sim_port_finish(sim_region *region);
void sim_port_free(sim_world *world);
/** What the backups had from which all regions were restored is here, if nothing was lost since. */
void sim_rewind_check(sim_region *region);
/** Everything that is broken is repaired, and nothing breaks any more. */
void sim_fault_heal(sim_world *world);

/* -- checks -------------------------------------------------------------------------------------------------------- */

/** Is it the same row? */
bool sim_check_same(const sim_expected *a, const sim_expected *b);
/** What must hold after every event at this region; `costly`: rows against the oracle, everything derived. */
void sim_check_region(sim_region *region, bool costly);
/** The rows that the region shows are those that the history says. */
void sim_check_rows(sim_region *region);
/** NULL if all regions have the same, on disk, else what is missing. */
const char *sim_check_agreed(sim_world *world);
/** NULL if all regions agree and nothing is left to do, else what is missing. */
const char *sim_check_converged(sim_world *world);
/** Appends what differs, and at which region: "; …" each. */
void sim_rest_describe(sim_world *world, sk_buf *text);
/** Prints what of the history is left, for a report. */
void sim_check_leftovers(sim_world *world);
/** The region is about to write this dot: nobody else may have it. */
void sim_check_dot(sim_region *region, sk_dot dot);
/** How often regions lost something. */
uint64_t sim_check_losses(const sim_world *world);
/** The region lost something: what it acknowledged may be gone. */
void sim_check_lost(sim_region *region);
/** The vector that the region's disk has for certain. */
void sim_check_durable(sim_region *region, sk_vv *out);

/* -- traces and failures ------------------------------------------------------------------------------------------- */

void sim_trace(sim_world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** The same, and a line of the story (sim --story, and what is shown of a run made small). */
void sim_tell(sim_world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Reports and ends the process. */
_Noreturn void sim_fail(sim_world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Reports where the run stands: for a process that dies by itself. */
void sim_report(const sim_world *world, const char *what);

/* -- a run --------------------------------------------------------------------------------------------------------- */

/* What a run may have: counted over many. */
typedef enum {
    SIM_HAD_FAULT,                                   /* SIM_FAULT_COUNT of them */
    SIM_HAD_SHAPE = SIM_HAD_FAULT + SIM_FAULT_COUNT, /* SIM_SHAPE_COUNT of them */
    SIM_HAD_MANY = SIM_HAD_SHAPE + SIM_SHAPE_COUNT,
    SIM_HAD_ALWAYS,
    SIM_HAD_INTERVAL,
    SIM_HAD_COMPLETE, /* partitions */
    SIM_HAD_PARTIAL,
    SIM_HAD_ONE_WAY,
    SIM_HAD_ISOLATED,
    SIM_HAD_BRIDGE,
    SIM_HAD_RING,
    SIM_HAD_TORN, /* the power went while a batch was being written */
    SIM_HAD_FULL,
    SIM_HAD_DRIFT,
    SIM_HAD_HOUR,
    SIM_HAD_TEN_YEARS,
    SIM_HAD_STALE_END, /* a session began before one end had noticed the end of the last */
    SIM_HAD_TRANSFER,
    SIM_HAD_RECONCILE,
    SIM_HAD_RESUMED,
    SIM_HAD_ROLLBACK,
    SIM_HAD_INCARNATION,
    SIM_HAD_REWOUND,
    SIM_HAD_IMPORT,
    SIM_HAD_JOIN,
    SIM_HAD_RETIRED,
    SIM_HAD_RETRY,
    SIM_HAD_PUT_OFF,      /* a request waited for rows of a transfer to be in place… */
    SIM_HAD_HELD_FOR_ROWS, /* … or a transaction of another region did */
    SIM_HAD_MOVED_TOKEN,
    SIM_HAD_OLD_CONTEXT,
    SIM_HAD_POLICY,
    SIM_HAD_WATCH_RAN,
    SIM_HAD_WATCH_VOID,
    SIM_HAD_CALM,
    SIM_HAD_LAGGARD,     /* history has gone on without a region… */
    SIM_HAD_LAGGARD_MID, /* …to which a transfer was under way */
    SIM_HAD_COUNT
} sim_had;

typedef struct {
    uint64_t events, simulated_ms, requests, replies, voided, writes, transactions;
    uint64_t messages, bytes, batches, batch_bytes, cuts, partitions, kills, power_losses, stops, restores, amnesias;
    uint64_t disk_failures, clock_jumps, rewinds, imports;
    uint64_t flips, flips_refused, flips_found, flips_unproven, worn, tails, strays;
    uint64_t clones, midways, agains, lost;
    uint64_t rollbacks, new_incarnations, dots_reused;
    uint64_t forgets, adds, rekeys, clashes, retirements, joins;
    uint64_t transfers, transfers_reconcile, questions, wants, transfers_resumed, transfers_ended, duplicates, resends;
    uint64_t expired, conflicts, checks, waits, tokens, reads_checked, replies_checked, watches_ran, watches_void;
    uint64_t conflicts_shown, newest_shown, siblings_listed;
    uint64_t deltas, calm_deltas, calm_rounds, rough_rounds;
    uint64_t runs, runs_with[SIM_HAD_COUNT];
} sim_counts;

enum { SIM_ATOMS_MAX = 1 << 15 };

/* What a run leaves behind for the process that started it, in memory that they share. */
typedef struct {
    uint32_t failure; /* which kind; 0: none */
    char what[600];
    uint64_t at_us, events;
    uint64_t regions; /* bit per region that the seed drew */
    uint64_t last_us; /* when the last atom happened */
    uint32_t atom_count;
    sim_atom atoms[SIM_ATOMS_MAX]; /* what has happened up to there, in order */
} sim_verdict;

typedef struct {
    bool trace;           /* print every line */
    bool story;           /* print those that tell the story */
    bool check_all;       /* the costly checks at every step */
    bool quiet;           /* no report of a failure */
    bool unchecked;       /* no checks: for measuring */
    uint64_t events_max;  /* 0: SIM_EVENTS_MAX */
    uint64_t until_us;    /* what has not failed by then has passed; 0: the end */
    const sim_plan *plan; /* NULL: everything */
    sim_verdict *verdict; /* NULL: nobody asks */
    const char *program;
} sim_options;

/** A process that dies by a signal or a sanitizer says where its run stood. */
void sim_watch_over_death(void);
/** Reports all that many runs had, after so many seconds. */
void sim_report_counts(const sim_counts *counts, double seconds);
/** Makes the seed's failing run as small as it gets, and tells its story. False if it does not fail. */
bool sim_shrink(uint64_t seed, const sim_options *options);
/** Measures what a write costs, and prints a table. */
void sim_cost(const sim_options *options);

/* Digests by what they were digests of. */
typedef struct {
    uint64_t name;
    sk_digest digest;
} sim_digest_slot;

typedef enum { SIM_CHAOS, SIM_HEALING, SIM_CALM, SIM_DONE } sim_phase;

struct sim_world {
    uint64_t seed;
    const sim_options *options;
    sim_random random; /* of the strike that is under way */
    sim_config config;
    sim_events events;
    uint64_t now_us;
    sim_phase phase;
    uint64_t phase_us; /* when it began */
    sim_region regions[SIM_REGIONS_MAX];
    sim_region *far_region; /* the one whose clock is sometimes far ahead; NULL: none yet */
    sim_link links[SIM_REGIONS_MAX * SIM_REGIONS_MAX];
    uint64_t strikes[SIM_FAULT_COUNT];
    sim_oracle oracle;
    sim_counts counts;
    sk_vv rewound; /* canonical: all that the backups had when all regions were last restored */
    uint64_t rewound_losses;
    sim_stream streams[SIM_STREAMS_MAX];
    sim_flip flip;
    sim_wear wear;
    sim_stray stray;
    uint64_t had;         /* bit per sim_had */
    uint32_t round;       /* of the calm ones */
    uint32_t rounds_left; /* to be judged */
    uint32_t warm_ups;    /* rounds that were restless and not rough */
    bool settled;         /* a round has passed in which no relay began or ended */
    uint64_t relays;      /* names those there were at its beginning */
    bool rough;           /* this round is none to judge by: something was asked again, or came as rows */
    sk_vv round_from;     /* canonical, owned: deltas above are of this round */
    uint32_t weights[64]; /* of the kinds of requests */
    sim_note tokens[SIM_NOTES_MAX], contexts[SIM_NOTES_MAX];
    uint32_t token_count, context_count;
    struct sim_expect *expect; /* owned; expect.c */
    sim_digest_slot *digests;  /* owned; open addressing */
    uint32_t digest_count, digest_size;
    char trace[SIM_TRACE_LINES][SIM_TRACE_CHARS];
    uint64_t trace_count, trace_hash;
};

static inline void sim_mark(sim_world *world, uint32_t had) { world->had |= (uint64_t)1 << had; }

/** A world of that configuration, or of what the seed draws (NULL). NULL if the plan leaves nothing of it. */
sim_world *sim_world_new(uint64_t seed, const sim_options *options, const sim_config *config);
void sim_world_free(sim_world *world);
/** The next event. False when there are none. */
bool sim_world_step(sim_world *world);
/** Runs one seed to its end; adds to `counts`. Returns the hash of its trace. */
uint64_t sim_world_run(uint64_t seed, const sim_options *options, sim_counts *counts);
/** The world that runs, or NULL: for reports of a dying process. */
extern const sim_world *sim_world_current;
/** Is this request or strike part of the run? Notes that it happened. */
bool sim_world_happens(sim_world *world, sim_atom atom);
/** Notes how the run has failed, for whoever started it. */
void sim_verdict_note(const sim_world *world, const char *kind, const char *what);

/** Is it a region that must agree with the others in the end? One that does. */
static inline bool sim_member_stays(const sim_world *world, uint32_t region)
{
    return world->config.id[region] != world->config.retired;
}
static inline sim_region *sim_member_first(sim_world *world) { return &world->regions[!sim_member_stays(world, 0)]; }

static inline uint64_t sim_now_ms(const sim_world *world) { return world->now_us / 1000; }

#endif
