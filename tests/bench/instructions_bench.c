/* What tests/bench/instructions counts under callgrind: so many operations of one kind, over the store in memory.
 *
 *   instructions_bench KIND COUNT
 *
 * KIND: get, set, incr, hset, sadd: each a command, parsed and answered, 32 to a turn of the loop, on keys out of 1,000
 * that are there; linked: sets that go out over a link; applied: the same, and a peer that applies them. Two counts of one
 * kind differ by the operations alone: what a start costs cancels out. */
#include "node/command.h"
#include "node/replica.h"
#include "node/resp.h"
#include "storage/memory.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 1000, TURN = 32, VALUE = 100 };

typedef struct region region;

struct region {
    sk_store *store;
    sk_member_seed seed;
    sk_replica *replica;
    sk_client *client;
    region *to;    /* NULL: what is sent goes nowhere */
    sk_buf inbox;  /* messages, each after its length */
    uint64_t now_ms;
};

static void take_message(void *self, uint32_t peer, sk_bytes message)
{
    (void)peer;
    region *to = ((region *)self)->to;
    if (!to) return;
    sk_buf_append(&to->inbox, &message.len, sizeof message.len);
    sk_buf_bytes(&to->inbox, message);
}

static size_t nothing_queued(void *self, uint32_t peer)
{
    (void)self, (void)peer;
    return 0;
}

static void hang_up(void *self, uint32_t peer, int error)
{
    (void)self, (void)peer;
    fprintf(stderr, "instructions_bench: the link was closed: %s\n", sk_error_text(error));
    exit(1);
}

static void open_region(region *self, const char *name, const char *const *peer)
{
    static const uint8_t own_key[SK_MEMBER_KEY] = {1}, peer_key[SK_MEMBER_KEY] = {2};
    *self = (region){.store = sk_memory_open(SK_DURABILITY_ALWAYS), .now_ms = 1000};
    self->seed = (sk_member_seed){.region = peer ? *peer : NULL, .public_key = peer_key};
    sk_replica_options options = {.region = name, .cluster = "bench", .life = sk_bytes_str("life"),
                                  .public_key = own_key, .peers = &self->seed, .peer_count = peer ? 1 : 0, .limits = sk_engine_limits_default(), .seed = 1};
    options.transaction_bytes_max = 1 << 20;
    sk_replica_host host = {.self = self, .send = take_message, .queued = nothing_queued, .hang_up = hang_up};
    sk_buf error = {0};
    sk_assert(sk_replica_new(self->store, &options, &host, self->now_ms, 1700000000000u, &error, &self->replica) == 0);
    self->client = sk_client_new(self->replica);
}

static void turn(region *self)
{
    self->now_ms += 5;
    sk_replica_time(self->replica, self->now_ms, 1700000000000u + self->now_ms);
    sk_buf inbox = self->inbox;
    self->inbox = (sk_buf){0};
    for (size_t at = 0, len; at < inbox.len; at += sizeof len + len) {
        memcpy(&len, inbox.data + at, sizeof len);
        sk_replica_message(self->replica, 0, sk_bytes_of(inbox.data + at + sizeof len, len));
    }
    sk_buf_free(&inbox);
    sk_replica_turn(self->replica);
    sk_assert(sk_memory_sync(self->store, UINT64_MAX) == 0);
    sk_replica_reap(self->replica);
}

static void write_request(sk_buf *stream, const char *kind, unsigned number)
{
    static char value[VALUE + 1];
    memset(value, 'x', VALUE);
    char key[32], member[32];
    snprintf(key, sizeof key, "key:%012u", number % KEYS);
    snprintf(member, sizeof member, "member:%u", number * 7919 % KEYS);
    if (strcmp(kind, "get") == 0)
        sk_buf_printf(stream, "*2\r\n$3\r\nGET\r\n$16\r\n%s\r\n", key);
    else if (strcmp(kind, "incr") == 0)
        sk_buf_printf(stream, "*2\r\n$4\r\nINCR\r\n$16\r\n%s\r\n", key);
    else if (strcmp(kind, "hset") == 0)
        sk_buf_printf(stream, "*4\r\n$4\r\nHSET\r\n$4\r\nhash\r\n$%zu\r\n%s\r\n$%d\r\n%s\r\n", strlen(member), member, VALUE,
                      value);
    else if (strcmp(kind, "sadd") == 0)
        sk_buf_printf(stream, "*3\r\n$4\r\nSADD\r\n$3\r\nset\r\n$%zu\r\n%s\r\n", strlen(member), member);
    else
        sk_buf_printf(stream, "*3\r\n$3\r\nSET\r\n$16\r\n%s\r\n$%d\r\n%s\r\n", key, VALUE, value);
}

/* All requests of a kind, written once: printing them costs more instructions than some commands do. */
typedef struct {
    sk_buf stream;
    size_t at[KEYS + 1]; /* where each begins */
} requests;

static void write_requests(requests *made, const char *kind)
{
    *made = (requests){0};
    for (unsigned i = 0; i < KEYS; i++) {
        made->at[i] = made->stream.len;
        write_request(&made->stream, kind, i);
    }
    made->at[KEYS] = made->stream.len;
}

/* One turn's worth of commands, as they would come from a socket. */
static void ask(region *self, const requests *asked, unsigned from, sk_buf *out)
{
    sk_resp_parser parser;
    sk_resp_init(&parser);
    parser.limits.authenticated = true;
    sk_buf_reset(out);
    for (unsigned i = from; i < from + TURN; i++) {
        size_t used, argc, at = asked->at[i % KEYS];
        sk_bytes *argv;
        sk_assert(sk_resp_parse(&parser, asked->stream.data + at, asked->at[i % KEYS + 1] - at, &used, &argv, &argc) == SK_OK);
        sk_reply reply = {out, self->client->proto};
        sk_command_execute(self->replica, self->client, argv, argc, &reply);
    }
    sk_assert(out->len > 0);
    sk_assert(out->data[0] != '-');
    sk_resp_free(&parser);
    turn(self);
    if (self->to) turn(self->to);
}

int main(int argc, char **argv)
{
    static const char *const us[] = {"us"}, *const eu[] = {"eu"};
    if (argc != 3) {
        fprintf(stderr, "usage: instructions_bench KIND COUNT\n");
        return 2;
    }
    const char *kind = argv[1];
    unsigned count = (unsigned)strtoul(argv[2], NULL, 10);
    bool linked = strcmp(kind, "linked") == 0, applied = strcmp(kind, "applied") == 0;
    region a, b;
    requests sets, asked;
    sk_buf out = {0};
    write_requests(&sets, "set");
    write_requests(&asked, kind);
    open_region(&a, "eu", linked || applied ? us : NULL);
    open_region(&b, "us", eu);
    if (linked || applied) {
        a.to = &b;
        b.to = &a;
        sk_replica_link_up(a.replica, 0);
        sk_replica_link_up(b.replica, 0);
        for (int i = 0; i < 20; i++) turn(&a), turn(&b);
    }
    if (linked) a.to = NULL;
    if (strcmp(kind, "incr") != 0 && strcmp(kind, "hset") != 0 && strcmp(kind, "sadd") != 0)
        for (unsigned i = 0; i < KEYS; i += TURN) ask(&a, &sets, i, &out);
    for (unsigned i = 0; i < count; i += TURN) ask(&a, &asked, i, &out);
    if (applied) sk_assert(b.replica->db.keys == a.replica->db.keys);
    printf("%s %u %llu\n", kind, count, (unsigned long long)a.replica->db.keys);
    sk_replica_free(a.replica);
    sk_replica_free(b.replica);
    sk_store_close(a.store);
    sk_store_close(b.store);
    sk_buf_free(&a.inbox);
    sk_buf_free(&b.inbox);
    sk_buf_free(&sets.stream);
    sk_buf_free(&asked.stream);
    sk_buf_free(&out);
    return 0;
}
