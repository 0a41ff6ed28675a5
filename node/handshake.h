/* How a link between two regions begins: who calls whom, then Noise IK, bytes in and bytes out.
 *
 *     initiator                                        responder
 *     preamble: "SKRY", version, cluster, features, both names
 *     Noise message 1                        ------>   names known? key of that region and no other?
 *                                            <------   0, Noise message 2 with its features (or 1, an error code)
 *     an empty sealed message                ------>   only now is the link up here
 *
 * The preamble is in clear: the responder must know which region calls before it can tell whether the key is right. So
 * it is the prologue of the handshake, followed by the cluster's whole name: whoever changes a byte of it breaks the
 * handshake. Each of these travels behind a length (sk_frame_put). Features are what a side can read beyond the least;
 * the other may use it then. Bits that a version does not know are for later ones.
 *
 * Invariants:
 *  1. A peer is known by its name and its static key together; neither alone is worth anything. What its preamble says by
 *     itself (another version or cluster, a name that is not known here) is answered at once; why it is refused under a
 *     name that is known, it learns once it has proved the key.
 *  2. Before the initiator's empty message has opened, a responder does nothing but answer (message 1 can be replayed).
 *  3. What a refusal says is not authenticated: it is shown to a person and decides nothing.
 *  4. A stranger makes us hold SK_HANDSHAKE_INPUT_MAX bytes at most. */
#ifndef SK_NODE_HANDSHAKE_H
#define SK_NODE_HANDSHAKE_H

#include "gossip/frame.h"
#include "node/config.h"

enum {
    SK_HANDSHAKE_PREAMBLE_MAX = 128, /* bytes */
    SK_HANDSHAKE_INPUT_MAX = 1024,   /* bytes that either side may have sent before the handshake is over */
    SK_HANDSHAKE_WHY_MAX = 320,
};

/* Bits of the features. */
enum { SK_FEATURE_COMPRESSED = 1 /* compressed records (gossip/frame.h) */ };

/* Who we are, and whom we know. Everything borrowed. */
typedef struct {
    const char *region, *cluster;
    const sk_noise_keypair *key;
    const sk_config_peer *peers; /* an empty region: there is none of that index */
    size_t peer_count;
    /* Who may connect: 0 for a peer, else the error to refuse with, by a region's name and the key that it has proved; with
     * a NULL key whether the name is known at all. May be NULL: those of `peers`. */
    int (*judge)(void *context, sk_bytes region, const uint8_t *key);
    /* Asked by a responder once the peer's key is right: 0, or the error to refuse with. May be NULL. */
    int (*admit)(void *context, size_t peer);
    void *context;
    uint8_t features; /* what this node can read; asked for when a handshake begins */
} sk_handshake_self;

typedef enum {
    SK_HANDSHAKE_PREAMBLE,
    SK_HANDSHAKE_MESSAGE_1,
    SK_HANDSHAKE_ANSWER,
    SK_HANDSHAKE_OVER,
} sk_handshake_step;

typedef struct {
    const sk_handshake_self *self;
    sk_handshake_step step; /* what is awaited */
    bool initiator;
    uint8_t features;                /* of the other side; believed once it is over */
    uint8_t own_features;            /* as they were told */
    size_t peer;                     /* index in self->peers; of a responder: as claimed, until it is over; SIZE_MAX */
    char region[SK_CONFIG_REGION_MAX + 1]; /* of a responder: as claimed */
    uint8_t key[SK_NOISE_KEY];       /* the other side's: of a responder once it is proved, else as known */
    sk_noise_handshake noise;
    char why[SK_HANDSHAKE_WHY_MAX]; /* after an error: what happened and what to do, for a person */
} sk_handshake;

/** Begins as the one who calls; appends what to send. `random`: 32 fresh random bytes. SK_OK, or SK_E_CRYPTO if the
 *  peer's configured key is not one. */
int sk_handshake_dial(sk_handshake *handshake, const sk_handshake_self *self, size_t peer,
                      const uint8_t random[SK_NOISE_KEY], sk_buf *out);
/** Begins as the one who is called. */
void sk_handshake_await(sk_handshake *handshake, const sk_handshake_self *self);

/** Takes what arrived (moves `input` past what it used) and appends what to send. `random` as above.
 *  SK_OK: the channel is made, and whatever is left of the input are its records. SK_E_PARTIAL: more is needed.
 *  Otherwise an error: send what was appended, then hang up. */
int sk_handshake_input(sk_handshake *handshake, sk_bytes *input, const uint8_t random[SK_NOISE_KEY], sk_buf *out,
                       sk_noise_channel *channel);

/** Forgets every secret. */
void sk_handshake_wipe(sk_handshake *handshake);

#endif
