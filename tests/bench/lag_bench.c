/* Replication lag as a client sees it: SETs a key at one node and, once that is acknowledged, asks another node for it
 * until it has the value.
 *
 *   lag_bench PORT_WRITE PORT_READ [probes [pause_us [patience_s]]]
 *
 * Prints one line: probes, p50, p99, p99.9, max (µs from the acknowledgement here to the answer there), and p50 of one
 * GET's round trip, which is the grain of this clock. Pauses differ, between half and one and a half times pause_us, so
 * that probes don't march in step with the nodes' timers. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PROBES_MAX = 1000000, TEXT = 128 };

static void die(const char *what)
{
    fprintf(stderr, "lag_bench: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int connect_to(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) die("connecting");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static bool ends_with_line(const char *text, size_t len)
{
    return len >= 2 && memcmp(text + len - 2, "\r\n", 2) == 0;
}

/* One request, one answer of less than TEXT bytes: a line, or a bulk. */
static void ask(int fd, const char *request, char answer[TEXT])
{
    size_t len = 0;
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request)) die("sending");
    for (;;) {
        ssize_t n = recv(fd, answer + len, TEXT - 1 - len, 0);
        if (n <= 0) die("reading");
        len += (size_t)n;
        answer[len] = 0;
        bool bulk = answer[0] == '$' && answer[1] != '-';
        const char *first = strchr(answer, '\n');
        if (ends_with_line(answer, len) && (!bulk || (first && first + 1 < answer + len))) return;
        if (len == TEXT - 1) die("a longer answer than expected");
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double at_us(const uint64_t *sorted, size_t count, double share)
{
    size_t i = (size_t)(share * (double)count);
    return (double)sorted[i < count ? i : count - 1] / 1000;
}

/* Nanoseconds until `reader` has value `number`; the last round trip goes to *trip. */
static uint64_t probe(int writer, int reader, unsigned number, uint64_t patience_ns, uint64_t *trip)
{
    char set[TEXT], get[TEXT], answer[TEXT], wanted[TEXT], value[16];
    snprintf(value, sizeof value, "%010u", number);
    snprintf(set, sizeof set, "*3\r\n$3\r\nSET\r\n$9\r\nlag:probe\r\n$10\r\n%s\r\n", value);
    snprintf(get, sizeof get, "*2\r\n$3\r\nGET\r\n$9\r\nlag:probe\r\n");
    snprintf(wanted, sizeof wanted, "$10\r\n%s\r\n", value);
    ask(writer, set, answer);
    if (strcmp(answer, "+OK\r\n") != 0) {
        fprintf(stderr, "lag_bench: SET was answered: %s", answer);
        exit(1);
    }
    uint64_t acknowledged = now_ns();
    for (;;) {
        uint64_t asked = now_ns();
        ask(reader, get, answer);
        uint64_t now = now_ns();
        *trip = now - asked;
        if (strcmp(answer, wanted) == 0) return now - acknowledged;
        if (now - acknowledged > patience_ns) {
            fprintf(stderr, "lag_bench: probe %u is not there in time; the answer is %s", number, answer);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: lag_bench PORT_WRITE PORT_READ [probes [pause_us [patience_s]]]\n");
        return 2;
    }
    size_t probes = argc > 3 ? strtoul(argv[3], NULL, 10) : 1000;
    long pause_us = argc > 4 ? atol(argv[4]) : 5000;
    uint64_t patience_ns = (argc > 5 ? strtoull(argv[5], NULL, 10) : 60) * 1000000000;
    if (probes < 1 || probes > PROBES_MAX || pause_us < 0) return 2;
    int writer = connect_to(argv[1]), reader = connect_to(argv[2]);
    uint64_t *lags = calloc(probes, sizeof *lags), *trips = calloc(probes, sizeof *trips);
    if (!lags || !trips) die("memory");
    for (size_t i = 0; i < probes; i++) {
        lags[i] = probe(writer, reader, (unsigned)i, patience_ns, &trips[i]);
        long us = pause_us / 2 + (pause_us ? random() % (pause_us + 1) : 0);
        struct timespec pause = {us / 1000000, us % 1000000 * 1000};
        nanosleep(&pause, NULL);
    }
    qsort(lags, probes, sizeof *lags, compare);
    qsort(trips, probes, sizeof *trips, compare);
    printf("%zu %.1f %.1f %.1f %.1f %.1f\n", probes, at_us(lags, probes, 0.5), at_us(lags, probes, 0.99),
           at_us(lags, probes, 0.999), (double)lags[probes - 1] / 1000, at_us(trips, probes, 0.5));
    return 0;
}
