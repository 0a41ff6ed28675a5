/* One connection between two nodes, and what the links keep of all: shared by link.c, link_member.c and wire.c only.
 *
 *   CONNECTING --connected--> HANDSHAKE --(responder)--> CONFIRM --its empty message--> UP
 *                                 '------(initiator)-----------------------------------^
 *   any --sk_wire_end--> LINGER (writes what is left, waits for the other end) --> CLOSED
 *
 * What is sent: messages are sealed into `filling`; when everything before has gone, that becomes `writing`, and goes to
 * libuv in pieces. How much the engine may put there (the window) follows from how fast it goes: about a second's worth,
 * so that a heartbeat is not long behind the rest on a slow link. replication.bytes_per_s holds the pieces back.
 *
 * Invariants: bytes that came before the handshake is over are at most SK_HANDSHAKE_INPUT_MAX. `channel` holds secrets
 * from CONFIRM or UP on and is wiped when the connection is freed. */
#ifndef SK_NODE_WIRE_H
#define SK_NODE_WIRE_H

#include "node/handshake.h"
#include "node/link.h"
#include "node/list.h"

#define SK_WIRE_STRANGER SIZE_MAX

enum { SK_LINK_TOLD_MAX = 16 };

typedef enum {
    SK_WIRE_CONNECTING,
    SK_WIRE_HANDSHAKE,
    SK_WIRE_CONFIRM,
    SK_WIRE_UP,
    SK_WIRE_LINGER,
    SK_WIRE_CLOSED
} sk_wire_state;

typedef struct {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    sk_links *links; /* borrowed */
    sk_list all, strangers;
    sk_wire_state state;
    bool initiator;            /* this node dialed */
    size_t peer;               /* index of the peer; SK_WIRE_STRANGER until the handshake says */
    sk_handshake *handshake;   /* owned; until it is over */
    sk_noise_channel channel;
    sk_frame_encoder encoder;
    uint8_t key[SK_NOISE_KEY]; /* that the peer has proved, from CONFIRM or UP on */
    sk_frame_decoder decoder;
    bool may_compress;         /* the peer reads it */
    sk_buf in;                 /* during the handshake */
    sk_buf filling, writing;   /* sealed records: waiting, and on their way */
    size_t written, piece;     /* of `writing`: what has gone, and what libuv has just now (0: nothing) */
    uint64_t piece_ms;         /* when it got that */
    uint64_t bytes_per_s;      /* that large pieces went with lately */
    uint64_t allowed, allowed_ms; /* bytes that replication.bytes_per_s leaves, as of when */
    uint64_t send_at_ms;       /* when it leaves more; 0: nothing waits for that */
    uint64_t rekeyed_ms;       /* when the key for sending was new */
    size_t queue_peak;         /* most bytes queued since the engine was last told that there is room */
    uint64_t deadline_ms;      /* 0: none */
    uint64_t heard_ms, up_ms;
    int doom;                  /* not 0: the engine or an operator gave it up; closed at the turn's end */
    char address[64];
} sk_wire;

enum { SK_LINK_PEERS = SK_MEMBERS_MAX - 1 };

typedef struct {
    const sk_config_peer *config; /* what is known of it */
    sk_wire *up, *dialing; /* borrowed */
    uv_getaddrinfo_t resolve;
    bool resolving, allowed;
    struct addrinfo *resolved, *next_resolved;      /* what the last name stands for; owned, by the first */
    size_t address, next_address;                   /* of the configured ones: being tried, and to try then */
    bool stale_resolve;                             /* what is being resolved is not its name */
    bool key_failed;                                /* a handshake has failed since it was dialed: see sk_link_other_key */
    uint64_t dial_at_ms, delay_ms;
    uint64_t refuse_until_ms;                       /* it broke the protocol: it is not let in again at once */
    uint32_t told[SK_LINK_TOLD_MAX], told_count;    /* failures that the log has: hashes, the last ones */
    uint32_t twin_signs;                            /* in a row: see sk_link_established */
    char status[SK_HANDSHAKE_WHY_MAX];              /* what went wrong last; empty while up */
    char refused[SK_HANDSHAKE_WHY_MAX];             /* why who said to be this peer was last refused; empty once up */
} sk_link_peer;

struct sk_links {
    uv_loop_t *loop;
    sk_replica *replica;
    const sk_config *config;
    sk_handshake_self handshake;
    void (*event)(void *self);
    void *self;
    uv_tcp_t listener;
    uv_timer_t timer;
    sk_link_peer *peers; /* owned; by the engine's number, SK_LINK_PEERS of them */
    size_t peer_count;   /* no number that is in use, or was, is as high */
    sk_config_peer known[SK_LINK_PEERS]; /* what handshakes need of each; an empty region: there is none */
    uint64_t keys_until_ms;              /* wall clock: when the next old key is void; UINT64_MAX: none */
    uint32_t clashes;                    /* told in the log */
    bool is_forgotten;                   /* likewise */
    bool follows;                        /* from here on changes are news */
    sk_list all, strangers;
    uint32_t stranger_count;
    bool started, stopping, paused, doomed, timer_stale;
    uint8_t read[64 * 1024];
};

/* -- wire.c -------------------------------------------------------------------------------------------------------- */

/** Connects to a peer. NULL when that failed at once. */
sk_wire *sk_wire_dial(sk_links *links, size_t peer, const struct sockaddr *address);
void sk_wire_accept(sk_links *links);
/** Seals a message into the queue; goes out with sk_wire_flush. */
int sk_wire_send(sk_wire *wire, sk_bytes message);
void sk_wire_flush(sk_wire *wire);
static inline size_t sk_wire_queued(const sk_wire *wire)
{
    return wire->filling.len + wire->writing.len - wire->written;
}
/** How many bytes may be queued before the engine waits. */
size_t sk_wire_window(const sk_wire *wire);
/** Starts or stops reading, as the links' pause asks. */
void sk_wire_update(sk_wire *wire);
/** Writes what is left, then closes. */
void sk_wire_end(sk_wire *wire);
/** Closes at once. */
void sk_wire_close(sk_wire *wire);

/* -- link_member.c ------------------------------------------------------------------------------------------------- */

/** As sk_handshake_self has it. */
int sk_link_judge(void *context, sk_bytes region, const uint8_t *key);
/** A handshake that we began failed: a peer that is being given a new key may still have the old one, or the other way
 *  round. */
void sk_link_other_key(sk_links *links, sk_link_peer *peer);
/** Closes what rests on a key whose time is over; and when (monotonic) there is something to do. */
void sk_link_expire_keys(sk_links *links);
uint64_t sk_link_keys_expire_ms(const sk_links *links);

/* -- link.c: what a connection reports, and what link_member.c asks ------------------------------------------------ */

/** The handshake is over and the peer proven. It may end the wire: look at its state afterwards. */
void sk_link_established(sk_wire *wire);
/** The connection failed or was closed by the other side, in whatever state; `why` is for a person. Whoever reports
 *  it then closes the wire. */
void sk_link_lost(sk_wire *wire, int error, const char *why);
/** It is to be closed at the turn's end. */
void sk_link_doom(sk_links *links, sk_wire *wire, int error);
void sk_link_dial_at_once(sk_links *links, sk_link_peer *peer);
void sk_link_forget_resolved(sk_link_peer *peer);
/** A connection was closed, begun or changed its deadline. */
void sk_link_reschedule(sk_links *links);

#endif
