/* What compressing a link's messages would save and cost: JSON-like values in messages of 1 to 256 SETs, by zstd
 *
 *   alone        each message by itself
 *   dictionary   each by itself, with a dictionary trained on 4 MB of other values of the same kinds
 *   stream       all messages of a link as one stream, flushed after each (what gossip/compress.h does)
 *
 *   compress_bench [megabytes of values] */
#define ZSTD_STATIC_LINKING_ONLY
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zdict.h>
#include <zstd.h>

#include "crdt/memory.h"

enum { TRAINING = 4 << 20, DICTIONARY = 32 << 10, MESSAGE_MAX = 1 << 20 };

static uint64_t random_state = 1;

static uint64_t draw(uint64_t below)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

#define PICK(words) words[draw(sizeof words / sizeof *words)]

/* A value of one of three kinds, as applications keep them: about half of its bytes are names of fields. */
static void put_value(sk_buf *out)
{
    static const char *const names[] = {"Ana", "Bogdan", "Chidi", "Dilnoza", "Elif", "Farid", "Greta", "Hyun", "Ines",
                                        "Jomo", "Kaveh", "Lucija", "Mateo", "Noor", "Olena", "Priya"};
    static const char *const cities[] = {"Lisboa", "Tromsø", "Nairobi", "Đà Nẵng", "Montevideo", "Tbilisi", "Osaka"};
    static const char *const states[] = {"active", "suspended", "pending", "deleted"};
    uint64_t a = draw(UINT64_MAX), b = draw(UINT64_MAX);
    switch (draw(3)) {
    case 0:
        sk_buf_printf(out,
                      "{\"id\":\"%08x-%04x-%04x\",\"first_name\":\"%s\",\"last_name\":\"%s\",\"email\":\"%s.%u@example.net\","
                      "\"city\":\"%s\",\"status\":\"%s\",\"verified\":%s,\"created_at\":\"2026-%02u-%02uT%02u:%02u:%02uZ\","
                      "\"login_count\":%u,\"tags\":[\"%s\",\"%s\"]}",
                      (unsigned)a, (unsigned)(b & 0xffff), (unsigned)(b >> 16 & 0xffff), PICK(names), PICK(names),
                      PICK(names), (unsigned)draw(10000), PICK(cities), PICK(states), draw(2) ? "true" : "false",
                      (unsigned)draw(12) + 1, (unsigned)draw(28) + 1, (unsigned)draw(24), (unsigned)draw(60),
                      (unsigned)draw(60), (unsigned)draw(5000), PICK(states), PICK(cities));
        break;
    case 1:
        sk_buf_printf(out,
                      "{\"order\":%llu,\"customer\":%u,\"currency\":\"EUR\",\"total\":%u.%02u,\"lines\":[{\"sku\":\"SK-%05u\","
                      "\"quantity\":%u,\"price\":%u.%02u},{\"sku\":\"SK-%05u\",\"quantity\":%u,\"price\":%u.%02u}],"
                      "\"shipped\":%s,\"warehouse\":\"%s\"}",
                      (unsigned long long)(a % 1000000000), (unsigned)draw(100000), (unsigned)draw(900),
                      (unsigned)draw(100), (unsigned)draw(100000), (unsigned)draw(9) + 1, (unsigned)draw(300),
                      (unsigned)draw(100), (unsigned)draw(100000), (unsigned)draw(9) + 1, (unsigned)draw(300),
                      (unsigned)draw(100), draw(2) ? "true" : "false", PICK(cities));
        break;
    default:
        sk_buf_printf(out,
                      "{\"session\":\"%016llx\",\"user\":%u,\"device\":\"%s-phone\",\"last_seen\":%llu,\"ip\":\"10.%u.%u.%u\","
                      "\"expires_in\":3600,\"scopes\":[\"read\",\"write\"],\"locale\":\"en_GB\"}",
                      (unsigned long long)a, (unsigned)draw(100000), PICK(names),
                      (unsigned long long)(1790000000000 + draw(1000000000)), (unsigned)draw(256), (unsigned)draw(256),
                      (unsigned)draw(256));
    }
}

/* One SET as a BATCH carries it: heads and lengths, a key, the value. Returns the bytes of the value. */
static size_t put_set(sk_buf *message)
{
    sk_buf value = {0};
    put_value(&value);
    sk_buf_printf(message, "\x06%c%cobject:%09u", (int)draw(256), (int)value.len % 256, (unsigned)draw(1000000));
    sk_buf_bytes(message, sk_buf_view(&value));
    size_t len = value.len;
    sk_buf_free(&value);
    return len;
}

typedef enum { ALONE, DICT, STREAM } way;

typedef struct {
    size_t values, value_bytes, message_bytes, squeezed;
    double squeeze_s, open_s;
} result;

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(size_t code)
{
    if (!ZSTD_isError(code)) return;
    fprintf(stderr, "zstd: %s\n", ZSTD_getErrorName(code));
    exit(1);
}

static result measure(way by, int level, int window_log, size_t batch, size_t total, sk_bytes dictionary)
{
    result r = {0};
    ZSTD_CCtx *squeeze = ZSTD_createCCtx();
    ZSTD_DCtx *open = ZSTD_createDCtx();
    must(ZSTD_CCtx_setParameter(squeeze, ZSTD_c_compressionLevel, level));
    must(ZSTD_CCtx_setParameter(squeeze, ZSTD_c_windowLog, window_log));
    must(ZSTD_CCtx_setParameter(squeeze, ZSTD_c_format, ZSTD_f_zstd1_magicless));
    must(ZSTD_DCtx_setParameter(open, ZSTD_d_format, ZSTD_f_zstd1_magicless));
    must(ZSTD_CCtx_setParameter(squeeze, ZSTD_c_contentSizeFlag, by != STREAM));
    if (by == DICT) {
        must(ZSTD_CCtx_loadDictionary(squeeze, dictionary.data, dictionary.len));
        must(ZSTD_DCtx_loadDictionary(open, dictionary.data, dictionary.len));
    }
    sk_buf message = {0};
    uint8_t *small = malloc(ZSTD_compressBound(MESSAGE_MAX)), *again = malloc(MESSAGE_MAX);
    random_state = 7;
    while (r.value_bytes < total) {
        sk_buf_reset(&message);
        for (size_t i = 0; i < batch; i++) r.value_bytes += put_set(&message);
        r.values += batch;
        r.message_bytes += message.len;
        double begin = cpu_s();
        ZSTD_inBuffer in = {message.data, message.len, 0};
        ZSTD_outBuffer out = {small, ZSTD_compressBound(MESSAGE_MAX), 0};
        must(ZSTD_compressStream2(squeeze, &out, &in, by == STREAM ? ZSTD_e_flush : ZSTD_e_end));
        double middle = cpu_s();
        ZSTD_inBuffer packed = {small, out.pos, 0};
        ZSTD_outBuffer plain = {again, MESSAGE_MAX, 0};
        must(ZSTD_decompressStream(open, &plain, &packed));
        r.open_s += cpu_s() - middle;
        r.squeeze_s += middle - begin;
        r.squeezed += out.pos;
        if (plain.pos != message.len || memcmp(again, message.data, message.len) != 0) exit(2);
    }
    if (by == STREAM && batch == 1)
        fprintf(stderr, "memory of a stream, level %d, window 2^%d: %zu KB to compress, %zu KB to open\n", level,
                window_log, ZSTD_sizeof_CCtx(squeeze) >> 10, ZSTD_sizeof_DCtx(open) >> 10);
    ZSTD_freeCCtx(squeeze);
    ZSTD_freeDCtx(open);
    free(small);
    free(again);
    sk_buf_free(&message);
    return r;
}

static sk_buf train(void)
{
    sk_buf samples = {0}, dictionary = {0};
    size_t *sizes = NULL, count = 0;
    random_state = 99;
    while (samples.len < TRAINING) {
        size_t before = samples.len;
        put_set(&samples);
        sizes = realloc(sizes, (count + 1) * sizeof *sizes);
        sizes[count++] = samples.len - before;
    }
    uint8_t *at = sk_buf_reserve(&dictionary, DICTIONARY);
    dictionary.len = ZDICT_trainFromBuffer(at, DICTIONARY, samples.data, sizes, (unsigned)count);
    must(dictionary.len);
    free(sizes);
    sk_buf_free(&samples);
    return dictionary;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        way by;
        int level, window_log;
    } ways[] = {
        {"alone, level 1", ALONE, 1, 17},       {"alone, level 3", ALONE, 3, 17},
        {"dictionary, level 1", DICT, 1, 17},   {"dictionary, level 3", DICT, 3, 17},
        {"stream, level -1, 128 KB", STREAM, -1, 17}, {"stream, level 1, 64 KB", STREAM, 1, 16},
        {"stream, level 1, 128 KB", STREAM, 1, 17},   {"stream, level 1, 256 KB", STREAM, 1, 18},
        {"stream, level 2, 128 KB", STREAM, 2, 17},
        {"stream, level 3, 128 KB", STREAM, 3, 17},   {"stream, level 3, 512 KB", STREAM, 3, 19},
    };
    static const size_t batches[] = {1, 4, 16, 256};
    size_t total = (argc > 1 ? strtoul(argv[1], NULL, 10) : 16) << 20;
    sk_buf dictionary = train();
    printf("| how | SETs a message | bytes of a value | over values | over the message | µs per SET to compress | to open |\n");
    printf("| --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            result r = measure(ways[w].by, ways[w].level, ways[w].window_log, batches[b], total, sk_buf_view(&dictionary));
            double values = (double)r.values;
            printf("| %s | %zu | %.0f | %.3f | %.3f | %.2f | %.2f |\n", ways[w].name, batches[b],
                   (double)r.value_bytes / values, (double)r.squeezed / (double)r.value_bytes,
                   (double)r.squeezed / (double)r.message_bytes, r.squeeze_s * 1e6 / values, r.open_s * 1e6 / values);
            fflush(stdout);
        }
    sk_buf_free(&dictionary);
    return 0;
}
