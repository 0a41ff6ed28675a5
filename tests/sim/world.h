/* One simulated world: regions, links, disks, clocks and clients, driven by one queue of events.
 *
 *   event.c     the queue of events
 *   config.c    what a seed draws: regions, graph, limits, workload, faults
 *   region.c    a region: the replica (the node's own object code), its store, its clock, its loop
 *   network.c   links between regions
 *   fault.c     what goes wrong, and when
 *   clock.c     clocks that are far ahead
 *   client.c    clients: requests, replies and when they may leave
 *   workload.c  what clients ask for
 *   expect.c    what a reply must be
 *   check.c     the promises, after every event
 *   trace.c     one line an event; failure reports
 *   world.c     a run: chaos, then healing, then the end
 *
 * Nothing but the seed may influence a run: no time, no address, no order that a hash of a pointer gives. */
#ifndef SK_TESTS_SIM_WORLD_H
#define SK_TESTS_SIM_WORLD_H

#include "node/command.h"
#include "node/replica.h"
#include "storage/memory.h"
#include "tests/sim/oracle.h"
#include "tests/sim/random.h"

enum {
    SIM_REGIONS_MAX = 9,
    SIM_CLIENTS_MAX = 3, /* a region */
    SIM_KEYS_MAX = 8,    /* k0 to k7 */
    SIM_MEMBERS = 4,     /* fields f0 to f3, members m0 to m3 */
    SIM_TRACE_LINES = 40,
    SIM_TRACE_CHARS = 320,
    SIM_EVENTS_MAX = 3000000, /* a run that needs more does not come to rest */
    SIM_HEAL_MS = 120 * 1000, /* after healing, everything must agree within this time… */
    SIM_HEAL_SLOW_MS = 600 * 1000, /* …or this, where a transfer brings one row in a round trip */
};

#define SIM_WALL_MS 1700000000000u /* the true time at the beginning of every run */

typedef struct sim_world sim_world;
typedef struct sim_region sim_region;

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
} sim_event_kind;

typedef struct {
    uint64_t at_us, order;
    sim_event_kind kind;
    uint32_t a, b;
    uint64_t n;
} sim_event;

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
    SIM_FAULT_MEMBERS,   /* REGION FORGET, ADD and REKEY, here and there, also at once */
    SIM_FAULT_REWIND,    /* all regions, or some, are restored from backups of different age; drawn apart (rewind.c) */
    SIM_FAULT_COUNT
} sim_fault;

typedef struct {
    uint32_t regions;
    bool graph[SIM_REGIONS_MAX][SIM_REGIONS_MAX];
    const char *graph_name;
    sk_durability durability;
    sk_engine_limits limits;
    uint64_t foreign_expiry_ms;
    uint32_t faults; /* bit per sim_fault */
    uint32_t retired; /* this region is forgotten in the end; SIM_REGIONS_MAX: none is */
    uint32_t late;    /* this one joins while the others run; SIM_REGIONS_MAX: none does */
    uint32_t through; /* this one of them it joins through */
    uint64_t fault_mean_us[SIM_FAULT_COUNT];
    uint64_t chaos_us, heal_ms;
    uint64_t delay_us, delay_tail_us;   /* of a message: base, and at most so much more */
    uint64_t turn_us, disk_us, sync_us; /* means */
    uint32_t clients, keys;
    uint64_t think_us;
    uint32_t pipeline; /* requests that a client has under way at most */
    uint32_t large_permille;
    uint32_t check_permille; /* of the steps, for the costly checks */
} sim_config;

void sim_config_draw(sim_config *config, sim_random *random);
/** Whether this seed rewinds: drawn from a generator of its own, so that other seeds mean what they meant. */
void sim_rewind_draw(sim_config *config, uint64_t seed);

/* -- network ------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t *data; /* owned */
    size_t len;
} sim_message;

typedef struct {
    sim_message *list; /* owned ring */
    uint32_t first, count, room;
    size_t bytes;
    uint64_t last_us; /* when the last one arrives */
    uint32_t stalls;  /* reasons for being silent */
    uint32_t waiting; /* messages that arrived during a stall */
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

/* -- clients ------------------------------------------------------------------------------------------------------- */

enum { SIM_ARGS_MAX = 12, SIM_QUEUE_MAX = 5 };

typedef enum { SIM_ASK_PLAIN, SIM_ASK_READ, SIM_ASK_TOKEN, SIM_ASK_AFTER, SIM_ASK_WAIT, SIM_ASK_SIBLINGS } sim_ask;

typedef struct {
    sk_bytes argv[SIM_ARGS_MAX]; /* owned */
    uint32_t argc;
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

typedef struct {
    sim_region *region;
    sk_client *session;   /* NULL while the region is down */
    sim_pending *pending; /* owned */
    uint32_t pending_count;
    sim_request queued[SIM_QUEUE_MAX]; /* a MULTI being sent: its commands */
    uint32_t queued_count;
    uint32_t queued_sent; /* 0: nothing; 1: MULTI; then one more for each command */
} sim_client;

/* A token or context that some client got: others may use it, anywhere. */
typedef struct {
    sk_buf text;
    sk_vv vv;          /* canonical */
    sk_buf key, field; /* of a context; an empty field: none */
} sim_note;

enum { SIM_NOTES_MAX = 8 };

void sim_client_connect(sim_region *region);
/** The process is gone, or its store failed: whatever was held is void. */
void sim_client_disconnect(sim_region *region);
void sim_client_step(sim_world *world, uint32_t region, uint32_t client);
/** A region that joins refuses reads. */
void sim_client_check_loading(sim_region *region);
/** Sends the replies that may leave now; voids those of an older epoch. */
void sim_client_release(sim_region *region);

/** Draws a request. */
void sim_workload_draw(sim_world *world, sim_region *region, sim_client *client, sim_request *out);
void sim_request_free(sim_request *request);
void sim_workload_init(sim_world *world);
void sim_workload_free(sim_world *world);
/** A token or a context is kept for others, in the place of an old one. Copies. */
void sim_workload_note(sim_world *world, const sim_request *request, sk_bytes text, const sk_vv *vv);

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
void sim_expect_free(sim_world *world);

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
} sim_import;

struct sim_region {
    sim_world *world;
    uint32_t index;
    char name[8];
    uint8_t key[SK_MEMBER_KEY];            /* its public key */
    uint8_t next_key[SK_MEMBER_KEY];       /* from the next start on */
    sk_member_seed seeds[SIM_REGIONS_MAX]; /* what its configuration says: the others */
    uint32_t seed_count;
    sk_store *store;                       /* always there: the disk */
    sk_replica *replica;                   /* NULL: the process is down */
    uint64_t run;                          /* counts starts */
    char life[64];
    uint64_t lives, disks; /* counts boots, and disks that are not the ones of before */
    bool new_life; /* at the next start */
    int64_t wall_offset_ms, wall_most_ms; /* what counts as right, and the most of it so far */
    int64_t far_ms;                       /* and what does not: clock.c */
    bool was_joining;
    sk_vv join_goal; /* canonical: what the one that it joins through had on disk when they were linked */
    sim_client clients[SIM_CLIENTS_MAX];

    uint64_t timer_us; /* when the pending TIMER event is; UINT64_MAX: none */
    uint32_t spins;    /* times in a row that it wanted to be called at once */
    bool turn_pending;
    uint64_t disk_upto; /* the batch that the disk is busy with, or was last */
    bool disk_busy;
    int disk_error; /* what commits fail with; 0: they do not */
    bool nearly_full;
    uint64_t slow; /* the disk takes so many times as long */
    uint64_t last_epoch;

    sk_store *copy;                  /* a backup; NULL: none */
    uint64_t copied_own, copied_seq; /* when it was made: the incarnation, and how far it had come at least */
    sim_kept_backup kept[SIM_BACKUPS_MAX]; /* for rewind.c */
    sim_import import;
    uint64_t mute_own; /* amnesia: clients wait while the region's incarnation is this one; 0: they do not */
    uint64_t less_own; /* it came back with less of this incarnation than others have on disk; 0: it did not */
    uint64_t less_losses; /* how often regions had lost something by then */

    /* what the checks remember */
    uint32_t *map; /* owned; its origin numbers to canonical ones */
    uint32_t map_count;
    sk_vv vv;        /* canonical, as of the last check */
    sk_vv at_least;  /* canonical: what must be there after a start or a rollback */
    sk_vv durable;   /* canonical: durable in the last run, as far as it was known */
    uint64_t losses; /* times that something durable or committed was lost here */
    bool dirty;      /* something happened since the costly checks */
    sk_dot last_txn; /* canonical; of the last local transaction; seq 0: none since it was zeroed */
};

/** A key that nobody has had. */
void sim_region_make_key(sim_world *world, uint8_t key[SK_MEMBER_KEY]);
void sim_region_init(sim_world *world, uint32_t index);
void sim_region_free(sim_region *region);
void sim_region_start(sim_region *region);
/** Ends the process. `keep_all`: a kill; else a machine that went down. */
void sim_region_crash(sim_region *region, bool kill);
void sim_region_stop(sim_region *region);
/** Tells the replica the time, before an event. */
void sim_region_time(sim_region *region);
/** After an event: wakes what must be woken, and checks. */
void sim_region_after(sim_region *region);
void sim_region_timer(sim_region *region);
void sim_region_turn(sim_region *region, uint64_t run);
void sim_region_disk(sim_region *region, const sim_event *event);
void sim_region_sync_tick(sim_region *region);
uint64_t sim_region_wall_ms(const sim_region *region);

/* -- clock.c ------------------------------------------------------------------------------------------------------- */

/** Sets the region's clock far ahead, if it is its turn. */
bool sim_clock_far(sim_world *world, sim_region *region);
/** A local transaction was stamped. */
void sim_clock_check(const sim_region *region, sk_hlc stamp);
/** What the end of a run still waits for; NULL: nothing. */
const char *sim_clock_missing(const sim_world *world);
/** Brings `map` up to date, and makes a vector canonical (over `out`). */
void sim_region_canonical(sim_region *region, const sk_vv *vv, sk_vv *out);
/** The region that has this number in the engine; the number that a region has there, or -1. */
uint32_t sim_region_of(const sim_region *region, uint32_t peer);
int sim_region_peer(const sim_region *region, const sim_region *other);
/** Does it take the other one, with the key that it has, for a member? */
bool sim_region_accepts(const sim_region *region, const sim_region *other);
static inline bool sim_region_up(const sim_region *region) { return region->replica != NULL; }

/* -- faults -------------------------------------------------------------------------------------------------------- */

void sim_fault_init(sim_world *world);
void sim_fault_strike(sim_world *world, sim_fault fault);
void sim_fault_repair(sim_world *world, const sim_event *event);
/** Its process starts again after a while. */
void sim_fault_restart_later(sim_world *world, sim_region *region);
/** Takes a backup of some region, or restores all or some from what they have. */
void sim_rewind_strike(sim_world *world);
/** Keeps an export of a region; begins to import one that was kept into another; the next step of that; its end, if all is
 *  healed. */
void sim_port_export(sim_region *region);
void sim_port_import(sim_region *region);
void sim_port_step(sim_region *region);
void sim_port_finish(sim_region *region);
void sim_port_free(sim_world *world);
/** What the backups had from which all regions were restored is here, if nothing was lost since. */
void sim_rewind_check(sim_region *region);
/** Everything that is broken is repaired, and nothing breaks any more. */
void sim_fault_heal(sim_world *world);
/** While it heals, operators bring the members in order. False: they had nothing to do. */
bool sim_fault_heal_members(sim_world *world);

/* -- checks -------------------------------------------------------------------------------------------------------- */

/** What must hold after every event at this region; `costly`: rows against the oracle, everything derived. */
void sim_check_region(sim_region *region, bool costly);
/** The rows that the region shows are those that the history says. */
void sim_check_rows(sim_region *region);
/** NULL if all regions agree and nothing is left to do, else what is missing. */
const char *sim_check_converged(sim_world *world);
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
/** Reports and ends the process. */
_Noreturn void sim_fail(sim_world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Reports where the run stands: for a process that dies by itself. */
void sim_report(const sim_world *world, const char *what);

/* -- a run --------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t events, simulated_ms, requests, replies, voided, writes, transactions;
    uint64_t messages, cuts, partitions, kills, power_losses, stops, restores, amnesias, rewinds, imports, disk_failures, clock_jumps;
    uint64_t rollbacks, new_incarnations, dots_reused;
    uint64_t forgets, adds, rekeys, clashes, retirements, joins;
    uint64_t transfers, transfers_reconcile, questions, wants, transfers_resumed, transfers_ended, duplicates, resends;
    uint64_t expired, conflicts, checks, waits, tokens, reads_checked, replies_checked;
} sim_counts;

typedef struct {
    bool trace;     /* print every line */
    bool check_all; /* the costly checks at every step */
    const char *program;
} sim_options;

/* Digests by what they were digests of. */
typedef struct {
    uint64_t name;
    sk_digest digest;
} sim_digest_slot;

struct sim_world {
    uint64_t seed;
    const sim_options *options;
    sim_random random;
    sim_config config;
    sim_events events;
    uint64_t now_us;
    bool healing;
    sim_region regions[SIM_REGIONS_MAX];
    sim_region *far_region; /* the one whose clock is sometimes far ahead; NULL: none yet */
    uint8_t founders[SIM_REGIONS_MAX][SK_MEMBER_KEY]; /* the keys that the configurations name */
    uint64_t keys; /* that were ever made */
    sim_link links[SIM_REGIONS_MAX * SIM_REGIONS_MAX];
    sim_oracle oracle;
    sim_counts counts;
    sk_vv rewound; /* canonical: all that the backups had when all regions were last restored */
    uint64_t rewound_losses;
    sim_stream streams[SIM_STREAMS_MAX];
    uint64_t next_value;
    uint32_t weights[64]; /* of the kinds of requests */
    sim_note tokens[SIM_NOTES_MAX], contexts[SIM_NOTES_MAX];
    uint32_t token_count, context_count;
    struct sim_expect *expect; /* owned; expect.c */
    sim_digest_slot *digests;  /* owned; open addressing */
    uint32_t digest_count, digest_size;
    bool finished;
    char trace[SIM_TRACE_LINES][SIM_TRACE_CHARS];
    uint64_t trace_count, trace_hash;
};

/** Runs one seed to its end; adds to `counts`. Returns the hash of its trace. */
uint64_t sim_world_run(uint64_t seed, const sim_options *options, sim_counts *counts);
/** The world that runs, or NULL: for reports of a dying process. */
extern const sim_world *sim_world_current;

/** Is it a region that must agree with the others in the end? */
static inline bool sim_stays(const sim_world *world, uint32_t region) { return world->config.retired != region; }

static inline uint64_t sim_now_ms(const sim_world *world) { return world->now_us / 1000; }

#endif
