/* The request parser: whatever the bytes, the commands do not depend on how they are cut, arguments lie within the
 * input (or within the parser's own buffer, for quoted ones), and what is consumed was there.
 *
 * The first byte of an input draws limits and cuts; the rest is the stream. */
#include <stdlib.h>

#include "node/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool within(sk_bytes arg, const uint8_t *start, size_t len)
{
    uintptr_t at = (uintptr_t)arg.data, from = (uintptr_t)start;
    return at >= from && at - from <= len && arg.len <= len - (at - from);
}

static void check_args(const sk_resp_parser *p, const sk_bytes *argv, size_t argc, const uint8_t *input, size_t len)
{
    sk_assert(argc > 0);
    for (size_t i = 0; i < argc; i++) {
        bool ours = p->unquoted.data && within(argv[i], p->unquoted.data, p->unquoted.cap);
        sk_assert(ours || within(argv[i], input, len));
    }
    sk_assert(p->argv_cap <= 2 * argc + 1024);
}

/* Parses the stream, `first` bytes first and then as `draw` says, from input that moves each time. What came of it is
 * appended to `told`. */
static void run(const uint8_t *stream, size_t size, uint8_t knobs, uint32_t draw, sk_buf *told)
{
    sk_resp_parser p;
    sk_resp_init(&p);
    p.limits.authenticated = knobs & 1;
    if (knobs & 2) p.limits = (sk_resp_limits){4, 32, 48, knobs & 1};
    size_t from = 0, arrived = draw ? 0 : size;
    int status;
    do {
        size_t used, argc, len = arrived - from;
        sk_bytes *argv;
        uint8_t *input = malloc(len ? len : 1); /* exactly, so that a read beyond it is seen */
        sk_assert(input != NULL);
        if (len) memcpy(input, stream + from, len);
        sk_bytes ahead[SK_RESP_PEEK];
        size_t ahead_argc = sk_resp_peek(input, len, ahead);
        bool whole = p.state == SK_RESP_START;
        for (size_t i = 0; i < ahead_argc; i++) sk_assert(within(ahead[i], input, len));
        status = sk_resp_parse(&p, input, len, &used, &argv, &argc);
        sk_resp_check(&p);
        sk_assert(used <= len);
        if (status == SK_OK) {
            check_args(&p, argv, argc, input, used);
            for (size_t i = 0; whole && i < ahead_argc && i < argc; i++) sk_assert(sk_bytes_equal(ahead[i], argv[i]));
            sk_buf_printf(told, "%zu:", argc);
            for (size_t i = 0; i < argc; i++) {
                sk_buf_printf(told, "%zu,", argv[i].len);
                sk_buf_bytes(told, argv[i]);
            }
        }
        from += used;
        free(input);
        if (status != SK_E_PARTIAL) continue;
        size_t wanted = sk_resp_wanted(&p, len - used);
        sk_assert(wanted >= 1);
        sk_assert(wanted <= SK_RESP_READ_BYTES || wanted <= len - used);
        if (arrived == size) break;
        draw = draw * 1664525 + 1013904223;
        size_t more = 1 + (draw >> 24) % ((draw >> 16 & 3) ? 7 : 97);
        arrived = size - arrived < more ? size : arrived + more;
    } while (status != SK_E_MALFORMED);
    sk_buf_printf(told, "%d %s", status, sk_resp_error(&p));
    if (status == SK_E_PARTIAL) sk_buf_printf(told, " %zu", from);
    sk_resp_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    sk_buf whole = {0}, cut = {0};
    run(data + 1, size - 1, data[0], 0, &whole);
    for (uint32_t draw = 1; draw <= 3; draw++) {
        sk_buf_reset(&cut);
        run(data + 1, size - 1, data[0], draw * 2654435761u + data[0], &cut);
        sk_assert(sk_bytes_equal(sk_buf_view(&whole), sk_buf_view(&cut)));
    }
    sk_buf_free(&whole);
    sk_buf_free(&cut);
    return 0;
}
