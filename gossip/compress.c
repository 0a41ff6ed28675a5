/* The magic number is left out (ZSTD_f_zstd1_magicless): it is there to tell files apart, and without it there are no
 * skippable frames either. */
#define ZSTD_STATIC_LINKING_ONLY
#include "gossip/compress.h"

#include <stdlib.h>
#include <zstd.h>

enum { FRAME_HEADER = ZSTD_FRAMEHEADERSIZE_MAX, FLUSH = 3 };

static void set_parameters(ZSTD_CCtx *stream)
{
    static const struct {
        ZSTD_cParameter name;
        int value;
    } parameters[] = {
        {ZSTD_c_compressionLevel, SK_COMPRESS_LEVEL},     {ZSTD_c_windowLog, SK_COMPRESS_WINDOW_LOG},
        {ZSTD_c_format, ZSTD_f_zstd1_magicless},          {ZSTD_c_contentSizeFlag, 0},
        {ZSTD_c_checksumFlag, 0} /* records have tags */, {ZSTD_c_dictIDFlag, 0},
    };
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        size_t status = ZSTD_CCtx_setParameter(stream, parameters[i].name, parameters[i].value);
        sk_assert(!ZSTD_isError(status));
    }
}

size_t sk_compress_bound(size_t len) { return ZSTD_COMPRESSBOUND(len) + FRAME_HEADER + FLUSH; }

bool sk_compress_wanted(sk_compressor *compressor)
{
    if (compressor->rest == 0) return true;
    compressor->rest--;
    return false;
}

/* Less than a quarter saved is not worth the work at both ends. */
static void judge(sk_compressor *compressor, size_t plain, size_t packed)
{
    if (packed < plain - plain / 4) {
        compressor->next = 0;
        return;
    }
    compressor->next = compressor->next ? compressor->next * 2 : 1;
    if (compressor->next > SK_COMPRESS_REST_MAX) compressor->next = SK_COMPRESS_REST_MAX;
    compressor->rest = compressor->next;
}

size_t sk_compress(sk_compressor *compressor, sk_bytes plain, uint8_t *out)
{
    if (!compressor->stream) {
        compressor->stream = ZSTD_createCCtx();
        sk_assert(compressor->stream != NULL); /* as sk_alloc: without memory there is no going on */
        set_parameters(compressor->stream);
    }
    ZSTD_inBuffer from = {plain.data, plain.len, 0};
    ZSTD_outBuffer to = {out, sk_compress_bound(plain.len), 0};
    size_t left = ZSTD_compressStream2(compressor->stream, &to, &from, ZSTD_e_flush);
    sk_assert(left == 0 && from.pos == plain.len); /* there is room for the worst case */
    compressor->plain_bytes += plain.len;
    compressor->packed_bytes += to.pos;
    judge(compressor, plain.len, to.pos);
    return to.pos;
}

void sk_compressor_free(sk_compressor *compressor)
{
    ZSTD_freeCCtx(compressor->stream);
    *compressor = (sk_compressor){.stream = NULL};
}

int sk_decompress(sk_decompressor *decompressor, sk_bytes packed, uint8_t *out, size_t len)
{
    if (!decompressor->stream) {
        decompressor->stream = ZSTD_createDCtx();
        sk_assert(decompressor->stream != NULL);
        size_t status = ZSTD_DCtx_setParameter(decompressor->stream, ZSTD_d_format, ZSTD_f_zstd1_magicless);
        sk_assert(!ZSTD_isError(status));
        status = ZSTD_DCtx_setParameter(decompressor->stream, ZSTD_d_windowLogMax, SK_COMPRESS_WINDOW_LOG);
        sk_assert(!ZSTD_isError(status));
    }
    ZSTD_inBuffer from = {packed.data, packed.len, 0};
    ZSTD_outBuffer to = {out, len + 1, 0};
    while (from.pos < from.size) {
        size_t before = from.pos + to.pos;
        size_t status = ZSTD_decompressStream(decompressor->stream, &to, &from);
        if (ZSTD_isError(status) || status == 0) return SK_E_MALFORMED; /* 0: the stream ends, which it never does */
        if (to.pos > len || from.pos + to.pos == before) return SK_E_MALFORMED;
    }
    return to.pos == len ? SK_OK : SK_E_MALFORMED;
}

void sk_decompressor_free(sk_decompressor *decompressor)
{
    ZSTD_freeDCtx(decompressor->stream);
    decompressor->stream = NULL;
}
