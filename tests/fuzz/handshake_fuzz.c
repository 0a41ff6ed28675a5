/* What strangers and peers send on a link: bytes that should be message 1, message 2, or records.
 *
 * Keys are those of the cacophony vector for IK (see tests/unit/noise_test.c), so that its two messages are in the
 * corpus and mutations start from what is accepted. Past the handshake a stranger's bytes never open, so the input is
 * also sealed as a malicious peer would seal it, and its own framing must survive any cut. */
#include <sodium.h>
#include <stdlib.h>

#include "gossip/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char prologue[] = "John Galt";
static sk_noise_keypair client_key, server_key;
static uint8_t client_random[SK_NOISE_KEY];

static void must(bool holds)
{
    if (!holds) abort();
}

static void from_hex(uint8_t out[SK_NOISE_KEY], const char *hex)
{
    must(sodium_hex2bin(out, SK_NOISE_KEY, hex, strlen(hex), NULL, NULL, NULL) == 0);
}

static void setup(void)
{
    static bool done;
    if (done) return;
    must(sodium_init() >= 0);
    uint8_t secret[SK_NOISE_KEY];
    from_hex(secret, "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1");
    sk_noise_keypair_init(&client_key, secret);
    from_hex(secret, "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893");
    sk_noise_keypair_init(&server_key, secret);
    from_hex(client_random, "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a");
    done = true;
}

/* Memory of exactly the size that the contract asks for, so that the sanitizer sees one byte more. */
static void read_first(sk_bytes input)
{
    sk_noise_handshake server;
    uint8_t *out = malloc(input.len > SK_NOISE_OVERHEAD_1 ? input.len - SK_NOISE_OVERHEAD_1 : 0);
    sk_noise_responder_init(&server, &server_key, sk_bytes_str(prologue));
    sk_noise_handshake before = server;
    int got = sk_noise_read_1(&server, input, out);
    if (got < 0) must(memcmp(&server, &before, sizeof before) == 0);
    if (got >= 0) must((size_t)got + SK_NOISE_OVERHEAD_1 == input.len);
    free(out);
}

static void read_second(sk_bytes input)
{
    sk_noise_handshake client;
    static const char payload[] = "Ludwig von Mises";
    uint8_t first[SK_NOISE_OVERHEAD_1 + sizeof payload];
    uint8_t *out = malloc(input.len > SK_NOISE_OVERHEAD_2 ? input.len - SK_NOISE_OVERHEAD_2 : 0);
    sk_noise_initiator_init(&client, &client_key, server_key.public, sk_bytes_str(prologue));
    must(sk_noise_write_1(&client, client_random, sk_bytes_str(payload), first) > 0);
    sk_noise_handshake before = client;
    int got = sk_noise_read_2(&client, input, out);
    if (got < 0) must(memcmp(&client, &before, sizeof before) == 0);
    if (got >= 0) must((size_t)got + SK_NOISE_OVERHEAD_2 == input.len);
    free(out);
}

/* Runs a decoder to its end over `wire` in pieces of `step` bytes.
 * @return messages seen; the last result in *end, their bytes joined in `all` where it is not NULL. */
static size_t decode_all(sk_bytes wire, size_t step, size_t message_max, int *end, sk_buf *all)
{
    sk_noise_channel channel = {0};
    sk_frame_decoder decoder;
    size_t count = 0;
    sk_frame_decoder_init(&decoder, message_max, true);
    *end = SK_E_PARTIAL;
    for (size_t at = 0; at < wire.len && *end == SK_E_PARTIAL; at += step) {
        sk_bytes message, input = sk_bytes_of(wire.data + at, wire.len - at < step ? wire.len - at : step);
        while ((*end = sk_frame_decode(&decoder, &channel, &input, &message)) == SK_OK) {
            must(message.len <= message_max);
            if (all) sk_buf_bytes(all, message);
            count++;
        }
        must(decoder.record.cap <= 2 * (at + step) + 64);
        must(decoder.packed.cap <= 2 * (at + step) + 64);
        must(decoder.message.cap <= 2 * SK_FRAME_RATIO_MAX * (at + step) + 64);
    }
    sk_frame_decoder_free(&decoder);
    return count;
}

/* The input as plaintexts that a peer sealed: a byte of length (255: a full part), then so many bytes. */
static void sealed_records(sk_bytes input)
{
    sk_noise_channel channel = {0};
    sk_buf wire = {0}, whole = {0}, pieces = {0};
    static uint8_t plain[SK_NOISE_MESSAGE_MAX];
    for (size_t at = 0; at + 1 < input.len;) {
        size_t left = input.len - at - 1, len = input.data[at] < left ? input.data[at] : left;
        memset(plain, 0, sizeof plain);
        memcpy(plain, input.data + at + 1, len);
        size_t padded = input.data[at] == 255 ? SK_FRAME_FLAG + SK_FRAME_PART_MAX : len;
        int sealed = sk_noise_channel_seal(&channel, sk_bytes_of(plain, padded), plain);
        must(sealed > 0);
        must(sk_frame_put(&wire, sk_bytes_of(plain, (size_t)sealed)) == SK_OK);
        at += 1 + len;
    }
    int end_whole, end_pieces;
    size_t max = 2 * SK_FRAME_PART_MAX, step = 1 + (input.len ? input.data[0] : 0);
    size_t seen = decode_all(sk_buf_view(&wire), wire.len + 1, max, &end_whole, &whole);
    must(seen == decode_all(sk_buf_view(&wire), step, max, &end_pieces, &pieces));
    must(end_whole == end_pieces);
    must(sk_bytes_equal(sk_buf_view(&whole), sk_buf_view(&pieces)));
    sk_buf_free(&wire);
    sk_buf_free(&whole);
    sk_buf_free(&pieces);
}

/* The input as a message: what is encoded comes back, compressed or not, with a new key behind it or not. */
static void round_trip(sk_bytes input, bool compressed)
{
    sk_noise_channel channel = {0};
    sk_frame_encoder encoder = {.compress_min = compressed, .rekey = compressed};
    sk_buf wire = {0}, back = {0};
    int end;
    if (input.len > SK_FRAME_MESSAGE_MAX) return;
    must(sk_frame_encode(&encoder, &channel, input, &wire) == SK_OK);
    must(compressed || wire.len == sk_frame_encoded_len(input.len));
    must(decode_all(sk_buf_view(&wire), 1 + input.len / 2, input.len, &end, &back) == 1);
    must(end == SK_E_PARTIAL);
    must(sk_bytes_equal(input, sk_buf_view(&back)));
    sk_frame_encoder_free(&encoder);
    sk_buf_free(&wire);
    sk_buf_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    setup();
    sk_bytes input = sk_bytes_of(data, size);
    int end;
    read_first(input);
    read_second(input);
    decode_all(input, size + 1, SK_FRAME_MESSAGE_MAX, &end, NULL);
    decode_all(input, 1 + size / 3, SK_FRAME_MESSAGE_MAX, &end, NULL);
    sealed_records(input);
    round_trip(input, false);
    if (size % 16 == 0) round_trip(input, true); /* half a megabyte for a stream each time: not always */
    return 0;
}
