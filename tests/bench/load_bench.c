/* A client that writes as fast as it can, or at a given rate: SETs of 16-byte keys (key:%012u, as redis-benchmark has
 * them) and random values, which nothing can compress.
 *
 *   load_bench PORT [name=number ...]
 *       count=1000000      SETs in all
 *       rate=0             SETs a second over all connections; 0: as fast as answers come
 *       connections=50
 *       pipeline=1         unanswered SETs that a connection may have
 *       value=100          bytes
 *       from=0 keys=0      SET number i goes to key from + i mod keys; keys=0: all different
 *       random=0           1: to a random one of `keys` instead
 *
 * Prints one line: SETs, seconds, p50, p99, p99.9 (us from when a SET was due to its answer). An answer that is not +OK
 * ends it with an error: what is measured must have happened.
 *
 * With a rate, a SET that is due while all connections are full waits, and its waiting counts. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1000, PIPELINE_MAX = 1024, VALUE_MAX = 65536, ANSWER = 5 /* +OK\r\n */ };
enum { BUCKETS_PER_OCTAVE = 32, OCTAVES = 40, BUCKETS = BUCKETS_PER_OCTAVE * OCTAVES };

typedef struct {
    int fd;
    char *out; /* requests that the socket has not taken yet */
    size_t out_len, out_sent;
    char in[ANSWER];
    size_t in_len;
    uint64_t *due_ns; /* a ring of the unanswered ones' times */
    uint64_t sent, answered;
} connection;

static struct {
    uint64_t count, rate, connections, pipeline, value, from, keys, random;
} options = {.count = 1000000, .connections = 50, .pipeline = 1, .value = 100};

static connection connections[CONNECTIONS_MAX];
static struct pollfd polls[CONNECTIONS_MAX];
static uint64_t histogram[BUCKETS], issued, answered, start_ns;
static uint64_t random_state = 0x9e3779b97f4a7c15;

static void die(const char *what)
{
    fprintf(stderr, "load_bench: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t draw(void) /* xorshift64 */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

/* -- latencies ----------------------------------------------------------------------------------------------------- */

/* Exact below BUCKETS_PER_OCTAVE, then that many buckets for each power of two: an error of 3 %. */
static size_t bucket_of(uint64_t us)
{
    if (us < BUCKETS_PER_OCTAVE) return us;
    unsigned octave = 63 - (unsigned)__builtin_clzll(us) - 5;
    size_t bucket = (octave + 1) * BUCKETS_PER_OCTAVE + (us >> octave) - BUCKETS_PER_OCTAVE;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static uint64_t bucket_top(size_t bucket)
{
    if (bucket < BUCKETS_PER_OCTAVE) return bucket;
    size_t octave = bucket / BUCKETS_PER_OCTAVE - 1;
    return ((bucket % BUCKETS_PER_OCTAVE + BUCKETS_PER_OCTAVE + 1) << octave) - 1;
}

static uint64_t percentile(double share)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if ((double)seen >= share * (double)answered) return bucket_top(i);
    }
    return bucket_top(BUCKETS - 1);
}

/* -- connections --------------------------------------------------------------------------------------------------- */

static void open_connection(connection *c, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connecting");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->out = malloc(options.pipeline * (options.value + 128));
    c->due_ns = calloc(options.pipeline, sizeof *c->due_ns);
    if (!c->out || !c->due_ns) die("memory");
}

static void append_set(connection *c, uint64_t due_ns)
{
    uint64_t number = issued++;
    if (options.keys) number = (options.random ? draw() : number) % options.keys;
    char *at = c->out + c->out_len;
    at += sprintf(at, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012llu\r\n$%llu\r\n",
                  (unsigned long long)((options.from + number) % 1000000000000), (unsigned long long)options.value);
    for (uint64_t i = 0; i < options.value; i += 8) { /* up to 7 bytes more than asked for: there is room */
        uint64_t bits = draw();
        memcpy(at + i, &bits, sizeof bits);
    }
    at += options.value;
    memcpy(at, "\r\n", 2);
    c->out_len = (size_t)(at + 2 - c->out);
    c->due_ns[c->sent++ % options.pipeline] = due_ns;
}

/* What is sent so far makes room for what comes: `out` holds one pipeline at most. */
static void flush_out(connection *c)
{
    while (c->out_sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (n < 0) die("sending");
        c->out_sent += (size_t)n;
    }
    memmove(c->out, c->out + c->out_sent, c->out_len - c->out_sent);
    c->out_len -= c->out_sent;
    c->out_sent = 0;
}

static void read_answers(connection *c)
{
    char piece[4096];
    ssize_t n = recv(c->fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) die("the server closed a connection");
    uint64_t now = now_ns();
    for (ssize_t i = 0; i < n; i++) {
        c->in[c->in_len++] = piece[i];
        if (c->in_len < ANSWER) continue;
        if (memcmp(c->in, "+OK\r\n", ANSWER) != 0) {
            fprintf(stderr, "load_bench: the answer was not OK: %.5s%.*s\n", c->in, (int)(n - i - 1), piece + i + 1);
            exit(1);
        }
        c->in_len = 0;
        histogram[bucket_of((now - c->due_ns[c->answered++ % options.pipeline]) / 1000)]++;
        answered++;
    }
}

/* Hands out what is due, a connection at a time; true when something still is. */
static bool issue(uint64_t now)
{
    static size_t next;
    size_t full = 0;
    while (issued < options.count && full < options.connections) {
        uint64_t due = options.rate ? start_ns + issued * 1000000000 / options.rate : now;
        if (due > now) return false;
        connection *c = &connections[next];
        if (c->sent - c->answered < options.pipeline) {
            append_set(c, due);
            full = 0;
            if (options.rate == 0 && c->sent - c->answered < options.pipeline) continue; /* fill this one first */
        } else
            full++;
        next = (next + 1) % options.connections;
    }
    return issued < options.count;
}

static void wait_for_something(uint64_t now, bool late)
{
    struct timespec pause = {1, 0};
    if (options.rate && !late && issued < options.count) {
        uint64_t due = start_ns + issued * 1000000000 / options.rate;
        uint64_t ns = due > now ? due - now : 0;
        pause = (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    }
    for (size_t i = 0; i < options.connections; i++) {
        connection *c = &connections[i];
        polls[i] = (struct pollfd){.fd = c->fd, .events = (short)(POLLIN | (c->out_len ? POLLOUT : 0))};
    }
    if (ppoll(polls, options.connections, &pause, NULL) < 0 && errno != EINTR) die("polling");
}

/* -- the run ------------------------------------------------------------------------------------------------------- */

static void parse_option(const char *argument)
{
    static const struct {
        const char *name;
        uint64_t *value;
    } table[] = {
        {"count", &options.count},       {"rate", &options.rate},   {"connections", &options.connections},
        {"pipeline", &options.pipeline}, {"value", &options.value}, {"from", &options.from},
        {"keys", &options.keys},         {"random", &options.random},
    };
    const char *equals = strchr(argument, '=');
    for (size_t i = 0; equals && i < sizeof table / sizeof *table; i++)
        if (strncmp(argument, table[i].name, (size_t)(equals - argument)) == 0 &&
            strlen(table[i].name) == (size_t)(equals - argument)) {
            *table[i].value = strtoull(equals + 1, NULL, 10);
            return;
        }
    fprintf(stderr, "load_bench: %s is not an option\n", argument);
    exit(2);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: load_bench PORT [name=number ...]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) parse_option(argv[i]);
    if (options.connections < 1 || options.connections > CONNECTIONS_MAX || options.pipeline < 1 ||
        options.pipeline > PIPELINE_MAX || options.value > VALUE_MAX || options.count < 1) {
        fprintf(stderr, "load_bench: an option is out of range\n");
        return 2;
    }
    for (size_t i = 0; i < options.connections; i++) open_connection(&connections[i], (uint16_t)atoi(argv[1]));
    random_state ^= start_ns = now_ns();
    while (answered < options.count) {
        uint64_t now = now_ns();
        bool late = issue(now);
        for (size_t i = 0; i < options.connections; i++)
            if (connections[i].out_len) flush_out(&connections[i]);
        wait_for_something(now, late);
        for (size_t i = 0; i < options.connections; i++)
            if (polls[i].revents & ~POLLOUT) read_answers(&connections[i]);
    }
    printf("%llu %.6f %llu %llu %llu\n", (unsigned long long)answered, (double)(now_ns() - start_ns) / 1e9,
           (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99),
           (unsigned long long)percentile(0.999));
    return 0;
}
