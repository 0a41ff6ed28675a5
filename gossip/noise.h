/* Noise_IK_25519_ChaChaPoly_BLAKE2b: how two nodes prove who they are and then speak in secret.
 *
 *     <- s                         the initiator knows the responder's static key beforehand
 *     ...
 *     -> e, es, s, ss, payload     message 1
 *     <- e, ee, se, payload        message 2
 *
 * Source: Perrin, The Noise Protocol Framework, revision 34; the pattern is in its section 7.5, the rules of processing
 * in section 5. IK because a node is configured with its peers' keys: one round trip, and the initiator's key is hidden
 * from everybody but the responder. The primitives are libsodium's, the protocol is ours, and the tests hold it to the
 * public cacophony vectors.
 *
 * Nothing here does I/O, reads a clock, draws randomness or allocates: whoever calls brings 32 random bytes for each
 * ephemeral key, so that a test or the simulator can fix them. (Call sodium_init() once at start: libsodium then picks
 * its fast code; results are the same without.)
 *
 *     initiator: sk_noise_initiator_init -> sk_noise_write_1 -> sk_noise_read_2 -> sk_noise_split
 *     responder: sk_noise_responder_init -> sk_noise_read_1 -> sk_noise_write_2 -> sk_noise_split
 *
 * Invariants:
 * 1. A call that fails leaves the handshake or the channel as it was; whoever calls then hangs up and wipes.
 * 2. Calls out of the order above are programmer errors (asserted); nothing that a peer sends can cause one.
 * 3. A key of the handshake encrypts exactly one thing, so its nonce is always 0.
 * 4. A Diffie-Hellman result of all zeros (a public key of small order) is refused.
 * 5. Message 1 can be replayed by anybody who saw it. Between sk_noise_read_1 and the first record that opens on the
 *    channel, a responder may check the key against its allowlist and answer, and must do nothing else.
 * 6. Each direction of a channel counts its messages from 0 and takes a new key (REKEY(), section 4.2) after every
 *    SK_NOISE_REKEY_MESSAGES, which is at most 4 GiB; both sides count alike, so nothing about it is sent. The count never
 *    starts again, also when sk_noise_rekey brings a new key between.
 * 7. No secret outlives its use: locals, and the handshake after the split, are wiped. */
#ifndef SK_GOSSIP_NOISE_H
#define SK_GOSSIP_NOISE_H

#include "crdt/bytes.h"
#include "crdt/error.h"

/* All in bytes. */
enum {
    SK_NOISE_KEY = 32,  /* an X25519 key, public or secret; a ChaChaPoly key */
    SK_NOISE_HASH = 64, /* BLAKE2b */
    SK_NOISE_TAG = 16,  /* what an encryption adds */

    SK_NOISE_MESSAGE_MAX = 65535, /* any Noise message, handshake or transport */
    SK_NOISE_PLAINTEXT_MAX = SK_NOISE_MESSAGE_MAX - SK_NOISE_TAG,

    SK_NOISE_OVERHEAD_1 = SK_NOISE_KEY + (SK_NOISE_KEY + SK_NOISE_TAG) + SK_NOISE_TAG, /* message 1 over its payload */
    SK_NOISE_OVERHEAD_2 = SK_NOISE_KEY + SK_NOISE_TAG,                                 /* message 2 over its payload */
};

/** Messages in one direction under one key. */
#define SK_NOISE_REKEY_MESSAGES ((uint64_t)1 << 16)

typedef struct {
    uint8_t secret[SK_NOISE_KEY];
    uint8_t public[SK_NOISE_KEY];
} sk_noise_keypair;

typedef enum {
    SK_NOISE_SPENT = 0, /* split or wiped: nothing is left */
    SK_NOISE_WRITE_1,
    SK_NOISE_READ_1,
    SK_NOISE_WRITE_2,
    SK_NOISE_READ_2,
    SK_NOISE_SPLIT,
} sk_noise_step;

/** One handshake under way. Treat it as opaque. */
typedef struct {
    sk_noise_step step; /* what comes next */
    bool initiator;
    uint8_t chaining_key[SK_NOISE_HASH];    /* ck */
    uint8_t hash[SK_NOISE_HASH];            /* h: of all that both sides have said */
    sk_noise_keypair own_static;            /* s */
    sk_noise_keypair own_ephemeral;         /* e */
    uint8_t remote_static[SK_NOISE_KEY];    /* rs */
    uint8_t remote_ephemeral[SK_NOISE_KEY]; /* re */
} sk_noise_handshake;

/** One direction. Treat it as opaque. */
typedef struct {
    uint8_t key[SK_NOISE_KEY];
    uint64_t nonce; /* messages so far */
} sk_noise_cipher;

/** An encrypted link after the handshake. Treat it as opaque. */
typedef struct {
    sk_noise_cipher send, receive;
    uint8_t hash[SK_NOISE_HASH]; /* the handshake's: equal on both sides, new in each session; for channel binding */
} sk_noise_channel;

/** The key pair of a secret: 32 random bytes, or a stored secret key. X25519 clamps when it computes. */
void sk_noise_keypair_init(sk_noise_keypair *pair, const uint8_t secret[SK_NOISE_KEY]);

/** Begins as the side that speaks first, to the holder of `remote_static`. Both sides must give the same prologue. */
void sk_noise_initiator_init(sk_noise_handshake *handshake, const sk_noise_keypair *own_static,
                             const uint8_t remote_static[SK_NOISE_KEY], sk_bytes prologue);
/** Begins as the side that is spoken to. */
void sk_noise_responder_init(sk_noise_handshake *handshake, const sk_noise_keypair *own_static, sk_bytes prologue);

/** Message 1 with its payload (encrypted, but to a static key only, and replayable). `random`: 32 fresh random bytes,
 *  never used twice. `out` has room for payload.len + SK_NOISE_OVERHEAD_1 and does not overlap the payload.
 *  @return bytes written; SK_E_TOO_LARGE; SK_E_CRYPTO if the remote static key is not usable. */
int sk_noise_write_1(sk_noise_handshake *handshake, const uint8_t random[SK_NOISE_KEY], sk_bytes payload, uint8_t *out);

/** Reads message 1. `out` takes the payload: room for message.len - SK_NOISE_OVERHEAD_1 (0 if that is negative).
 *  Check sk_noise_remote_static() against the allowlist before anything else (invariant 5).
 *  @return bytes of payload; SK_E_MALFORMED (too short), SK_E_TOO_LARGE, SK_E_CRYPTO (not for us, another prologue, or
 *  tampered with: nobody can tell which). */
int sk_noise_read_1(sk_noise_handshake *handshake, sk_bytes message, uint8_t *out);

/** Message 2 with its payload; as sk_noise_write_1, with SK_NOISE_OVERHEAD_2. */
int sk_noise_write_2(sk_noise_handshake *handshake, const uint8_t random[SK_NOISE_KEY], sk_bytes payload, uint8_t *out);

/** Reads message 2; as sk_noise_read_1, with SK_NOISE_OVERHEAD_2. After it the responder is known to hold its key. */
int sk_noise_read_2(sk_noise_handshake *handshake, sk_bytes message, uint8_t *out);

/** The other side's static public key, SK_NOISE_KEY bytes; a responder knows it after sk_noise_read_1. Borrowed: holds
 *  until the handshake is split or wiped. */
const uint8_t *sk_noise_remote_static(const sk_noise_handshake *handshake);

/** Turns a finished handshake into a channel; wipes the handshake. */
void sk_noise_split(sk_noise_handshake *handshake, sk_noise_channel *channel);

/** Encrypts one message. `out` has room for plaintext.len + SK_NOISE_TAG and may be plaintext.data.
 *  @return bytes written; SK_E_TOO_LARGE above SK_NOISE_PLAINTEXT_MAX; SK_E_CRYPTO when the count is used up. */
int sk_noise_channel_seal(sk_noise_channel *channel, sk_bytes plaintext, uint8_t *out);

/** Decrypts one message; only the next one, in order, opens. `out` has room for ciphertext.len - SK_NOISE_TAG (0 if
 *  that is negative) and may be ciphertext.data; after a failure it holds nothing of use.
 *  @return bytes of plaintext; SK_E_MALFORMED (too short), SK_E_TOO_LARGE, SK_E_CRYPTO. */
int sk_noise_channel_open(sk_noise_channel *channel, sk_bytes ciphertext, uint8_t *out);

/** Takes a new key for one direction, beside those that its count brings: REKEY() of section 4.2. Both sides must do it
 *  behind the same message. */
void sk_noise_rekey(sk_noise_cipher *cipher);

/** Forgets every secret. Each holder of one of these calls its wipe when done, whatever happened. */
void sk_noise_handshake_wipe(sk_noise_handshake *handshake);
void sk_noise_channel_wipe(sk_noise_channel *channel);
void sk_noise_keypair_wipe(sk_noise_keypair *pair);

#endif
