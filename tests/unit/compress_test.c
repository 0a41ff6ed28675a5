/* gossip/compress: what goes in comes out, in order; anything else is refused within its bounds. */
#define ZSTD_STATIC_LINKING_ONLY
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "gossip/compress.h"

typedef struct {
    sk_compressor here;
    sk_decompressor there;
    uint8_t *packed, *opened; /* owned */
} pair;

enum { PIECE_MAX = 65024 };

static void pair_init(pair *p)
{
    *p = (pair){.packed = malloc(sk_compress_bound(PIECE_MAX)), .opened = malloc(PIECE_MAX + 1)};
}

static void pair_free(pair *p)
{
    sk_compressor_free(&p->here);
    sk_decompressor_free(&p->there);
    free(p->packed);
    free(p->opened);
}

static size_t pass(pair *p, sk_bytes plain)
{
    size_t len = sk_compress(&p->here, plain, p->packed);
    assert_true(len <= sk_compress_bound(plain.len));
    assert_int_equal(sk_decompress(&p->there, sk_bytes_of(p->packed, len), p->opened, plain.len), SK_OK);
    assert_memory_equal(p->opened, plain.data, plain.len);
    return len;
}

static void fill_random(uint8_t *at, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++) at[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
}

static void pieces_are_written_in_terms_of_those_before(void **state)
{
    (void)state;
    pair p;
    pair_init(&p);
    static const char text[] = "{\"name\":\"Olena\",\"city\":\"Tbilisi\",\"verified\":true,\"login_count\":17}";
    size_t first = pass(&p, sk_bytes_str(text)), second = pass(&p, sk_bytes_str(text));
    assert_true(second < first / 3);
    assert_true(second < 20);
    assert_int_equal(p.here.plain_bytes, 2 * strlen(text));
    assert_int_equal(p.here.packed_bytes, first + second);
    pair_free(&p);
}

static void any_length_and_content_passes(void **state)
{
    (void)state;
    static const size_t lens[] = {1, 2, 100, 4095, 65023, PIECE_MAX};
    pair p;
    uint8_t *data = malloc(PIECE_MAX);
    pair_init(&p);
    for (int round = 0; round < 8; round++)
        for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
            if (round % 2)
                memset(data, round, lens[i]);
            else
                fill_random(data, lens[i], (uint32_t)(round * 100 + i));
            pass(&p, sk_bytes_of(data, lens[i]));
        }
    free(data);
    pair_free(&p);
}

static void what_does_not_get_smaller_is_left_alone(void **state)
{
    (void)state;
    pair p;
    uint8_t data[500], same[500] = {0};
    uint32_t tried = 0;
    pair_init(&p);
    for (uint32_t i = 0; i < 10000; i++) {
        if (!sk_compress_wanted(&p.here)) continue;
        tried++;
        fill_random(data, sizeof data, i);
        pass(&p, sk_bytes_of(data, sizeof data));
    }
    assert_in_range(tried, 10, 30); /* after 1, 2, 4 … SK_COMPRESS_REST_MAX others */
    while (!sk_compress_wanted(&p.here)) tried++;
    pass(&p, sk_bytes_of(same, sizeof same)); /* and from the first that does, all are tried again */
    for (int i = 0; i < 10; i++) {
        assert_true(sk_compress_wanted(&p.here));
        pass(&p, sk_bytes_of(same, sizeof same));
    }
    pair_free(&p);
}

/* A new decompressor each time: after an error one is of no more use. */
static void refused(sk_bytes packed, size_t len)
{
    sk_decompressor d = {NULL};
    uint8_t *out = malloc(len + 1);
    assert_int_equal(sk_decompress(&d, packed, out, len), SK_E_MALFORMED);
    free(out);
    sk_decompressor_free(&d);
}

static void what_is_refused(void **state)
{
    (void)state;
    pair p;
    uint8_t zeros[1000] = {0};
    pair_init(&p);
    size_t len = sk_compress(&p.here, sk_bytes_of(zeros, sizeof zeros), p.packed);
    sk_bytes packed = sk_bytes_of(p.packed, len);
    refused(packed, 999);                                  /* it is more than was said */
    refused(packed, 1001);                                 /* it is less */
    refused(packed, 1);
    refused(sk_bytes_of(p.packed, len - 1), 1000);         /* cut */
    refused(sk_bytes_str("\x28\xb5\x2f\xfd\x20\x01\x09"), 1); /* a file's magic number */
    refused(sk_bytes_str("garbage that is no zstd"), 100);
    pair_free(&p);
}

static size_t frame(uint8_t *out, size_t room, sk_bytes plain, int window_log, ZSTD_EndDirective end)
{
    ZSTD_CCtx *stream = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(stream, ZSTD_c_format, ZSTD_f_zstd1_magicless);
    ZSTD_CCtx_setParameter(stream, ZSTD_c_windowLog, window_log);
    ZSTD_inBuffer from = {plain.data, plain.len, 0};
    ZSTD_outBuffer to = {out, room, 0};
    assert_int_equal(ZSTD_compressStream2(stream, &to, &from, end), 0);
    ZSTD_freeCCtx(stream);
    return to.pos;
}

static void streams_of_others_are_refused(void **state)
{
    (void)state;
    size_t large = 8 << 20;
    uint8_t *zeros = calloc(1, large), *packed = malloc(large);
    size_t len = frame(packed, large, sk_bytes_of(zeros, 1000), SK_COMPRESS_WINDOW_LOG, ZSTD_e_end);
    refused(sk_bytes_of(packed, len), 1000); /* it comes to an end */
    len = frame(packed, large, sk_bytes_of(zeros, 1000), 27, ZSTD_e_flush);
    refused(sk_bytes_of(packed, len), 1000); /* it wants 128 MiB to look back into */
    len = frame(packed, large, sk_bytes_of(zeros, large), SK_COMPRESS_WINDOW_LOG, ZSTD_e_flush);
    assert_true(len < 2000);
    refused(sk_bytes_of(packed, len), 1000); /* a bomb */
    refused(sk_bytes_of(packed, len), PIECE_MAX);
    free(zeros);
    free(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_written_in_terms_of_those_before),
        cmocka_unit_test(any_length_and_content_passes),
        cmocka_unit_test(what_does_not_get_smaller_is_left_alone),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(streams_of_others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
