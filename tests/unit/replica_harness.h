/* What tests of commands share: replicas over the memory store, one or two regions, asked in plain text.
 *
 * Requests are words parted by single spaces; "~" stands for an empty word. Replies are compared whole, with a space in
 * place of each line end. */
#ifndef SK_TESTS_REPLICA_HARNESS_H
#define SK_TESTS_REPLICA_HARNESS_H

#include "node/command.h"
#include "node/replica.h"
#include "storage/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define WALL_MS 1700000000000u

enum { WORDS_MAX = 64 };

typedef struct region region;

struct region {
    sk_store *store; /* what the replica uses… */
    sk_store *disk;  /* … and the memory store in it or under it */
    bool may_fail; /* a link may be closed, a start refused */
    uint32_t hung_up;
    sk_replica *replica;
    sk_member_seed seed; /* the peer, if there is one */
    sk_client *client;
    region *other; /* NULL: alone */
    sk_buf inbox;  /* messages from the other, each after its length */
    sk_buf reply;
    char setting[64]; /* what CONFIG GET and SET know as "level"; "locked" refuses */
};

static inline void region_send(void *self, uint32_t peer, sk_bytes message)
{
    (void)peer;
    region *to = ((region *)self)->other;
    sk_buf_append(&to->inbox, &message.len, sizeof message.len);
    sk_buf_bytes(&to->inbox, message);
}

static inline size_t region_queued(void *self, uint32_t peer)
{
    (void)self, (void)peer;
    return 0;
}

static inline void region_hang_up(void *self, uint32_t peer, int error)
{
    (void)peer;
    ((region *)self)->hung_up++;
    if (!((region *)self)->may_fail) fail_msg("link closed: %s", sk_error_text(error));
}

static inline void region_link_allowed(void *self, uint32_t peer, bool allowed)
{
    (void)self, (void)peer, (void)allowed;
}

static inline int region_config_get(void *self, sk_bytes pattern, const sk_reply *reply)
{
    if (pattern.len == 0 || !memchr("*l", pattern.data[0], 2)) return 0;
    sk_reply_bulk_str(reply, "level");
    sk_reply_bulk_str(reply, ((region *)self)->setting);
    sk_reply_bulk_str(reply, "locked");
    sk_reply_bulk_str(reply, "");
    if (sk_bytes_equal(pattern, sk_bytes_str("*"))) return 2;
    sk_buf_reset(reply->out);
    bool level = sk_bytes_equal(pattern, sk_bytes_str("level"));
    sk_reply_bulk_str(reply, level ? "level" : "locked");
    sk_reply_bulk_str(reply, level ? ((region *)self)->setting : "");
    return 1;
}

/* All or none, as sk_settings_set. */
static inline int region_config_set(void *self, const sk_bytes *pairs, size_t count, size_t *failed, sk_buf *error)
{
    for (size_t i = 0; i < count; i++) {
        if (sk_bytes_equal(pairs[2 * i], sk_bytes_str("level"))) continue;
        if (sk_bytes_equal(pairs[2 * i], sk_bytes_str("locked"))) sk_buf_printf(error, "it cannot be changed");
        *failed = i;
        return SK_E_CONFIG;
    }
    const sk_bytes *last = &pairs[2 * count - 1];
    snprintf(((region *)self)->setting, 64, "%.*s", (int)last->len, (const char *)last->data);
    return 0;
}

static inline void region_info(void *self, const char *section, sk_buf *text)
{
    (void)self;
    if (strcmp(section, "clients") == 0) sk_buf_printf(text, "maxclients:77\r\n");
}

/* The key of a region in tests: its name. */
static inline const uint8_t *region_key(const char *name)
{
    static uint8_t keys[8][SK_MEMBER_KEY];
    uint32_t i = 0;
    while (keys[i][0] && strcmp((const char *)keys[i], name) != 0) i++;
    strcpy((char *)keys[i], name);
    return keys[i];
}

/* How the next regions are opened. */
static const char *region_joins;  /* through this peer; NULL: they do not */
static bool region_accepts_writes; /* while they do */

/* Opens the replica over self->store, which is there. 0, or the error. */
static inline int region_start(region *self, const char *name, const char *const *peer, const char *password_hash,
                               const sk_engine_limits *limits)
{
    if (peer) self->seed = (sk_member_seed){.region = *peer, .public_key = region_key(*peer)};
    sk_replica_options options = {
        .region = name,
        .cluster = "test",
        .life = sk_bytes_str("life"),
        .public_key = region_key(name),
        .peers = &self->seed,
        .peer_count = peer ? 1 : 0,
        .join = region_joins,
        .join_accepts_writes = region_accepts_writes,
        .limits = *limits,
        .password_hash = password_hash,
        .foreign_expiry_ms = 1000,
        .transaction_bytes_max = 4096,
        .seed = (uint64_t)name[0],
    };
    sk_replica_host host = {.self = self, .send = region_send, .queued = region_queued, .hang_up = region_hang_up,
                            .link_allowed = region_link_allowed, .config_get = region_config_get,
                            .config_set = region_config_set, .info = region_info};
    sk_buf error = {0};
    int status = sk_replica_new(self->store, &options, &host, 1000, WALL_MS, &error, &self->replica);
    assert_int_equal(status != 0, error.len > 0);
    if (status && !self->may_fail) fail_msg("%.*s", (int)error.len, (const char *)error.data);
    sk_buf_free(&error);
    strcpy(self->setting, "info");
    if (!status) self->client = sk_client_new(self->replica);
    return status;
}

/* The same, as a start of the process does. */
static inline void region_boot(region *self, const char *name, const char *const *peer, const char *password_hash)
{
    sk_engine_limits limits = sk_engine_limits_default();
    (void)region_start(self, name, peer, password_hash, &limits);
}

static inline void region_open(region *self, const char *name, const char *const *peer, const char *password_hash)
{
    *self = (region){.disk = sk_memory_open(SK_DURABILITY_ALWAYS)};
    self->store = self->disk;
    region_boot(self, name, peer, password_hash);
}

static inline void region_close(region *self)
{
    sk_replica_free(self->replica);
    sk_store_close(self->store);
    sk_buf_free(&self->inbox);
    sk_buf_free(&self->reply);
}

/* What cmocka calls before and after a test of one region: *state. */
static inline int open_one(void **state)
{
    region *eu = calloc(1, sizeof *eu);
    region_open(eu, "eu", NULL, NULL);
    *state = eu;
    return 0;
}

static inline int close_one(void **state)
{
    region *eu = *state;
    sk_db_check(&eu->replica->db);
    region_close(eu);
    free(eu);
    return 0;
}

/* How many of its own it has made. */
static inline uint64_t transactions(const region *self)
{
    return sk_vv_get(&self->replica->db.vv, self->replica->db.own);
}

/* One turn of its loop, `ms` later, with everything durable at its end. */
static inline void region_turn(region *self, uint64_t ms)
{
    sk_replica *replica = self->replica;
    sk_replica_time(replica, replica->now_ms + ms, replica->wall_ms + ms);
    sk_buf inbox = self->inbox;
    self->inbox = (sk_buf){0};
    for (size_t at = 0; at < inbox.len;) {
        size_t len;
        memcpy(&len, inbox.data + at, sizeof len);
        sk_replica_message(replica, 0, sk_bytes_of(inbox.data + at + sizeof len, len));
        at += sizeof len + len;
    }
    sk_buf_free(&inbox);
    sk_replica_turn(replica);
    assert_int_equal(sk_memory_sync(self->disk, UINT64_MAX), 0);
    sk_replica_reap(replica);
}

/* Two regions that know of each other, their link down. */
static inline void regions_open(region *a, region *b)
{
    static const char *const a_peers[] = {"us"}, *const b_peers[] = {"eu"};
    region_open(a, "eu", a_peers, NULL);
    region_open(b, "us", b_peers, NULL);
    a->other = b;
    b->other = a;
}

/* The link comes up, everything is exchanged, the link goes down. */
static inline void regions_meet(region *a, region *b)
{
    sk_replica_link_up(a->replica, 0);
    sk_replica_link_up(b->replica, 0);
    for (int i = 0; i < 40; i++) {
        region_turn(a, 5);
        region_turn(b, 5);
    }
    assert_true(sk_vv_equal(&a->replica->durable_vv, &b->replica->durable_vv) ||
                a->replica->db.digest == b->replica->db.digest);
    sk_replica_link_down(a->replica, 0);
    sk_replica_link_down(b->replica, 0);
    sk_buf_reset(&a->inbox);
    sk_buf_reset(&b->inbox);
}

/* The whole reply to a request of `client`; valid until the next. */
static inline const char *ask_as(region *self, sk_client *client, const char *request)
{
    sk_bytes argv[WORDS_MAX];
    size_t argc = 0;
    for (const char *at = request; *at;) {
        size_t len = strcspn(at, " ");
        assert_true(argc < WORDS_MAX);
        argv[argc++] = len == 1 && *at == '~' ? sk_bytes_of(at, 0) : sk_bytes_of(at, len);
        at += len + (at[len] == ' ');
    }
    sk_buf_reset(&self->reply);
    sk_reply reply = {&self->reply, client->proto};
    sk_command_execute(self->replica, client, argv, argc, &reply);
    sk_buf_byte(&self->reply, 0);
    char *text = (char *)self->reply.data, *to = text;
    for (const char *at = text; *at; at++)
        if (*at != '\r') *to++ = *at == '\n' ? ' ' : *at;
    if (to > text) to--;
    *to = 0;
    return text;
}

static inline const char *ask(region *self, const char *request)
{
    return ask_as(self, self->client, request);
}

#define expect(region, request, wanted) assert_string_equal(ask(region, request), wanted)

/* The reply begins so. */
static inline void check_begins(region *self, const char *request, const char *wanted, int line)
{
    const char *answer = ask(self, request);
    if (strncmp(answer, wanted, strlen(wanted)) != 0) fail_msg("line %d: %s: got %s", line, request, answer);
}
#define expect_begins(region, request, wanted) check_begins(region, request, wanted, __LINE__)

#endif
