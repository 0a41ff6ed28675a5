/* Links between whole replicas over real sockets of the loopback, all in one loop: who is dialed where, and what a
 * connection must survive. Waits ask until something holds; nothing is concluded from how long it took. */
#include "node/command.h"
#include "node/key.h"
#include "node/wire.h"
#include "storage/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <sodium.h>

enum { NODES_MAX = 3, WAIT_MS = 30000 };

typedef struct {
    sk_config config;
    sk_config_peer peers[NODES_MAX];
    sk_member_seed seeds[NODES_MAX];
    sk_noise_keypair key;
    sk_store *store;
    sk_replica *replica;
    sk_links *links;
    sk_client *client;
    sk_buf reply;
} node;

static struct {
    uv_loop_t loop;
    uv_timer_t tick;
    node nodes[NODES_MAX];
    int count;
    uint64_t skew_ms; /* what the nodes' clocks are ahead of the real one */
} world;

static size_t ring_bytes = 64 << 20; /* of each node that is opened */
static size_t chunk_max = SK_TRANSACTION_MAX;

static uint64_t now_ms(void) { return uv_hrtime() / 1000000 + world.skew_ms; }

static void on_event(void *self) { sk_replica_time(((node *)self)->replica, now_ms(), (uint64_t)time(NULL) * 1000); }

static void host_send(void *self, uint32_t peer, sk_bytes message) { sk_links_send(((node *)self)->links, peer, message); }

static size_t host_queued(void *self, uint32_t peer) { return sk_links_queued(((node *)self)->links, peer); }

static void host_hang_up(void *self, uint32_t peer, int error) { sk_links_hang_up(((node *)self)->links, peer, error); }

static void host_link_allowed(void *self, uint32_t peer, bool allowed)
{
    sk_links_allow(((node *)self)->links, peer, allowed);
}

static const char *const regions[NODES_MAX] = {"ap", "eu", "us"};

/* Whose region and key each node has: two may run with one. */
static int acts_as[NODES_MAX] = {0, 1, 2};

/* `address`: where it listens. Its peers are the other nodes, without any address yet. */
static void open_node(int index, int count, const char *address)
{
    node *n = &world.nodes[index];
    uint8_t secret[SK_NOISE_KEY];
    memset(secret, acts_as[index] + 1, sizeof secret);
    *n = (node){.store = sk_memory_open(SK_DURABILITY_ALWAYS)};
    sk_noise_keypair_init(&n->key, secret);
    n->config.region = (char *)regions[acts_as[index]];
    n->config.cluster = "test";
    n->config.replication.address = (char *)address;
    n->config.replication.heartbeat_ms = 50;
    n->config.replication.send_window = sk_engine_limits_default().send_queue_max;
    n->config.peers = n->peers;
    for (int i = 0; i < count; i++) {
        if (i == index || i == acts_as[index] || acts_as[i] != i) continue;
        sk_noise_keypair other;
        memset(secret, i + 1, sizeof secret);
        sk_noise_keypair_init(&other, secret);
        sk_config_peer *peer = &n->peers[n->config.peer_count];
        strcpy(peer->region, regions[i]);
        memcpy(peer->public_key, other.public, sizeof peer->public_key);
        n->seeds[n->config.peer_count++] = (sk_member_seed){.region = regions[i], .public_key = peer->public_key};
    }
    sk_replica_options options = {
        .region = n->config.region,
        .cluster = n->config.cluster,
        .life = sk_bytes_str("life"),
        .public_key = n->key.public,
        .peers = n->seeds,
        .peer_count = (uint32_t)n->config.peer_count,
        .limits = sk_engine_limits_default(),
        .transaction_bytes_max = SK_TRANSACTION_MAX,
        .seed = (uint64_t)index + 1,
    };
    options.limits.heartbeat_ms = 50;
    options.limits.ring_bytes_max = ring_bytes;
    options.limits.chunk_max = chunk_max;
    sk_replica_host host = {.self = n, .send = host_send, .queued = host_queued, .hang_up = host_hang_up,
                            .link_allowed = host_link_allowed};
    sk_buf error = {0};
    assert_int_equal(sk_replica_new(n->store, &options, &host, now_ms(), 1, &error, &n->replica), 0);
    n->links = sk_links_new(&world.loop, n->replica, &n->config, &n->key, on_event, n);
    n->client = sk_client_new(n->replica);
    assert_int_equal(sk_links_listen(n->links), 0);
}

static uint16_t port_of(int index)
{
    struct sockaddr_storage name;
    int len = sizeof name;
    assert_int_equal(uv_tcp_getsockname(&world.nodes[index].links->listener, (struct sockaddr *)&name, &len), 0);
    return ntohs(name.ss_family == AF_INET ? ((struct sockaddr_in *)&name)->sin_port
                                           : ((struct sockaddr_in6 *)&name)->sin6_port);
}

/* The peer's record at a node. */
static sk_link_peer *peer_at(int index, int peer) { return &world.nodes[index].links->peers[peer - (peer > index)]; }

/* Node `index` looks for `peer` at this host, at the port where node `at` listens. */
static void tell_address(int index, int peer, const char *host, int at)
{
    sk_config_peer *config = &world.nodes[index].links->known[peer - (peer > index)];
    char text[SK_ADDRESS_TEXT];
    snprintf(text, sizeof text, "%s:%u", host, port_of(at));
    assert_true(sk_address_parse(text, &config->addresses[config->address_count++]));
}

static void on_tick(uv_timer_t *timer) { (void)timer; }

static void open_world(int count, const char *const *addresses)
{
    memset(&world, 0, sizeof world);
    uv_loop_init(&world.loop);
    uv_timer_init(&world.loop, &world.tick);
    uv_timer_start(&world.tick, on_tick, 5, 5);
    world.count = count;
    for (int i = 0; i < count; i++) open_node(i, count, addresses[i]);
}

static void start(void)
{
    for (int i = 0; i < world.count; i++) {
        on_event(&world.nodes[i]);
        sk_links_start(world.nodes[i].links);
    }
}

static void turn(node *n)
{
    on_event(n);
    for (int i = 0; i < 2; i++) {
        sk_links_turn(n->links);
        sk_replica_turn(n->replica);
        assert_int_equal(sk_memory_sync(n->store, UINT64_MAX), 0);
        sk_replica_reap(n->replica);
        sk_links_turn(n->links);
    }
}

static void step(void)
{
    uv_run(&world.loop, UV_RUN_ONCE);
    for (int i = 0; i < world.count; i++) turn(&world.nodes[i]);
}

#define wait_for(holds)                                                                                               \
    do {                                                                                                              \
        uint64_t asked = uv_hrtime();                                                                                 \
        while (!(holds)) {                                                                                            \
            if (uv_hrtime() - asked > (uint64_t)WAIT_MS * 1000000) fail_msg("line %d: not seen: " #holds, __LINE__);  \
            step();                                                                                                   \
        }                                                                                                             \
    } while (0)

static bool is_up(int index, int peer) { return peer_at(index, peer)->up != NULL; }

static bool is_linked(int a, int b) { return is_up(a, b) && is_up(b, a); }

static void close_world(void)
{
    for (int i = 0; i < world.count; i++) sk_links_close(world.nodes[i].links);
    uv_close((uv_handle_t *)&world.tick, NULL);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    for (int i = 0; i < world.count; i++) {
        sk_replica_free(world.nodes[i].replica);
        sk_store_close(world.nodes[i].store);
        sk_links_free(world.nodes[i].links);
        sk_buf_free(&world.nodes[i].reply);
    }
}

static const char *ask(int index, size_t argc, const sk_bytes *argv)
{
    node *n = &world.nodes[index];
    sk_buf_reset(&n->reply);
    sk_reply reply = {&n->reply, 2};
    on_event(n);
    sk_command_execute(n->replica, n->client, argv, argc, &reply);
    sk_buf_byte(&n->reply, 0);
    return (const char *)n->reply.data;
}

static void set(int index, const char *key, sk_bytes value)
{
    const sk_bytes argv[] = {sk_bytes_str("SET"), sk_bytes_str(key), value};
    assert_string_equal(ask(index, 3, argv), "+OK\r\n");
}

static bool has(int index, const char *key, const char *value)
{
    const sk_bytes argv[] = {sk_bytes_str("GET"), sk_bytes_str(key)};
    char expected[64];
    snprintf(expected, sizeof expected, "$%zu\r\n%s\r\n", strlen(value), value);
    return strcmp(ask(index, 2, argv), expected) == 0;
}

/* -- addresses ----------------------------------------------------------------------------------------------------- */

static const char *const v4[NODES_MAX] = {"127.0.0.1", "127.0.0.1", "127.0.0.1"};

static void a_peer_without_an_address_calls_and_gets_everything(void **state)
{
    (void)state;
    open_world(2, v4);
    tell_address(1, 0, "127.0.0.1", 0); /* only eu can call */
    start();
    assert_int_equal(peer_at(0, 1)->config->address_count, 0);
    wait_for(is_linked(0, 1));
    assert_false(peer_at(0, 1)->up->initiator);
    set(0, "from", sk_bytes_str("ap"));
    set(1, "to", sk_bytes_str("eu"));
    wait_for(has(1, "from", "ap") && has(0, "to", "eu"));
    sk_links_hang_up(world.nodes[0].links, 0, SK_E_IO); /* and it calls again */
    wait_for(!is_up(0, 1));
    set(0, "again", sk_bytes_str("ap"));
    wait_for(has(1, "again", "ap"));
    close_world();
}

static void addresses_are_tried_in_order(void **state)
{
    (void)state;
    open_world(3, v4);
    sk_config_peer *config = &world.nodes[0].links->known[0];
    assert_true(sk_address_parse("127.0.0.1:1", &config->addresses[config->address_count++])); /* nobody is there */
    tell_address(0, 1, "127.0.0.1", 2);                                                        /* somebody else is */
    tell_address(0, 1, "127.0.0.1", 1);
    start();
    wait_for(is_linked(0, 1));
    assert_int_equal(peer_at(0, 1)->address, 2);
    assert_true(peer_at(0, 1)->up->initiator);
    close_world();
}

static void every_address_of_a_name_is_tried(void **state)
{
    (void)state;
    open_world(2, v4); /* "localhost" may mean ::1 first, where nobody listens */
    tell_address(0, 1, "localhost", 1);
    start();
    wait_for(is_linked(0, 1));
    close_world();
}

static void links_over_ipv6(void **state)
{
    static const char *const addresses[] = {"::1", "::"};
    (void)state;
    open_world(2, addresses);
    tell_address(1, 0, "[::1]", 0);
    start();
    wait_for(is_linked(0, 1));
    close_world();
    open_world(2, addresses);
    tell_address(0, 1, "127.0.0.1", 1); /* "::" is both */
    start();
    wait_for(is_linked(0, 1));
    close_world();
}

/* -- backoff ------------------------------------------------------------------------------------------------------- */

static void the_delay_grows_up_to_a_bound_and_starts_anew_after_a_good_link(void **state)
{
    (void)state;
    open_world(2, v4);
    tell_address(0, 1, "127.0.0.1", 1);
    sk_link_peer *peer = peer_at(0, 1);
    uint16_t right = peer->config->addresses[0].port;
    world.nodes[0].links->known[0].addresses[0].port = 1; /* nobody is there */
    start();
    uint64_t before = SK_LINK_BACKOFF_MS;
    while (before < SK_LINK_BACKOFF_MS_MAX) {
        wait_for(peer->delay_ms != before); /* one more has failed */
        assert_int_equal(peer->delay_ms, before * 2 < SK_LINK_BACKOFF_MS_MAX ? before * 2 : SK_LINK_BACKOFF_MS_MAX);
        uint64_t pause = peer->dial_at_ms - world.nodes[0].replica->now_ms;
        assert_in_range(pause, 0, before); /* the one with the larger name would wait a little more */
        before = peer->delay_ms;
        world.skew_ms += pause;
        sk_link_reschedule(world.nodes[0].links);
    }
    world.nodes[0].links->known[0].addresses[0].port = right;
    world.skew_ms += SK_LINK_BACKOFF_MS_MAX;
    sk_link_reschedule(world.nodes[0].links);
    wait_for(is_linked(0, 1));
    assert_int_equal(peer->delay_ms, SK_LINK_BACKOFF_MS_MAX);
    world.skew_ms += SK_LINK_GOOD_MS; /* and nothing was heard in this time */
    wait_for(!is_up(0, 1));
    assert_in_range(peer->dial_at_ms - world.nodes[0].replica->now_ms, 0, SK_LINK_BACKOFF_MS);
    wait_for(is_linked(0, 1));
    close_world();
}

static void who_breaks_the_protocol_is_kept_out_for_a_while(void **state)
{
    (void)state;
    open_world(2, v4);
    tell_address(1, 0, "127.0.0.1", 0);
    start();
    wait_for(is_linked(0, 1));
    peer_at(0, 1)->delay_ms = SK_LINK_BACKOFF_MS_MAX;
    sk_links_send(world.nodes[1].links, 0, sk_bytes_str("\xc1 no message"));
    wait_for(!is_up(0, 1) && !is_up(1, 0));
    peer_at(1, 0)->dial_at_ms = 0; /* it does not wait itself */
    sk_link_reschedule(world.nodes[1].links);
    wait_for(is_up(0, 1) || peer_at(0, 1)->refused[0]);
    assert_false(is_up(0, 1));
    assert_non_null(strstr(peer_at(0, 1)->refused, sk_error_text(SK_E_PROTOCOL)));
    world.skew_ms += SK_LINK_BACKOFF_MS_MAX / 2;
    wait_for(is_linked(0, 1));
    close_world();
}

static sk_wire *wire_in(int index, sk_wire_state state)
{
    const sk_list *all = &world.nodes[index].links->all;
    for (sk_list *at = all->next; at != all; at = at->next) {
        sk_wire *wire = SK_LIST_OWNER(at, sk_wire, all);
        if (wire->state == state) return wire;
    }
    return NULL;
}

/* What breaks the protocol on the one connection keeps out another one that is nearly there. */
static void a_second_connection_is_no_way_around_that(void **state)
{
    (void)state;
    open_world(2, v4);
    tell_address(1, 0, "127.0.0.1", 0);
    start();
    wait_for(is_linked(0, 1));
    struct sockaddr_storage address;
    assert_true(sk_address_numeric(&peer_at(1, 0)->config->addresses[0], &address));
    assert_non_null(sk_wire_dial(world.nodes[1].links, 0, (const struct sockaddr *)&address));
    wait_for(wire_in(0, SK_WIRE_CONFIRM));
    peer_at(0, 1)->delay_ms = SK_LINK_BACKOFF_MS_MAX;
    sk_link_doom(world.nodes[0].links, peer_at(0, 1)->up, SK_E_PROTOCOL);
    wait_for(!wire_in(0, SK_WIRE_CONFIRM));
    assert_false(is_up(0, 1) && !peer_at(0, 1)->up->doom);
    wait_for(!is_up(0, 1));
    assert_true(peer_at(0, 1)->refuse_until_ms > world.nodes[0].replica->now_ms);
    world.skew_ms += SK_LINK_BACKOFF_MS_MAX;
    sk_link_reschedule(world.nodes[1].links);
    wait_for(is_linked(0, 1));
    close_world();
}

/* -- two nodes with one key ---------------------------------------------------------------------------------------- */

static bool notes(int index, int peer, const char *sentence)
{
    sk_buf text = {0};
    sk_links_note(world.nodes[index].links, (uint32_t)(peer - (peer > index)), &text);
    sk_buf_byte(&text, 0);
    bool found = *sentence ? strstr((const char *)text.data, sentence) != NULL : text.len == 1;
    sk_buf_free(&text);
    return found;
}

static void open_world_with_twin(void)
{
    acts_as[2] = 1;
    open_world(3, v4);
    acts_as[2] = 2;
}

/* Its next attempt after this one is not much later. */
static void hurry(int index) { peer_at(index, 0)->delay_ms = SK_LINK_BACKOFF_MS; }

/* Each of the two dials, and takes the link from the other. */
static void two_nodes_that_take_each_others_link_are_told_of(void **state)
{
    (void)state;
    open_world_with_twin();
    tell_address(1, 0, "127.0.0.1", 0);
    tell_address(2, 0, "127.0.0.1", 0);
    start();
    wait_for((hurry(1), hurry(2), notes(0, 1, "two nodes run as eu")));
    wait_for((hurry(1), hurry(2), is_linked(0, 1) && !is_up(2, 0)));
    sk_links_stop(world.nodes[2].links);
    assert_true(notes(0, 1, "two nodes run as eu"));
    peer_at(0, 1)->up->up_ms -= SK_LINK_ALONE_MS;
    assert_true(notes(0, 1, ""));
    close_world();
}

/* The other end dials the one of them, and refuses the other. */
static void a_node_that_is_refused_for_its_twin_is_told(void **state)
{
    (void)state;
    open_world_with_twin();
    tell_address(0, 1, "127.0.0.1", 1);
    start();
    wait_for(is_linked(0, 1));
    tell_address(2, 0, "127.0.0.1", 0);
    sk_link_dial_at_once(world.nodes[2].links, peer_at(2, 0));
    wait_for(notes(2, 0, "another connection"));
    wait_for((hurry(2), notes(2, 0, "another node runs as eu")));
    assert_true(is_linked(0, 1) && notes(0, 1, ""));
    close_world();
}

/* The peer's key is replaced, from now on, while the handshake that we began with the old one is under way. */
static void a_key_is_judged_when_the_link_comes_up(void **state)
{
    (void)state;
    open_world(2, v4);
    tell_address(0, 1, "127.0.0.1", 1);
    start();
    wait_for(wire_in(0, SK_WIRE_HANDSHAKE));
    uint8_t secret[SK_NOISE_KEY] = {7};
    char hex[SK_KEY_HEX];
    sk_noise_keypair other;
    sk_noise_keypair_init(&other, secret);
    sk_key_hex(other.public, hex);
    const sk_bytes rekey[] = {sk_bytes_str("REGION"), sk_bytes_str("REKEY"), sk_bytes_str("eu"), sk_bytes_str(hex),
                              sk_bytes_str("KEEP"), sk_bytes_str("0")};
    assert_string_equal(ask(0, 6, rekey), "+OK\r\n");
    turn(&world.nodes[0]);
    sk_links_follow(world.nodes[0].links);
    assert_non_null(wire_in(0, SK_WIRE_HANDSHAKE));
    wait_for(!wire_in(0, SK_WIRE_HANDSHAKE));
    assert_false(is_up(0, 1));
    assert_non_null(strstr(peer_at(0, 1)->status, "no more"));
    close_world();
}

/* -- silence ------------------------------------------------------------------------------------------------------- */

static void a_link_that_is_not_read_from_is_not_silent(void **state)
{
    (void)state;
    open_world(2, v4);
    tell_address(1, 0, "127.0.0.1", 0);
    start();
    wait_for(is_linked(0, 1));
    sk_links_pause(world.nodes[0].links, true);
    const sk_wire *wire = peer_at(0, 1)->up;
    for (int i = 0; i < 4; i++) { /* eu goes on hearing of ap */
        world.skew_ms += 2000;
        uint64_t heard = peer_at(1, 0)->up->heard_ms;
        wait_for(!is_up(1, 0) || peer_at(1, 0)->up->heard_ms > heard);
    }
    assert_ptr_equal(peer_at(0, 1)->up, wire);
    sk_links_pause(world.nodes[0].links, false);
    set(1, "k", sk_bytes_str("v"));
    wait_for(has(0, "k", "v"));
    assert_ptr_equal(peer_at(0, 1)->up, wire);
    close_world();
}

/* -- what travels -------------------------------------------------------------------------------------------------- */

static void start_pair(uint64_t compress_0, uint64_t compress_1)
{
    open_world(2, v4);
    tell_address(1, 0, "127.0.0.1", 0);
    world.nodes[0].config.replication.compress_min = compress_0;
    world.nodes[1].config.replication.compress_min = compress_1;
    start();
    wait_for(is_linked(0, 1));
}

static bool has_len(int index, const char *key, size_t len)
{
    const sk_bytes argv[] = {sk_bytes_str("STRLEN"), sk_bytes_str(key)};
    char expected[32];
    snprintf(expected, sizeof expected, ":%zu\r\n", len);
    return strcmp(ask(index, 2, argv), expected) == 0;
}

static void exchange(const char *key, size_t len)
{
    char other[32];
    uint8_t *value = calloc(1, len);
    snprintf(other, sizeof other, "%s back", key);
    set(0, key, sk_bytes_of(value, len));
    set(1, other, sk_bytes_of(value, len));
    wait_for(has_len(1, key, len) && has_len(0, other, len));
    free(value);
}

static const sk_compressor *compressor_of(int index) { return &peer_at(index, 1 - index)->up->encoder.compressor; }

static void compression_is_for_those_who_want_it(void **state)
{
    (void)state;
    start_pair(100, 100);
    exchange("small", 10);
    exchange("large", 300000);
    for (int i = 0; i < 2; i++) {
        assert_true(compressor_of(i)->plain_bytes > 300000);
        assert_true(compressor_of(i)->packed_bytes < 10000);
    }
    world.nodes[0].config.replication.compress_min = 0; /* at once, for what it sends */
    uint64_t before = compressor_of(0)->plain_bytes;
    exchange("again", 300000);
    assert_int_equal(compressor_of(0)->plain_bytes, before);
    assert_true(compressor_of(1)->plain_bytes > 600000);
    close_world();

    start_pair(100, 0); /* neither direction, as one wants none */
    exchange("large", 300000);
    assert_int_equal(compressor_of(0)->plain_bytes, 0);
    assert_int_equal(compressor_of(1)->plain_bytes, 0);
    world.nodes[1].config.replication.compress_min = 1; /* it may always send what the other said to read */
    exchange("again", 300000);
    assert_int_equal(compressor_of(0)->plain_bytes, 0);
    assert_true(compressor_of(1)->plain_bytes > 300000);
    close_world();
}

static void keys_change_with_time(void **state)
{
    (void)state;
    open_world(2, v4);
    tell_address(1, 0, "127.0.0.1", 0);
    for (int i = 0; i < 2; i++) world.nodes[i].config.replication.rekey_after = 1000;
    start();
    wait_for(is_linked(0, 1));
    const sk_wire *a = peer_at(0, 1)->up, *b = peer_at(1, 0)->up;
    for (uint64_t i = 1; i <= 5; i++) {
        assert_true(a->encoder.rekeys <= i && b->encoder.rekeys <= i);
        world.skew_ms += 1000;
        wait_for(a->encoder.rekeys >= i && b->encoder.rekeys >= i);
        exchange("k", 100 + (size_t)i);
    }
    assert_ptr_equal(peer_at(0, 1)->up, a);
    assert_ptr_equal(peer_at(1, 0)->up, b);
    close_world();
}

/* What a message of 200 KB takes at 16 KB/s is longer than a silent link lives; the nodes' clocks run fast here. */
static void a_limited_link_is_slow_and_lives(void **state)
{
    (void)state;
    enum { LIMIT = 16 * 1024, LEN = 200000 };
    start_pair(0, 0);
    const sk_wire *wire = peer_at(0, 1)->up, *other = peer_at(1, 0)->up;
    world.nodes[0].config.replication.bytes_per_s = LIMIT;
    uint8_t *value = calloc(1, LEN);
    set(0, "large", sk_bytes_of(value, LEN));
    wait_for(sk_wire_queued(wire) > LEN / 2);
    uint64_t begin = world.nodes[0].replica->now_ms, took = 0;
    while (!has_len(1, "large", LEN)) {
        world.skew_ms += 100;
        step();
        assert_ptr_equal(peer_at(0, 1)->up, wire);
        assert_ptr_equal(peer_at(1, 0)->up, other);
        took = world.nodes[0].replica->now_ms - begin;
        assert_true(took < 60000);
    }
    assert_true(took > sk_engine_limits_default().silence_ms);
    assert_true(took >= (LEN - LIMIT) / (LIMIT / 1000)); /* it is no faster than allowed */
    for (int i = 0; i < 300; i++) { /* the engine stops where a link goes slowly */
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        set(0, key, sk_bytes_of(value, 1000));
        step();
        assert_in_range(sk_wire_queued(wire), 0, sk_wire_window(wire) + 2 * 64 * 1024 + 4096);
    }
    assert_int_equal(sk_wire_window(wire), 64 * 1024);
    assert_true(peer_at(0, 1)->up == wire);
    world.nodes[0].config.replication.bytes_per_s = 0;
    wait_for(has_len(1, "k299", 1000));
    free(value);
    close_world();
}

/* The most that waits to be sent while so many values are written. */
static size_t highest_queue(int from, int to)
{
    enum { LEN = 10000 };
    uint8_t value[LEN] = {0};
    size_t highest = 0;
    for (int i = from; i < to; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        set(0, key, sk_bytes_of(value, LEN));
        step();
        size_t queued = sk_wire_queued(peer_at(0, 1)->up);
        if (queued > highest) highest = queued;
    }
    return highest;
}

static void a_window_is_kept_and_can_be_changed(void **state)
{
    (void)state;
    enum { WINDOW = 100000, BATCHES = 2 * 64 * 1024 + 4096 };
    start_pair(0, 0);
    sk_config *config = &world.nodes[0].config;
    config->replication.bytes_per_s = 1 << 20; /* time hardly passes here: what is written waits */
    config->replication.send_window = WINDOW;
    assert_int_equal(sk_wire_window(peer_at(0, 1)->up), WINDOW);
    assert_in_range(highest_queue(0, 60), WINDOW, WINDOW + BATCHES);
    config->replication.send_window = 4 << 20;
    assert_in_range(highest_queue(60, 120), WINDOW + BATCHES, 4 << 20);
    config->replication.bytes_per_s = 0;
    wait_for(has_len(1, "k119", 10000));
    close_world();
}

/* A chunk of a transfer takes longer than what makes no progress may last. */
static void a_transfer_gets_through_a_slow_link(void **state)
{
    (void)state;
    enum { ROWS = 64, LEN = 2000, LIMIT = 6000 }; /* two chunks, the second nearly as large */
    uint8_t value[LEN] = {0};
    char key[16];
    ring_bytes = 4096;
    open_world(2, v4);
    ring_bytes = 64 << 20;
    tell_address(1, 0, "127.0.0.1", 0);
    for (int i = 0; i < ROWS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        set(0, key, sk_bytes_of(value, LEN));
        step();
    }
    world.nodes[0].config.replication.bytes_per_s = LIMIT;
    start();
    wait_for(is_linked(0, 1));
    const sk_wire *wire = peer_at(0, 1)->up;
    uint64_t begin = world.nodes[0].replica->now_ms;
    while (!has_len(1, key, LEN)) {
        world.skew_ms += 100;
        step();
        assert_true(world.nodes[0].replica->now_ms - begin < 120000);
    }
    assert_ptr_equal(peer_at(0, 1)->up, wire);
    assert_true(world.nodes[0].replica->now_ms - begin > 15000);
    assert_int_equal(sk_engine_peer_status(world.nodes[0].replica->engine, 0).transfers_out, 1);
    assert_int_equal(sk_engine_peer_status(world.nodes[1].replica->engine, 0).transfers_in, 1);
    close_world();
}

/* Values that two regions have set apart make a row that no message may hold: a third one gets it all the same. (The bound is
 * a small one here: it takes long to fill the real one.) */
static void siblings_larger_than_a_message_get_across(void **state)
{
    (void)state;
    ring_bytes = 1 << 20; /* all of it goes by transfers */
    chunk_max = 2 << 20;
    open_world(3, v4);
    tell_address(0, 1, "127.0.0.1", 1);
    size_t len = 1200 * 1024;
    uint8_t *value = sk_alloc(len);
    for (int i = 0; i < 2; i++) set(i, "large", sk_bytes_of(value, len));
    start();
    const sk_bytes get[] = {sk_bytes_str("GET"), sk_bytes_str("large")};
    wait_for(ask(0, 2, get)[0] == '-' && ask(1, 2, get)[0] == '-'); /* a conflict */
    tell_address(0, 2, "127.0.0.1", 2);
    sk_link_dial_at_once(world.nodes[0].links, peer_at(0, 2));
    wait_for(ask(2, 2, get)[0] == '-');
    assert_true(is_linked(0, 2));
    close_world();
    free(value);
    ring_bytes = 64 << 20;
    chunk_max = SK_TRANSACTION_MAX;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_without_an_address_calls_and_gets_everything),
        cmocka_unit_test(addresses_are_tried_in_order),
        cmocka_unit_test(every_address_of_a_name_is_tried),
        cmocka_unit_test(links_over_ipv6),
        cmocka_unit_test(the_delay_grows_up_to_a_bound_and_starts_anew_after_a_good_link),
        cmocka_unit_test(who_breaks_the_protocol_is_kept_out_for_a_while),
        cmocka_unit_test(a_second_connection_is_no_way_around_that),
        cmocka_unit_test(two_nodes_that_take_each_others_link_are_told_of),
        cmocka_unit_test(a_node_that_is_refused_for_its_twin_is_told),
        cmocka_unit_test(a_key_is_judged_when_the_link_comes_up),
        cmocka_unit_test(a_link_that_is_not_read_from_is_not_silent),
        cmocka_unit_test(compression_is_for_those_who_want_it),
        cmocka_unit_test(keys_change_with_time),
        cmocka_unit_test(a_limited_link_is_slow_and_lives),
        cmocka_unit_test(a_window_is_kept_and_can_be_changed),
        cmocka_unit_test(a_transfer_gets_through_a_slow_link),
        cmocka_unit_test(siblings_larger_than_a_message_get_across),
    };
    if (sodium_init() < 0) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
