/* The handshake reads like the pattern: one line for each token. Every step works on a copy of the handshake and puts
 * it in place only when all of it held; each function has one exit, and that wipes the copy. */
#include "gossip/noise.h"

#include <sodium.h>

#include "crdt/memory.h"

static const char protocol_name[] = "Noise_IK_25519_ChaChaPoly_BLAKE2b";

enum { HMAC_BLOCK = 128 }; /* BLOCKLEN of BLAKE2b */

_Static_assert(sizeof protocol_name - 1 <= SK_NOISE_HASH, "a longer name would have to be hashed, not padded");
_Static_assert(SK_NOISE_KEY == crypto_scalarmult_BYTES, "X25519 results");
_Static_assert(SK_NOISE_KEY == crypto_scalarmult_SCALARBYTES, "X25519 secrets");
_Static_assert(SK_NOISE_KEY == crypto_aead_chacha20poly1305_ietf_KEYBYTES, "ChaChaPoly keys");
_Static_assert(SK_NOISE_TAG == crypto_aead_chacha20poly1305_ietf_ABYTES, "ChaChaPoly tags");
_Static_assert(SK_NOISE_HASH == crypto_generichash_BYTES_MAX, "BLAKE2b in full length");

/* -- Hashing: section 4.3 ------------------------------------------------------------------------------------------ */

/* BLAKE2b of a, then b. */
static void hash_two(uint8_t out[SK_NOISE_HASH], sk_bytes a, sk_bytes b)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, SK_NOISE_HASH);
    crypto_generichash_update(&state, a.data, a.len);
    crypto_generichash_update(&state, b.data, b.len);
    crypto_generichash_final(&state, out, SK_NOISE_HASH);
    sodium_memzero(&state, sizeof state);
}

/* HMAC of RFC 2104 over a, then b. Noise wants this even though BLAKE2b has a keyed mode of its own. */
static void hmac(uint8_t out[SK_NOISE_HASH], const uint8_t key[SK_NOISE_HASH], sk_bytes a, sk_bytes b)
{
    uint8_t pad[HMAC_BLOCK], inner[SK_NOISE_HASH];
    crypto_generichash_state state;

    memset(pad, 0x36, sizeof pad);
    for (size_t i = 0; i < SK_NOISE_HASH; i++) pad[i] ^= key[i];
    crypto_generichash_init(&state, NULL, 0, SK_NOISE_HASH);
    crypto_generichash_update(&state, pad, sizeof pad);
    crypto_generichash_update(&state, a.data, a.len);
    crypto_generichash_update(&state, b.data, b.len);
    crypto_generichash_final(&state, inner, SK_NOISE_HASH);

    for (size_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36 ^ 0x5c;
    hash_two(out, sk_bytes_of(pad, sizeof pad), sk_bytes_of(inner, sizeof inner));
    sodium_memzero(pad, sizeof pad);
    sodium_memzero(inner, sizeof inner);
    sodium_memzero(&state, sizeof state);
}

/* HKDF with two outputs; `chaining_key` may be `first`. */
static void hkdf(uint8_t first[SK_NOISE_HASH], uint8_t second[SK_NOISE_HASH], const uint8_t chaining_key[SK_NOISE_HASH],
                 sk_bytes material)
{
    uint8_t temp_key[SK_NOISE_HASH];
    hmac(temp_key, chaining_key, material, SK_BYTES_NONE);
    hmac(first, temp_key, sk_bytes_of("\x01", 1), SK_BYTES_NONE);
    hmac(second, temp_key, sk_bytes_of(first, SK_NOISE_HASH), sk_bytes_of("\x02", 1));
    sodium_memzero(temp_key, sizeof temp_key);
}

/* -- The cipher: section 12.3 -------------------------------------------------------------------------------------- */

static void nonce_bytes(uint8_t out[crypto_aead_chacha20poly1305_ietf_NPUBBYTES], uint64_t nonce)
{
    memset(out, 0, 4);
    for (int i = 0; i < 8; i++) out[4 + i] = (uint8_t)(nonce >> (8 * i));
}

static void encrypt(const uint8_t key[SK_NOISE_KEY], uint64_t nonce, sk_bytes ad, sk_bytes plaintext, uint8_t *out)
{
    uint8_t n[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    nonce_bytes(n, nonce);
    crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plaintext.data, plaintext.len, ad.data, ad.len, NULL, n, key);
}

static bool decrypt(const uint8_t key[SK_NOISE_KEY], uint64_t nonce, sk_bytes ad, sk_bytes ciphertext, uint8_t *out)
{
    uint8_t n[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    nonce_bytes(n, nonce);
    return crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, ciphertext.data, ciphertext.len, ad.data, ad.len,
                                                     n, key) == 0;
}

/* -- The symmetric state: section 5.2 ------------------------------------------------------------------------------ */

static void mix_hash(sk_noise_handshake *state, sk_bytes data)
{
    hash_two(state->hash, sk_bytes_of(state->hash, SK_NOISE_HASH), data);
}

static void mix_key(sk_noise_handshake *state, uint8_t key[SK_NOISE_KEY], sk_bytes material)
{
    uint8_t second[SK_NOISE_HASH];
    hkdf(state->chaining_key, second, state->chaining_key, material);
    memcpy(key, second, SK_NOISE_KEY);
    sodium_memzero(second, sizeof second);
}

/* MixKey(DH(secret, public)). False when the result is all zeros: then the other side chose it, not our secret. */
static bool mix_dh(sk_noise_handshake *state, uint8_t key[SK_NOISE_KEY], const uint8_t secret[SK_NOISE_KEY],
                   const uint8_t public[SK_NOISE_KEY])
{
    uint8_t shared[SK_NOISE_KEY];
    bool good = crypto_scalarmult(shared, secret, public) == 0 && !sodium_is_zero(shared, sizeof shared);
    if (good) mix_key(state, key, sk_bytes_of(shared, sizeof shared));
    sodium_memzero(shared, sizeof shared);
    return good;
}

static void encrypt_and_hash(sk_noise_handshake *state, const uint8_t key[SK_NOISE_KEY], sk_bytes plaintext,
                             uint8_t *out)
{
    encrypt(key, 0, sk_bytes_of(state->hash, SK_NOISE_HASH), plaintext, out);
    mix_hash(state, sk_bytes_of(out, plaintext.len + SK_NOISE_TAG));
}

static bool decrypt_and_hash(sk_noise_handshake *state, const uint8_t key[SK_NOISE_KEY], sk_bytes ciphertext,
                             uint8_t *out)
{
    if (!decrypt(key, 0, sk_bytes_of(state->hash, SK_NOISE_HASH), ciphertext, out)) return false;
    mix_hash(state, ciphertext);
    return true;
}

/* -- The handshake: section 5.3 ------------------------------------------------------------------------------------ */

void sk_noise_keypair_init(sk_noise_keypair *pair, const uint8_t secret[SK_NOISE_KEY])
{
    memmove(pair->secret, secret, SK_NOISE_KEY);
    crypto_scalarmult_base(pair->public, pair->secret);
}

static void handshake_init(sk_noise_handshake *handshake, const sk_noise_keypair *own_static, sk_bytes prologue,
                           const uint8_t responder_static[SK_NOISE_KEY])
{
    memset(handshake, 0, sizeof *handshake);
    handshake->own_static = *own_static;
    memcpy(handshake->hash, protocol_name, sizeof protocol_name - 1);
    memcpy(handshake->chaining_key, handshake->hash, SK_NOISE_HASH);
    mix_hash(handshake, prologue);
    mix_hash(handshake, sk_bytes_of(responder_static, SK_NOISE_KEY)); /* <- s */
}

void sk_noise_initiator_init(sk_noise_handshake *handshake, const sk_noise_keypair *own_static,
                             const uint8_t remote_static[SK_NOISE_KEY], sk_bytes prologue)
{
    handshake_init(handshake, own_static, prologue, remote_static);
    memcpy(handshake->remote_static, remote_static, SK_NOISE_KEY);
    handshake->initiator = true;
    handshake->step = SK_NOISE_WRITE_1;
}

void sk_noise_responder_init(sk_noise_handshake *handshake, const sk_noise_keypair *own_static, sk_bytes prologue)
{
    handshake_init(handshake, own_static, prologue, own_static->public);
    handshake->step = SK_NOISE_READ_1;
}

/* The token `e` as it is sent. */
static void write_ephemeral(sk_noise_handshake *state, const uint8_t random[SK_NOISE_KEY], uint8_t *out)
{
    sk_noise_keypair_init(&state->own_ephemeral, random);
    memcpy(out, state->own_ephemeral.public, SK_NOISE_KEY);
    mix_hash(state, sk_bytes_of(out, SK_NOISE_KEY));
}

/* The token `e` as it arrives. */
static void read_ephemeral(sk_noise_handshake *state, const uint8_t *at)
{
    memcpy(state->remote_ephemeral, at, SK_NOISE_KEY);
    mix_hash(state, sk_bytes_of(at, SK_NOISE_KEY));
}

int sk_noise_write_1(sk_noise_handshake *handshake, const uint8_t random[SK_NOISE_KEY], sk_bytes payload, uint8_t *out)
{
    sk_assert(handshake->step == SK_NOISE_WRITE_1);
    if (payload.len > SK_NOISE_MESSAGE_MAX - SK_NOISE_OVERHEAD_1) return SK_E_TOO_LARGE;

    sk_noise_handshake next = *handshake;
    uint8_t key[SK_NOISE_KEY], *at = out;
    int result = SK_E_CRYPTO;
    /* e */
    write_ephemeral(&next, random, at);
    at += SK_NOISE_KEY;
    /* es */
    if (!mix_dh(&next, key, next.own_ephemeral.secret, next.remote_static)) goto out;
    /* s */
    encrypt_and_hash(&next, key, sk_bytes_of(next.own_static.public, SK_NOISE_KEY), at);
    at += SK_NOISE_KEY + SK_NOISE_TAG;
    /* ss */
    if (!mix_dh(&next, key, next.own_static.secret, next.remote_static)) goto out;
    /* payload */
    encrypt_and_hash(&next, key, payload, at);

    next.step = SK_NOISE_READ_2;
    *handshake = next;
    result = (int)(payload.len + SK_NOISE_OVERHEAD_1);
out:
    sodium_memzero(&next, sizeof next);
    sodium_memzero(key, sizeof key);
    return result;
}

int sk_noise_read_1(sk_noise_handshake *handshake, sk_bytes message, uint8_t *out)
{
    sk_assert(handshake->step == SK_NOISE_READ_1);
    if (message.len < SK_NOISE_OVERHEAD_1) return SK_E_MALFORMED;
    if (message.len > SK_NOISE_MESSAGE_MAX) return SK_E_TOO_LARGE;

    sk_noise_handshake next = *handshake;
    uint8_t key[SK_NOISE_KEY];
    const uint8_t *at = message.data, *end = message.data + message.len;
    int result = SK_E_CRYPTO;
    /* e */
    read_ephemeral(&next, at);
    at += SK_NOISE_KEY;
    /* es */
    if (!mix_dh(&next, key, next.own_static.secret, next.remote_ephemeral)) goto out;
    /* s */
    if (!decrypt_and_hash(&next, key, sk_bytes_of(at, SK_NOISE_KEY + SK_NOISE_TAG), next.remote_static)) goto out;
    at += SK_NOISE_KEY + SK_NOISE_TAG;
    /* ss */
    if (!mix_dh(&next, key, next.own_static.secret, next.remote_static)) goto out;
    /* payload */
    if (!decrypt_and_hash(&next, key, sk_bytes_of(at, (size_t)(end - at)), out)) goto out;

    next.step = SK_NOISE_WRITE_2;
    *handshake = next;
    result = (int)(message.len - SK_NOISE_OVERHEAD_1);
out:
    sodium_memzero(&next, sizeof next);
    sodium_memzero(key, sizeof key);
    return result;
}

int sk_noise_write_2(sk_noise_handshake *handshake, const uint8_t random[SK_NOISE_KEY], sk_bytes payload, uint8_t *out)
{
    sk_assert(handshake->step == SK_NOISE_WRITE_2);
    if (payload.len > SK_NOISE_MESSAGE_MAX - SK_NOISE_OVERHEAD_2) return SK_E_TOO_LARGE;

    sk_noise_handshake next = *handshake;
    uint8_t key[SK_NOISE_KEY];
    int result = SK_E_CRYPTO;
    /* e */
    write_ephemeral(&next, random, out);
    /* ee */
    if (!mix_dh(&next, key, next.own_ephemeral.secret, next.remote_ephemeral)) goto out;
    /* se */
    if (!mix_dh(&next, key, next.own_ephemeral.secret, next.remote_static)) goto out;
    /* payload */
    encrypt_and_hash(&next, key, payload, out + SK_NOISE_KEY);

    next.step = SK_NOISE_SPLIT;
    *handshake = next;
    result = (int)(payload.len + SK_NOISE_OVERHEAD_2);
out:
    sodium_memzero(&next, sizeof next);
    sodium_memzero(key, sizeof key);
    return result;
}

int sk_noise_read_2(sk_noise_handshake *handshake, sk_bytes message, uint8_t *out)
{
    sk_assert(handshake->step == SK_NOISE_READ_2);
    if (message.len < SK_NOISE_OVERHEAD_2) return SK_E_MALFORMED;
    if (message.len > SK_NOISE_MESSAGE_MAX) return SK_E_TOO_LARGE;

    sk_noise_handshake next = *handshake;
    uint8_t key[SK_NOISE_KEY];
    sk_bytes sealed = sk_bytes_of(message.data + SK_NOISE_KEY, message.len - SK_NOISE_KEY);
    int result = SK_E_CRYPTO;
    /* e */
    read_ephemeral(&next, message.data);
    /* ee */
    if (!mix_dh(&next, key, next.own_ephemeral.secret, next.remote_ephemeral)) goto out;
    /* se */
    if (!mix_dh(&next, key, next.own_static.secret, next.remote_ephemeral)) goto out;
    /* payload */
    if (!decrypt_and_hash(&next, key, sealed, out)) goto out;

    next.step = SK_NOISE_SPLIT;
    *handshake = next;
    result = (int)(message.len - SK_NOISE_OVERHEAD_2);
out:
    sodium_memzero(&next, sizeof next);
    sodium_memzero(key, sizeof key);
    return result;
}

const uint8_t *sk_noise_remote_static(const sk_noise_handshake *handshake)
{
    sk_assert(handshake->step != SK_NOISE_SPENT);
    sk_assert(handshake->step != SK_NOISE_READ_1);
    return handshake->remote_static;
}

void sk_noise_split(sk_noise_handshake *handshake, sk_noise_channel *channel)
{
    sk_assert(handshake->step == SK_NOISE_SPLIT);
    uint8_t first[SK_NOISE_HASH], second[SK_NOISE_HASH];
    hkdf(first, second, handshake->chaining_key, SK_BYTES_NONE);

    memset(channel, 0, sizeof *channel);
    memcpy(channel->send.key, handshake->initiator ? first : second, SK_NOISE_KEY);
    memcpy(channel->receive.key, handshake->initiator ? second : first, SK_NOISE_KEY);
    memcpy(channel->hash, handshake->hash, SK_NOISE_HASH);
    sodium_memzero(first, sizeof first);
    sodium_memzero(second, sizeof second);
    sk_noise_handshake_wipe(handshake);
}

/* -- The channel --------------------------------------------------------------------------------------------------- */

/* In its default form. */
void sk_noise_rekey(sk_noise_cipher *cipher)
{
    static const uint8_t zeros[SK_NOISE_KEY];
    uint8_t fresh[SK_NOISE_KEY + SK_NOISE_TAG];
    encrypt(cipher->key, UINT64_MAX, SK_BYTES_NONE, sk_bytes_of(zeros, sizeof zeros), fresh);
    memcpy(cipher->key, fresh, SK_NOISE_KEY);
    sodium_memzero(fresh, sizeof fresh);
}

static void cipher_advance(sk_noise_cipher *cipher)
{
    cipher->nonce++;
    if (cipher->nonce % SK_NOISE_REKEY_MESSAGES == 0) sk_noise_rekey(cipher);
}

int sk_noise_channel_seal(sk_noise_channel *channel, sk_bytes plaintext, uint8_t *out)
{
    sk_noise_cipher *cipher = &channel->send;
    if (plaintext.len > SK_NOISE_PLAINTEXT_MAX) return SK_E_TOO_LARGE;
    if (cipher->nonce == UINT64_MAX) return SK_E_CRYPTO; /* this one belongs to REKEY() */
    encrypt(cipher->key, cipher->nonce, SK_BYTES_NONE, plaintext, out);
    cipher_advance(cipher);
    return (int)(plaintext.len + SK_NOISE_TAG);
}

int sk_noise_channel_open(sk_noise_channel *channel, sk_bytes ciphertext, uint8_t *out)
{
    sk_noise_cipher *cipher = &channel->receive;
    if (ciphertext.len < SK_NOISE_TAG) return SK_E_MALFORMED;
    if (ciphertext.len > SK_NOISE_MESSAGE_MAX) return SK_E_TOO_LARGE;
    if (cipher->nonce == UINT64_MAX) return SK_E_CRYPTO;
    if (!decrypt(cipher->key, cipher->nonce, SK_BYTES_NONE, ciphertext, out)) return SK_E_CRYPTO;
    cipher_advance(cipher);
    return (int)(ciphertext.len - SK_NOISE_TAG);
}

void sk_noise_handshake_wipe(sk_noise_handshake *handshake) { sodium_memzero(handshake, sizeof *handshake); }

void sk_noise_channel_wipe(sk_noise_channel *channel) { sodium_memzero(channel, sizeof *channel); }

void sk_noise_keypair_wipe(sk_noise_keypair *pair) { sodium_memzero(pair, sizeof *pair); }
