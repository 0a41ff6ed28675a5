/* Members as rows: which databases are regions of this cluster, as every region comes to know it.
 *
 * A database is known by a region's name and its public key together. What is said of one is a register row of its own
 * (crdt/rowkey.h, table 'r'), a record that travels and merges as any other row does. Beside the rows counts the
 * configuration's list of peers: as rows that are older than all others.
 *
 *   IN          it is the region of that name
 *   REPLACED    it was, until it got another key (REGION REKEY); it may still connect until `until_ms`
 *   FORGOTTEN   it is no member any more (REGION FORGET): refused, but known, for it may be added again
 *
 * Who writes at the same time as another makes siblings. Of those FORGOTTEN counts before REPLACED, and that before IN;
 * else the newest. Who has seen what he writes over decides, whatever it was. Of several keys that are IN under one
 * name the newest is the region, by time and then origin: the same one wherever the same rows are known. The others
 * clash: they are refused until somebody forgets one. (node/cmd_region.c writes the rows, node/replica.c follows them.)
 *
 * Invariants: a list is ordered by name and key, each pair once. Rows that do not read well say nothing. */
#ifndef SK_NODE_MEMBER_H
#define SK_NODE_MEMBER_H

#include "node/db.h"

enum {
    SK_MEMBER_ADDRESSES_MAX = 8,
    SK_MEMBER_ADDRESS_BYTES = 264, /* of one: "host:port" */
    SK_MEMBER_LIST_MAX = 1024,     /* rows and configured peers that are looked at */
    SK_MEMBER_KEY = SK_ROWKEY_PUBLIC_KEY,
};

typedef enum { SK_MEMBER_IN, SK_MEMBER_REPLACED, SK_MEMBER_FORGOTTEN } sk_member_state;

typedef struct {
    sk_bytes text[SK_MEMBER_ADDRESSES_MAX]; /* "host:port", in the order in which they are tried */
    uint32_t count;
} sk_member_addresses;

/* What a row says. Borrowed from it. */
typedef struct {
    sk_member_state state;
    uint64_t until_ms; /* REPLACED: wall clock */
    uint64_t forgets;  /* how often it was forgotten: one that is IN again takes a new incarnation for each */
    sk_member_addresses addresses;
} sk_member_record;

void sk_member_pack(sk_buf *buf, const sk_member_record *record);
/** False if it does not read well. */
bool sk_member_read(sk_bytes bytes, sk_member_record *record);

/* A peer of the configuration. Borrowed. */
typedef struct {
    const char *region;
    const uint8_t *public_key; /* SK_MEMBER_KEY bytes */
    sk_member_addresses addresses;
} sk_member_seed;

typedef struct {
    char region[SK_REGION_NAME_MAX + 1];
    uint8_t public_key[SK_MEMBER_KEY];
    sk_member_record record; /* addresses in the list's memory; if a row has none, those that the configuration has for
                                the name */
    bool has_row;            /* else only the configuration names it */
    bool is_own;             /* this very database */
    bool chosen;             /* the region of its name */
    sk_hlc hlc;              /* of what decides */
    sk_dot dot;              /* likewise; seq 0 without a row */
} sk_member;

typedef struct {
    sk_member *list; /* owned */
    uint32_t count;
    uint32_t forgotten; /* how many are FORGOTTEN */
    sk_arena arena;
} sk_members;

/* Who asks: the region's own name and key, and its configuration. Borrowed. */
typedef struct {
    const char *region;
    const uint8_t *public_key;
    const sk_member_seed *seeds;
    uint32_t seed_count;
    const char *trusted; /* the seed of this name is its region whatever rows say; NULL: none */
} sk_member_self;

/** Reads everything anew over `members`. At most `most` are chosen beside this region, the oldest. An error of the
 *  store leaves `members` as it was. */
int sk_members_load(sk_db *db, const sk_member_self *self, uint32_t most, sk_members *members);
void sk_members_free(sk_members *members);
/** The one with that name and key; NULL if there is none. */
const sk_member *sk_members_find(const sk_members *members, sk_bytes region, const uint8_t public_key[SK_MEMBER_KEY]);
/** The region of that name: the chosen one, or this very database; NULL if there is none. */
const sk_member *sk_members_region(const sk_members *members, sk_bytes region);
/** The name of the region that wrote what decides about this one. Static or of the database. */
const char *sk_member_by(const sk_db *db, const sk_member *member);

/** What a database that calls with this name and key is, at that time: SK_OK: a member, also with a key that is being
 *  replaced; or SK_E_FORGOTTEN, SK_E_CLASH, SK_E_REPLACED (for too long), SK_E_AUTH (the name is known, this key is not), or
 *  SK_E_CLUSTER (the name is not known either). */
int sk_members_judge(const sk_members *members, sk_bytes region, const uint8_t public_key[SK_MEMBER_KEY],
                     uint64_t wall_ms);

#endif
