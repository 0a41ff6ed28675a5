/* The sea between the regions: passes Ethernet frames on between interfaces, late, or not at all.
 *
 *     lab_hub SEED INTERFACE...            at least two, each the near end of a region's veth pair
 *
 * A kernel without netem can neither delay nor lose, so this does: frames are read from packet sockets, each direction
 * between two interfaces has a delay, a jitter and a loss, and a frame waits in one heap until it is due. The regions'
 * own TCP meets real loss, real reordering (jitter) and real round trips; nothing here knows of TCP.
 *
 * Commands come as lines on standard input, interfaces are numbered from 0; the end of the input ends the hub:
 *     link FROM TO DELAY_US JITTER_US LOSS_PPM
 *     stats                                one line for each direction: FROM TO PASSED LOST OVERFLOWED; then "."
 *
 * 1. The interface that a frame is for is the last byte of its destination address (02:00:00:00:00:NN), or all others
 *    for a broadcast; frames for anybody else are dropped.
 * 2. What waits is bounded, WAITING_MAX frames: beyond it frames are dropped, as a router does.
 * 3. Whether a frame is lost depends on the seed and on how many frames went before it, not on any clock. */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORTS_MAX = 16, WAITING_MAX = 16384, FRAME_MAX = 2048, READ_BURST = 64, MILLION = 1000000, LINE_ROOM = 256 };

typedef struct {
    uint64_t delay_us, jitter_us, loss_ppm;
    uint64_t passed, lost, overflowed;
} direction;

typedef struct {
    uint64_t due_us, number; /* number: frames that are due at the same time leave in the order they came */
    size_t to, len;
    uint8_t bytes[FRAME_MAX];
} frame;

static struct pollfd ports[PORTS_MAX + 1]; /* and standard input behind them */
static size_t port_count;
static direction directions[PORTS_MAX][PORTS_MAX];
static frame *waiting[WAITING_MAX]; /* a heap, the next one due first */
static size_t waiting_count;
static uint64_t frames_seen, random_state;

static void die(const char *what)
{
    fprintf(stderr, "lab_hub: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * MILLION + (uint64_t)now.tv_nsec / 1000;
}

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t draw(uint64_t below)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return below ? (z ^ (z >> 31)) % below : 0;
}

/* -- the heap ----------------------------------------------------------------------------------------------------- */

static bool before(const frame *a, const frame *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->number < b->number;
}

static void push(frame *new)
{
    size_t at = waiting_count++;
    for (; at > 0 && before(new, waiting[(at - 1) / 2]); at = (at - 1) / 2) waiting[at] = waiting[(at - 1) / 2];
    waiting[at] = new;
}

static frame *pop(void)
{
    frame *first = waiting[0], *last = waiting[--waiting_count];
    size_t at = 0;
    for (size_t child = 1; child < waiting_count; at = child, child = 2 * at + 1) {
        if (child + 1 < waiting_count && before(waiting[child + 1], waiting[child])) child++;
        if (!before(waiting[child], last)) break;
        waiting[at] = waiting[child];
    }
    waiting[at] = last;
    return first;
}

/* -- frames ------------------------------------------------------------------------------------------------------- */

static void send_on(size_t from, size_t to, const uint8_t *bytes, size_t len)
{
    direction *way = &directions[from][to];
    bool is_lost = draw(MILLION) < way->loss_ppm;
    uint64_t jitter_us = draw(way->jitter_us + 1);
    if (is_lost) {
        way->lost++;
        return;
    }
    frame *copy = waiting_count < WAITING_MAX ? malloc(sizeof *copy) : NULL;
    if (!copy) {
        way->overflowed++;
        return;
    }
    *copy = (frame){.due_us = now_us() + way->delay_us + jitter_us, .number = frames_seen++, .to = to, .len = len};
    memcpy(copy->bytes, bytes, len);
    push(copy);
    way->passed++;
}

static void receive(size_t from)
{
    uint8_t bytes[FRAME_MAX];
    for (int i = 0; i < READ_BURST; i++) {
        struct sockaddr_ll sender;
        socklen_t size = sizeof sender;
        ssize_t len = recvfrom(ports[from].fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_TRUNC, (void *)&sender, &size);
        if (len < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ENETDOWN) die("recvfrom");
            return;
        }
        if (sender.sll_pkttype == PACKET_OUTGOING || len < ETH_HLEN) continue; /* what we sent ourselves */
        if ((size_t)len > sizeof bytes) {
            fprintf(stderr, "lab_hub: a frame of %zd bytes: segmentation is to be turned off\n", len);
            exit(1);
        }
        bool is_broadcast = bytes[0] & 1;
        for (size_t to = 0; to < port_count; to++)
            if (to != from && (is_broadcast || bytes[5] == to)) send_on(from, to, bytes, (size_t)len);
    }
}

static void deliver(void)
{
    uint64_t now = now_us();
    while (waiting_count && waiting[0]->due_us <= now) {
        frame *next = pop();
        if (send(ports[next->to].fd, next->bytes, next->len, MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != ENOBUFS &&
            errno != ENETDOWN)
            die("send");
        free(next);
    }
}

/* -- commands ----------------------------------------------------------------------------------------------------- */

static void stats(void)
{
    for (size_t from = 0; from < port_count; from++)
        for (size_t to = 0; to < port_count; to++) {
            const direction *way = &directions[from][to];
            if (from != to) printf("%zu %zu %lu %lu %lu\n", from, to, way->passed, way->lost, way->overflowed);
        }
    printf(".\n");
    fflush(stdout);
}

static void obey(const char *line)
{
    size_t from, to;
    direction new;
    if (strcmp(line, "stats") == 0) {
        stats();
        return;
    }
    if (sscanf(line, "link %zu %zu %lu %lu %lu", &from, &to, &new.delay_us, &new.jitter_us, &new.loss_ppm) != 5 ||
        from >= port_count || to >= port_count) {
        fprintf(stderr, "lab_hub: no such command: %s\n", line);
        exit(1);
    }
    directions[from][to].delay_us = new.delay_us;
    directions[from][to].jitter_us = new.jitter_us;
    directions[from][to].loss_ppm = new.loss_ppm;
}

/* Obeys whole lines; returns false at the end of the input. */
static bool read_commands(void)
{
    static char line[LINE_ROOM];
    static size_t len;
    char byte;
    while (poll(&(struct pollfd){.fd = STDIN_FILENO, .events = POLLIN}, 1, 0) > 0) {
        if (read(STDIN_FILENO, &byte, 1) <= 0) return false;
        if (byte != '\n') {
            if (len + 1 < sizeof line) line[len++] = byte;
            continue;
        }
        line[len] = '\0';
        len = 0;
        obey(line);
    }
    return true;
}

static int open_port(const char *interface)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    unsigned index = if_nametoindex(interface);
    if (fd < 0 || !index) die(interface);
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)index};
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) die("bind");
    struct packet_mreq everything = {.mr_ifindex = (int)index, .mr_type = PACKET_MR_PROMISC};
    if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &everything, sizeof everything)) die("PACKET_ADD_MEMBERSHIP");
    return fd;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc - 2 > PORTS_MAX) {
        fprintf(stderr, "usage: lab_hub SEED INTERFACE INTERFACE... (%d at most)\n", PORTS_MAX);
        return 2;
    }
    random_state = strtoull(argv[1], NULL, 10);
    port_count = (size_t)argc - 2;
    for (size_t i = 0; i < port_count; i++) ports[i] = (struct pollfd){.fd = open_port(argv[i + 2]), .events = POLLIN};
    ports[port_count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    for (;;) {
        uint64_t now = now_us(), due = waiting_count ? waiting[0]->due_us : now + MILLION;
        uint64_t rest = due > now ? due - now : 0;
        struct timespec until = {(time_t)(rest / MILLION), (long)(rest % MILLION * 1000)};
        if (ppoll(ports, port_count + 1, &until, NULL) < 0 && errno != EINTR) die("ppoll");
        deliver();
        for (size_t i = 0; i < port_count; i++)
            if (ports[i].revents) receive(i);
        if (ports[port_count].revents && !read_commands()) return 0;
    }
}
