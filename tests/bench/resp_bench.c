/* How fast requests are parsed and replies written, with nothing in between: pipelined SETs of a 16-byte key and a
 * 100-byte value, read in 16 KB pieces, each answered +OK; then the same count of 100-byte bulks and of integers.
 *
 *   resp_bench [millions of commands] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "node/resp.h"

enum { PIPELINE = 512, READ = 16 * 1024 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void show(const char *what, size_t count, double seconds)
{
    printf("%-24s %8.2f M/s %8.1f ns each\n", what, (double)count / seconds / 1e6, seconds / (double)count * 1e9);
}

/* Parses the stream once, as it would arrive, from a window that begins with the first byte not yet used. */
static size_t parse_all(sk_resp_parser *p, const sk_buf *stream, const sk_reply *reply)
{
    size_t from = 0, arrived = 0, commands = 0, used, argc;
    sk_bytes *argv;
    while (from < stream->len) {
        int status = sk_resp_parse(p, stream->data + from, arrived - from, &used, &argv, &argc);
        from += used;
        if (status == SK_OK) {
            commands += argc == 3;
            sk_reply_ok(reply);
        } else {
            sk_assert(status == SK_E_PARTIAL);
            arrived = stream->len - arrived < READ ? stream->len : arrived + READ;
        }
    }
    return commands;
}

int main(int argc, char **argv)
{
    size_t rounds = (argc > 1 ? strtoul(argv[1], NULL, 10) : 10) * 1000000 / PIPELINE;
    uint8_t value[100];
    memset(value, 'v', sizeof value);
    sk_buf stream = {0}, out = {0};
    for (int i = 0; i < PIPELINE; i++)
        sk_buf_printf(&stream, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$100\r\n%.100s\r\n", i, (const char *)value);
    sk_resp_parser parser;
    sk_resp_init(&parser);
    sk_reply reply = {&out, 2};

    size_t count = 0;
    double start = now_s();
    for (size_t i = 0; i < rounds; i++) {
        count += parse_all(&parser, &stream, &reply);
        sk_buf_reset(&out);
    }
    show("SET in, +OK out", count, now_s() - start);

    start = now_s();
    for (size_t i = 0; i < rounds; i++) {
        for (int j = 0; j < PIPELINE; j++) sk_reply_bulk(&reply, sk_bytes_of(value, sizeof value));
        sk_buf_reset(&out);
    }
    show("bulk out", count, now_s() - start);

    start = now_s();
    for (size_t i = 0; i < rounds; i++) {
        for (int j = 0; j < PIPELINE; j++) sk_reply_int(&reply, (int64_t)i * 1000003 * j);
        sk_buf_reset(&out);
    }
    show("integer out", count, now_s() - start);
    sk_resp_free(&parser);
    sk_buf_free(&stream);
    sk_buf_free(&out);
    return 0;
}
