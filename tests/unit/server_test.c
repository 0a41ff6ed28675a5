/* The server over real sockets of the loopback, all in one loop: which replies leave when, and which connections stay.
 * The disk is the memory store, which syncs when a test says so; the time is a number that tests set. Waits ask until
 * something holds. */
#include "node/connection.h"
#include "storage/memory.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 30000, WATCH_EVERY_MS = 5 };

static struct {
    uv_loop_t loop;
    uv_timer_t tick;
    sk_config config;
    sk_store *store;
    sk_replica *replica;
    sk_server *server;
    uint64_t now_ms;
} world;

typedef struct {
    int socket;
    sk_buf got;
    bool ended; /* the server has closed it */
} client;

static void on_event(void *self)
{
    (void)self;
    sk_replica_time(world.replica, world.now_ms, 1700000000000u + world.now_ms);
}

static void on_tick(uv_timer_t *timer) { (void)timer; }

static void open_world(void)
{
    memset(&world, 0, sizeof world);
    uv_loop_init(&world.loop);
    uv_timer_init(&world.loop, &world.tick);
    uv_timer_start(&world.tick, on_tick, 1, 1);
    world.config.listen.address = "127.0.0.1";
    world.config.listen.max_clients = 100;
    world.config.listen.max_args = 1000;
    world.config.listen.bulk_max = 1 << 20;
    world.config.listen.query_buffer_max = 2 << 20;
    world.config.listen.output_buffer_max = 1 << 20;
    world.config.storage.write_buffer = 16 << 20;
    world.store = sk_memory_open(SK_DURABILITY_ALWAYS);
    static const uint8_t key[SK_MEMBER_KEY] = {1};
    sk_replica_options options = {
        .region = "eu",
        .cluster = "test",
        .life = sk_bytes_str("life"),
        .public_key = key,
        .limits = sk_engine_limits_default(),
        .transaction_bytes_max = 8 << 20,
        .seed = 1,
    };
    sk_replica_host host = {.self = NULL};
    sk_buf error = {0};
    assert_int_equal(sk_replica_new(world.store, &options, &host, 0, 1700000000000u, &error, &world.replica), 0);
    world.server = sk_server_new(&world.loop, world.replica, &world.config, on_event, NULL);
    uv_timer_set_repeat(&world.server->watch, WATCH_EVERY_MS);
    uv_timer_again(&world.server->watch);
    assert_int_equal(sk_server_listen(world.server), 0);
}

static void sync_disk(void) { assert_int_equal(sk_memory_sync(world.store, UINT64_MAX), 0); }

static void step(void)
{
    uv_run(&world.loop, UV_RUN_ONCE);
    on_event(NULL);
    sk_replica_turn(world.replica);
    sk_replica_reap(world.replica);
    sk_server_release(world.server);
}

#define wait_for(holds)                                                                                               \
    do {                                                                                                              \
        uint64_t asked = uv_hrtime();                                                                                 \
        while (!(holds)) {                                                                                            \
            if (uv_hrtime() - asked > (uint64_t)WAIT_MS * 1000000) fail_msg("line %d: not seen: " #holds, __LINE__);  \
            step();                                                                                                   \
        }                                                                                                             \
    } while (0)

static void close_world(void)
{
    sk_server_close(world.server);
    uv_close((uv_handle_t *)&world.tick, NULL);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    sk_replica_free(world.replica);
    sk_store_close(world.store);
    sk_server_free(world.server);
}

/* -- clients ------------------------------------------------------------------------------------------------------- */

static client call(void)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    assert_int_equal(uv_tcp_getsockname(&world.server->listener, (struct sockaddr *)&address, &len), 0);
    client c = {.socket = socket(AF_INET, SOCK_STREAM, 0)};
    assert_true(c.socket >= 0);
    uint64_t before = world.server->stats.accepted;
    assert_int_equal(connect(c.socket, (struct sockaddr *)&address, (socklen_t)len), 0);
    wait_for(world.server->stats.accepted > before);
    return c;
}

static void hang_up(client *c)
{
    close(c->socket);
    sk_buf_free(&c->got);
}

/* Returns when every request is executed, or waits for others. */
static void ask(client *c, const char *requests, uint64_t count)
{
    uint64_t before = world.replica->stat_commands;
    assert_int_equal(send(c->socket, requests, strlen(requests), MSG_NOSIGNAL), strlen(requests));
    wait_for(world.replica->stat_commands == before + count);
    step();
}

/* What has come by now. */
static sk_bytes heard(client *c)
{
    for (;;) {
        ssize_t len = recv(c->socket, sk_buf_reserve(&c->got, 65536), 65536, MSG_DONTWAIT);
        if (len == 0 || (len < 0 && errno != EAGAIN)) c->ended = true;
        if (len <= 0) return sk_buf_view(&c->got);
        c->got.len += (size_t)len;
    }
}

static bool has_heard(client *c, const char *text) { return sk_bytes_equal(heard(c), sk_bytes_str(text)); }

static bool has_ended(client *c)
{
    heard(c);
    return c->ended;
}

/* -- order --------------------------------------------------------------------------------------------------------- */

static void replies_leave_in_order_and_rest_on_the_disk(void **state)
{
    (void)state;
    open_world();
    client one = call(), other = call();
    ask(&one, "SET before 1\r\n", 1);
    sync_disk();
    wait_for(has_heard(&one, "+OK\r\n"));
    sk_buf_reset(&one.got);

    ask(&one, "GET before\r\nSET a 2\r\nGET before\r\n", 3); /* the first rests on nothing, but shares their turn */
    ask(&one, "PING\r\n", 1);
    ask(&other, "GET before\r\nPING\r\n", 2);
    wait_for(has_heard(&other, "$1\r\n1\r\n+PONG\r\n")); /* nobody else waits for that write… */
    sk_buf_reset(&other.got);
    ask(&other, "GET a\r\nPING\r\n", 2); /* …but for who has seen it */
    assert_true(has_heard(&one, "") && has_heard(&other, ""));
    sync_disk();
    wait_for(has_heard(&one, "$1\r\n1\r\n+OK\r\n$1\r\n1\r\n+PONG\r\n"));
    wait_for(has_heard(&other, "$1\r\n2\r\n+PONG\r\n"));
    hang_up(&one);
    hang_up(&other);
    close_world();
}

/* shutdown(SHUT_WR): what was asked is answered, though the disk takes its time. */
static void who_is_done_with_sending_gets_every_reply(void **state)
{
    (void)state;
    open_world();
    client c = call();
    ask(&c, "SET a 1\r\nGET a\r\n", 2);
    assert_int_equal(shutdown(c.socket, SHUT_WR), 0);
    wait_for(SK_LIST_OWNER(world.server->all.next, sk_connection, all)->finished);
    assert_true(has_heard(&c, "") && !c.ended);
    sync_disk();
    wait_for(has_ended(&c));
    assert_true(has_heard(&c, "+OK\r\n$1\r\n1\r\n"));
    hang_up(&c);
    close_world();
}

static void nothing_behind_quit_is_executed(void **state)
{
    (void)state;
    open_world();
    client c = call();
    ask(&c, "SET a 1\r\nQUIT\r\nSET a 2\r\n", 2);
    sync_disk();
    wait_for(has_ended(&c));
    assert_true(has_heard(&c, "+OK\r\n+OK\r\n"));
    assert_int_equal(world.replica->stat_commands, 2);
    hang_up(&c);
    close_world();
}

/* -- limits -------------------------------------------------------------------------------------------------------- */

/* The limit is on one reply: what is before it in the same turn, of a client that reads, does not count. */
static void each_reply_may_be_as_large_as_the_limit(void **state)
{
    (void)state;
    open_world();
    client c = call();
    world.config.listen.output_buffer_max = 64 << 10;
    ask(&c, "SETRANGE small 29999 x\r\nSETRANGE large 59999 x\r\nSETRANGE over 65535 x\r\n", 3);
    sync_disk();
    wait_for(has_heard(&c, ":30000\r\n:60000\r\n:65536\r\n"));
    sk_buf_reset(&c.got);
    ask(&c, "GET small\r\nGET large\r\nGET small\r\nGET large\r\nPING\r\n", 5);
    size_t all = 2 * (strlen("$30000\r\n\r\n$60000\r\n\r\n") + 90000) + strlen("+PONG\r\n");
    wait_for(heard(&c).len == all || c.ended);
    assert_false(c.ended);
    ask(&c, "GET over\r\n", 1);
    wait_for(has_ended(&c));
    assert_int_equal(c.got.len, all);
    assert_int_equal(world.server->stats.closed_output, 1);
    hang_up(&c);
    close_world();
}

/* -- idle clients -------------------------------------------------------------------------------------------------- */

/* A client that waits for the node, for others or for the disk, is not idle, nor is it at the moment when it has its reply. */
static void who_waits_for_the_node_is_not_idle(void **state)
{
    (void)state;
    open_world();
    world.config.listen.idle_timeout = 60000;
    client first = call(), waits = call(), held = call();
    ask(&waits, "WAIT 1 90000\r\n", 1);
    ask(&held, "SET a 1\r\n", 1);
    world.now_ms = 31000;
    client second = call();
    world.now_ms = 60000;
    wait_for(has_ended(&first));
    step();
    assert_false(has_ended(&waits) || has_ended(&held) || has_ended(&second));

    sync_disk();
    wait_for(has_heard(&held, "+OK\r\n"));
    world.now_ms = 90000;
    wait_for(has_heard(&waits, ":0\r\n"));
    world.now_ms = 91000;
    wait_for(has_ended(&second));
    step();
    assert_false(has_ended(&waits) || has_ended(&held));

    world.now_ms = 151000;
    wait_for(has_ended(&waits) && has_ended(&held));
    hang_up(&first);
    hang_up(&second);
    hang_up(&waits);
    hang_up(&held);
    close_world();
}

/* One that does not read what it was answered is as idle as one that says nothing. */
static void who_does_not_read_is_idle(void **state)
{
    (void)state;
    open_world();
    world.config.listen.idle_timeout = 60000;
    world.config.listen.output_buffer_max = 64 << 20;
    client c = call();
    ask(&c, "SETRANGE a 1048575 x\r\n", 1);
    sync_disk();
    wait_for(has_heard(&c, ":1048576\r\n"));
    char requests[40 * 7 + 1] = "";
    for (int i = 0; i < 40; i++) strcat(requests, "GET a\r\n");
    assert_int_equal(send(c.socket, requests, strlen(requests), MSG_NOSIGNAL), strlen(requests));
    wait_for(world.server->stats.unsent_bytes > 0 && world.replica->stat_commands > 1);
    world.now_ms = 60000;
    wait_for(world.server->stats.connections == 0);
    hang_up(&c);
    close_world();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_leave_in_order_and_rest_on_the_disk),
        cmocka_unit_test(who_is_done_with_sending_gets_every_reply),
        cmocka_unit_test(nothing_behind_quit_is_executed),
        cmocka_unit_test(each_reply_may_be_as_large_as_the_limit),
        cmocka_unit_test(who_waits_for_the_node_is_not_idle),
        cmocka_unit_test(who_does_not_read_is_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
