/* gossip/frame: cut anywhere, refused early, bounded always. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "gossip/frame.h"

/* Two ends of one link; framing does not care where their keys came from. */
typedef struct {
    sk_noise_channel here, there;
    sk_frame_encoder encoder; /* here */
    sk_frame_decoder decoder; /* there */
    sk_buf wire;
} wire_link;

static void link_init(wire_link *l, size_t message_max)
{
    memset(l, 0, sizeof *l);
    memset(l->here.send.key, 1, SK_NOISE_KEY);
    memset(l->there.receive.key, 1, SK_NOISE_KEY);
    sk_frame_decoder_init(&l->decoder, message_max, false);
}

static void link_free(wire_link *l)
{
    sk_frame_encoder_free(&l->encoder);
    sk_frame_decoder_free(&l->decoder);
    sk_buf_free(&l->wire);
}

static void link_init_compressed(wire_link *l, size_t message_max)
{
    link_init(l, message_max);
    l->decoder.compressed = true;
    l->encoder.compress_min = 1;
}

static int decode(wire_link *l, sk_bytes *input, sk_bytes *message)
{
    return sk_frame_decode(&l->decoder, &l->there, input, message);
}

static uint8_t *pattern(size_t len)
{
    uint8_t *data = malloc(len + 1);
    for (size_t i = 0; i < len; i++) data[i] = (uint8_t)(i * 31 + i / 251);
    return data;
}

/* Puts one record of any plaintext on the wire, as a peer with the right key and bad intent could. */
static void put_record(wire_link *l, uint8_t flag, size_t part)
{
    uint8_t *plain = pattern(1 + part + SK_NOISE_TAG);
    plain[0] = flag;
    int len = sk_noise_channel_seal(&l->here, sk_bytes_of(plain, 1 + part), plain);
    assert_int_equal(sk_frame_put(&l->wire, sk_bytes_of(plain, (size_t)len)), SK_OK);
    free(plain);
}

static const size_t lens[] = {0,
                              1,
                              2,
                              100,
                              SK_FRAME_PART_MAX - 1,
                              SK_FRAME_PART_MAX,
                              SK_FRAME_PART_MAX + 1,
                              2 * SK_FRAME_PART_MAX,
                              2 * SK_FRAME_PART_MAX + 1,
                              SK_FRAME_MESSAGE_MAX};

static void test_round_trip(void **state)
{
    (void)state;
    wire_link l;
    link_init(&l, SK_FRAME_MESSAGE_MAX);
    uint8_t *data = pattern(SK_FRAME_MESSAGE_MAX);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        size_t before = l.wire.len;
        assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_of(lens[i] ? data : NULL, lens[i]), &l.wire), SK_OK);
        assert_int_equal(l.wire.len - before, sk_frame_encoded_len(lens[i]));
    }
    assert_int_equal(sk_frame_encoded_len(100), 100 + 2 + 1 + 16);
    assert_int_equal(sk_frame_encoded_len(SK_FRAME_PART_MAX), SK_FRAME_PART_MAX + SK_FRAME_OVERHEAD);
    assert_int_equal(sk_frame_encoded_len(SK_FRAME_PART_MAX + 1), SK_FRAME_PART_MAX + 1 + 2 * SK_FRAME_OVERHEAD);

    sk_bytes input = sk_buf_view(&l.wire), message;
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        assert_int_equal(decode(&l, &input, &message), SK_OK);
        assert_true(sk_bytes_equal(message, sk_bytes_of(data, lens[i])));
    }
    assert_int_equal(decode(&l, &input, &message), SK_E_PARTIAL);
    assert_int_equal(input.len, 0);
    free(data);
    link_free(&l);
}

/* One large message is not remembered in memory. */
static void test_large_leaves_nothing(void **state)
{
    (void)state;
    wire_link l;
    link_init(&l, SK_FRAME_MESSAGE_MAX);
    uint8_t *data = pattern(SK_FRAME_MESSAGE_MAX);
    static const size_t sizes[] = {SK_FRAME_MESSAGE_MAX, 100};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_of(data, sizes[i]), &l.wire), SK_OK);
    sk_bytes input = sk_buf_view(&l.wire), message;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(decode(&l, &input, &message), SK_OK);
        assert_true(sk_bytes_equal(message, sk_bytes_of(data, sizes[i])));
    }
    assert_true(l.decoder.message.cap <= 4 * SK_MESSAGE_MAX);
    free(data);
    link_free(&l);
}

/* Three small messages, cut in two at every byte, and byte by byte; each piece in memory of exactly its size. */
static void test_cut_everywhere(void **state)
{
    (void)state;
    static const char *const texts[] = {"first", "", "the third message"};
    size_t total = 0;
    for (size_t i = 0; i < 3; i++) total += sk_frame_encoded_len(strlen(texts[i]));
    for (size_t cut = 0; cut <= total + 1; cut++) { /* total + 1 stands for: one byte at a time */
        wire_link l;
        link_init(&l, 64);
        for (size_t i = 0; i < 3; i++) assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_str(texts[i]), &l.wire), 0);
        size_t at = 0, seen = 0;
        while (at < total) {
            size_t len = cut > total ? 1 : at == 0 && cut > 0 ? cut : total - at;
            uint8_t *piece = malloc(len);
            memcpy(piece, l.wire.data + at, len);
            sk_bytes input = sk_bytes_of(piece, len), message;
            int result;
            while ((result = decode(&l, &input, &message)) == SK_OK) {
                assert_true(seen < 3);
                assert_true(sk_bytes_equal(message, sk_bytes_str(texts[seen])));
                seen++;
            }
            assert_int_equal(result, SK_E_PARTIAL);
            assert_int_equal(input.len, 0);
            free(piece);
            at += len;
        }
        assert_int_equal(seen, 3);
        link_free(&l);
    }
}

/* A message of several records in pieces that fit no border. */
static void test_cut_large(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 1000, 65535, 65537, 65538, 200000};
    size_t len = 3 * SK_FRAME_PART_MAX + 10;
    uint8_t *data = pattern(len);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        wire_link l;
        link_init(&l, len);
        for (int n = 0; n < 2; n++) assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_of(data, len), &l.wire), SK_OK);
        int seen = 0;
        for (size_t at = 0; at < l.wire.len; at += steps[i]) {
            sk_bytes message, input = sk_bytes_of(l.wire.data + at, l.wire.len - at);
            if (input.len > steps[i]) input.len = steps[i];
            int result;
            while ((result = decode(&l, &input, &message)) == SK_OK) {
                assert_true(sk_bytes_equal(message, sk_bytes_of(data, len)));
                seen++;
            }
            assert_int_equal(result, SK_E_PARTIAL);
            assert_true(l.decoder.record.len <= SK_FRAME_RECORD_MAX);
        }
        assert_int_equal(seen, 2);
        link_free(&l);
    }
    free(data);
}

/* -- What is refused ----------------------------------------------------------------------------------------------- */

static void refused(wire_link *l, int error)
{
    sk_bytes message, input = sk_buf_view(&l->wire);
    assert_int_equal(decode(l, &input, &message), error);
    /* It stays refused, whatever comes then. */
    input = sk_buf_view(&l->wire);
    assert_int_equal(decode(l, &input, &message), error);
    link_free(l);
}

static void test_too_large(void **state)
{
    (void)state;
    wire_link l;
    link_init(&l, 100);
    put_record(&l, 0, 101);
    l.wire.len = SK_FRAME_HEADER; /* the length alone is enough */
    refused(&l, SK_E_TOO_LARGE);

    link_init(&l, 100);
    sk_bytes message, input;
    put_record(&l, 0, 101);
    input = sk_bytes_of(l.wire.data, 1); /* and so it is when the length itself comes in halves */
    assert_int_equal(decode(&l, &input, &message), SK_E_PARTIAL);
    input = sk_bytes_of(l.wire.data + 1, 1);
    assert_int_equal(decode(&l, &input, &message), SK_E_TOO_LARGE);
    link_free(&l);

    link_init(&l, SK_FRAME_PART_MAX + 100);
    put_record(&l, 1, SK_FRAME_PART_MAX);
    put_record(&l, 0, 101);
    refused(&l, SK_E_TOO_LARGE);

    link_init(&l, SK_FRAME_PART_MAX + 100);
    put_record(&l, 1, SK_FRAME_PART_MAX);
    put_record(&l, 0, 100);
    input = sk_buf_view(&l.wire);
    assert_int_equal(decode(&l, &input, &message), SK_OK);
    assert_int_equal(message.len, SK_FRAME_PART_MAX + 100);
    link_free(&l);

    link_init(&l, 0);
    put_record(&l, 0, 1);
    refused(&l, SK_E_TOO_LARGE);
}

static void test_malformed(void **state)
{
    (void)state;
    wire_link l;
    for (uint8_t len = 0; len < SK_FRAME_FLAG + SK_NOISE_TAG; len++) {
        link_init(&l, 100);
        sk_buf_append(&l.wire, (uint8_t[]){0, len}, 2);
        refused(&l, SK_E_MALFORMED);
    }
    struct {
        uint8_t first_flag;
        size_t first_part;
        uint8_t second_flag;
        size_t second_part;
    } cases[] = {
        {8, 5, 0, 5},                     /* an unknown flag */
        {0x81, SK_FRAME_PART_MAX, 0, 5},  /* another */
        {1, 0, 0, 5},                     /* a first part that is empty */
        {1, SK_FRAME_PART_MAX - 1, 0, 5}, /* or short */
        {1, SK_FRAME_PART_MAX, 1, 7},     /* so is a second */
        {1, SK_FRAME_PART_MAX, 0, 0},     /* a last part that is empty */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        link_init(&l, SK_FRAME_MESSAGE_MAX);
        put_record(&l, cases[i].first_flag, cases[i].first_part);
        put_record(&l, cases[i].second_flag, cases[i].second_part);
        refused(&l, SK_E_MALFORMED);
    }
}

/* -- compressed parts ---------------------------------------------------------------------------------------------- */

/* Puts one compressed record: the lengths as given, then `len` bytes. */
static void put_packed(wire_link *l, uint8_t flag, size_t plain_len, size_t packed_len, const uint8_t *bytes, size_t len)
{
    uint8_t plain[SK_NOISE_MESSAGE_MAX] = {flag, (uint8_t)(plain_len >> 8), (uint8_t)plain_len,
                                           (uint8_t)(packed_len >> 8), (uint8_t)packed_len};
    memcpy(plain + 5, bytes, len);
    int sealed = sk_noise_channel_seal(&l->here, sk_bytes_of(plain, 5 + len), plain);
    assert_int_equal(sk_frame_put(&l->wire, sk_bytes_of(plain, (size_t)sealed)), SK_OK);
}

static void test_compressed_round_trip(void **state)
{
    (void)state;
    wire_link l;
    link_init_compressed(&l, SK_FRAME_MESSAGE_MAX);
    l.encoder.compress_min = 100;
    size_t last = sizeof lens / sizeof *lens;
    uint8_t *data = pattern(SK_FRAME_MESSAGE_MAX), *zeros = calloc(1, SK_FRAME_MESSAGE_MAX);
    for (int round = 0; round < 2; round++) {
        l.encoder.compressor.rest = 0;
        for (size_t i = 0; i < last; i++) {
            const uint8_t *from = round ? zeros : data;
            size_t before = l.wire.len;
            assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_of(from, lens[i]), &l.wire), SK_OK);
            if (lens[i] < 100) assert_int_equal(l.wire.len - before, sk_frame_encoded_len(lens[i]));
            if (round) assert_true((l.wire.len - before) * SK_FRAME_RATIO_MAX >= lens[i]); /* filled up */
            if (round && lens[i] > 1000) assert_in_range(l.wire.len - before, 1, lens[i] / 40);
        }
    }
    sk_bytes input = sk_buf_view(&l.wire), message;
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < last; i++) {
            assert_int_equal(decode(&l, &input, &message), SK_OK);
            assert_true(sk_bytes_equal(message, sk_bytes_of(round ? zeros : data, lens[i])));
        }
    assert_int_equal(decode(&l, &input, &message), SK_E_PARTIAL);
    free(data);
    free(zeros);
    link_free(&l);
}

/* What compression makes larger still fits: into records, and into a decoder with no room to spare. */
static void test_incompressible(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 100, SK_FRAME_PART_MAX, SK_FRAME_PART_MAX + 1, 3 * SK_FRAME_PART_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        wire_link l;
        uint8_t *data = malloc(sizes[i]);
        randombytes_buf(data, sizes[i]);
        link_init_compressed(&l, sizes[i]);
            for (int n = 0; n < 3; n++)
            assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_of(data, sizes[i]), &l.wire), SK_OK);
        sk_bytes input = sk_buf_view(&l.wire), message;
        for (int n = 0; n < 3; n++) {
            assert_int_equal(decode(&l, &input, &message), SK_OK);
            assert_true(sk_bytes_equal(message, sk_bytes_of(data, sizes[i])));
        }
        free(data);
        link_free(&l);
    }
}

static void test_not_asked_for(void **state)
{
    (void)state;
    wire_link l;
    link_init_compressed(&l, 1000);
    l.decoder.compressed = false;
    assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_str("compressed"), &l.wire), SK_OK);
    refused(&l, SK_E_PROTOCOL);
}

static void test_liars(void **state)
{
    (void)state;
    wire_link l;
    enum { LEN = 640 };
    uint8_t zeros[LEN] = {0}, packed[LEN + 100] = {0};
    sk_compressor compressor = {.stream = NULL};
    size_t len = sk_compress(&compressor, sk_bytes_of(zeros, LEN), packed);
    sk_compressor_free(&compressor);
    size_t padded = len < LEN / SK_FRAME_RATIO_MAX ? LEN / SK_FRAME_RATIO_MAX : len;
    struct {
        size_t plain_len, packed_len, len;
        int error;
    } cases[] = {
        {LEN, len, padded, SK_OK},
        {LEN - 1, len, padded, SK_E_MALFORMED},                       /* more than was said */
        {LEN + 1, len, padded + (LEN % 64 == 0 && padded > len), SK_E_MALFORMED}, /* less */
        {LEN, len, padded + 1, SK_E_MALFORMED},                       /* filled up too far */
        {LEN, len, len - 1, SK_E_MALFORMED},                          /* cut */
        {0, len, len, SK_E_MALFORMED},                                /* nothing */
        {LEN, 0, LEN / SK_FRAME_RATIO_MAX, SK_E_MALFORMED},
        {SK_FRAME_PART_MAX + 1, len, 1017, SK_E_MALFORMED},           /* more than a part may have */
        {SK_FRAME_PART_MAX, len, len, SK_E_MALFORMED},                /* out of proportion */
        {2001, len, 32, SK_E_TOO_LARGE},                              /* more than the decoder takes */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t body[2000] = {0};
        sk_bytes message;
        memcpy(body, packed, len);
        link_init_compressed(&l, 2000);
        put_packed(&l, 2, cases[i].plain_len, cases[i].packed_len, body, cases[i].len);
        if (cases[i].error) {
            refused(&l, cases[i].error);
            continue;
        }
        sk_bytes input = sk_buf_view(&l.wire);
        assert_int_equal(decode(&l, &input, &message), SK_OK);
        assert_true(sk_bytes_equal(message, sk_bytes_of(zeros, LEN)));
        link_free(&l);
    }
    uint8_t marked[2000] = {0};
    memcpy(marked, packed, len);
    marked[31] = 1; /* filled up with something */
    link_init_compressed(&l, 2000);
    put_packed(&l, 2, 2000, len, marked, 32);
    refused(&l, SK_E_MALFORMED);
    for (size_t cut = 0; cut <= SK_FRAME_PACKED; cut++) { /* not even the lengths */
        link_init_compressed(&l, 2000);
        put_record(&l, 2, cut);
        refused(&l, SK_E_MALFORMED);
    }
}

/* -- new keys ------------------------------------------------------------------------------------------------------ */

static void test_rekey(void **state)
{
    (void)state;
    wire_link l;
    link_init(&l, SK_FRAME_MESSAGE_MAX);
    size_t len = SK_FRAME_PART_MAX + 5;
    uint8_t *data = pattern(len), before[SK_NOISE_KEY];
    for (int i = 0; i < 6; i++) {
        l.encoder.rekey = i % 2;
        memcpy(before, l.here.send.key, sizeof before);
        assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_of(data, i == 3 ? len : 7), &l.wire), SK_OK);
        assert_int_equal(memcmp(before, l.here.send.key, sizeof before) != 0, i % 2);
        assert_false(l.encoder.rekey);
    }
    assert_int_equal(l.encoder.rekeys, 3);
    sk_bytes input = sk_buf_view(&l.wire), message;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(decode(&l, &input, &message), SK_OK);
        assert_true(sk_bytes_equal(message, sk_bytes_of(data, i == 3 ? len : 7)));
    }
    assert_memory_equal(l.here.send.key, l.there.receive.key, SK_NOISE_KEY);
    assert_int_equal(l.here.send.nonce, l.there.receive.nonce); /* the count goes on */
    assert_int_equal(l.here.send.nonce, 7);
    free(data);
    link_free(&l);
}

static void test_tampering(void **state)
{
    (void)state;
    for (size_t i = SK_FRAME_HEADER; i < sk_frame_encoded_len(9); i++) {
        wire_link l;
        link_init(&l, 100);
        assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_str("a message"), &l.wire), SK_OK);
        l.wire.data[i] ^= 1;
        refused(&l, SK_E_CRYPTO);
    }
    /* Records swapped, repeated, left out. */
    size_t len = sk_frame_encoded_len(3);
    for (int wrong = 0; wrong < 3; wrong++) {
        wire_link l;
        link_init(&l, 100);
        assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_str("one"), &l.wire), SK_OK);
        assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_str("two"), &l.wire), SK_OK);
        uint8_t first[64];
        memcpy(first, l.wire.data, len);
        if (wrong == 0) {
            memcpy(l.wire.data, l.wire.data + len, len);
            memcpy(l.wire.data + len, first, len);
        } else if (wrong == 1) {
            memcpy(l.wire.data + len, first, len);
        } else {
            sk_buf_consume(&l.wire, len);
        }
        sk_bytes message, input = sk_buf_view(&l.wire);
        if (wrong == 1) assert_int_equal(decode(&l, &input, &message), SK_OK);
        assert_int_equal(decode(&l, &input, &message), SK_E_CRYPTO);
        link_free(&l);
    }
}

/* Memory follows what came, not what was announced. */
static void test_memory_bounded(void **state)
{
    (void)state;
    wire_link l;
    link_init(&l, SK_FRAME_MESSAGE_MAX);
    uint8_t announced[] = {0xff, 0xff, 1, 2, 3};
    sk_bytes message, input = sk_bytes_of(announced, sizeof announced);
    assert_int_equal(decode(&l, &input, &message), SK_E_PARTIAL);
    assert_true(l.decoder.record.cap <= 64);
    assert_int_equal(l.decoder.message.cap, 0);
    uint8_t some[1000] = {0};
    for (int i = 0; i < 60; i++) {
        input = sk_bytes_of(some, sizeof some);
        assert_int_equal(decode(&l, &input, &message), SK_E_PARTIAL);
        assert_true(l.decoder.record.cap <= 2 * l.decoder.record.len || l.decoder.record.cap <= 64);
    }
    assert_int_equal(l.decoder.message.cap, 0);
    link_free(&l);
}

static void test_encode_refusals(void **state)
{
    (void)state;
    wire_link l;
    link_init(&l, 100);
    uint8_t *data = pattern(SK_FRAME_MESSAGE_MAX + 1);
    sk_noise_channel before = l.here;
    assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_of(data, SK_FRAME_MESSAGE_MAX + 1), &l.wire), SK_E_TOO_LARGE);
    l.wire.max = sk_frame_encoded_len(100) - 1;
    assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_of(data, 100), &l.wire), SK_E_MEMORY);
    assert_int_equal(sk_frame_put(&l.wire, sk_bytes_of(data, 100)), SK_E_MEMORY);
    assert_memory_equal(&l.here, &before, sizeof before);
    assert_int_equal(l.wire.len, 0);
    sk_buf_reset(&l.wire);
    l.wire.max = 0;
    assert_int_equal(sk_frame_put(&l.wire, sk_bytes_of(data, SK_NOISE_MESSAGE_MAX + 1)), SK_E_TOO_LARGE);
    /* The count runs out at the second record: the first is taken back with it. */
    l.here.send.nonce = UINT64_MAX - 1;
    before = l.here;
    assert_int_equal(sk_frame_encode(&l.encoder, &l.here, sk_bytes_of(data, SK_FRAME_PART_MAX + 1), &l.wire), SK_E_CRYPTO);
    assert_memory_equal(&l.here, &before, sizeof before);
    assert_int_equal(l.wire.len, 0);
    free(data);
    link_free(&l);
}

static void test_take_and_put(void **state)
{
    (void)state;
    sk_buf wire = {0};
    sk_bytes body;
    assert_int_equal(sk_frame_put(&wire, sk_bytes_str("hello")), SK_OK);
    assert_int_equal(sk_frame_put(&wire, SK_BYTES_NONE), SK_OK);
    for (size_t len = 0; len < 7; len++) {
        assert_int_equal(sk_frame_take(sk_bytes_of(wire.data, len), 5, &body), SK_E_PARTIAL);
    }
    assert_int_equal(sk_frame_take(sk_bytes_of(wire.data, 2), 4, &body), SK_E_TOO_LARGE);
    assert_int_equal(sk_frame_take(sk_buf_view(&wire), 5, &body), SK_OK);
    assert_true(sk_bytes_equal(body, sk_bytes_str("hello")));
    sk_buf_consume(&wire, SK_FRAME_HEADER + body.len);
    assert_int_equal(sk_frame_take(sk_buf_view(&wire), 5, &body), SK_OK);
    assert_int_equal(body.len, 0);
    sk_buf_free(&wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_cut_large),      cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_malformed),      cmocka_unit_test(test_tampering),
        cmocka_unit_test(test_memory_bounded), cmocka_unit_test(test_encode_refusals),
        cmocka_unit_test(test_take_and_put),   cmocka_unit_test(test_compressed_round_trip),
        cmocka_unit_test(test_incompressible), cmocka_unit_test(test_not_asked_for),
        cmocka_unit_test(test_liars),          cmocka_unit_test(test_rekey),
        cmocka_unit_test(test_large_leaves_nothing),
    };
    if (sodium_init() < 0) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
