/* A client's session: what the node remembers of a connection, without the connection itself. */
#ifndef SK_NODE_CLIENT_H
#define SK_NODE_CLIENT_H

#include "crdt/vv.h"
#include "node/resp.h"
#include "node/watch.h"

typedef struct sk_replica sk_replica;

/* A command queued by MULTI. */
typedef struct {
    sk_bytes *argv; /* owned; the arguments follow in the same piece of memory */
    size_t argc;
} sk_queued;

typedef enum {
    SK_BLOCK_NONE,
    SK_BLOCK_WAIT,
    SK_BLOCK_AFTER,
    SK_BLOCK_PASSWORD, /* no reply is owed: once the password is checked, the same request is executed again */
    SK_BLOCK_FOLD,     /* likewise, once the rows that it is about are in place (node/wanted.h): `unblocked` gets no reply */
} sk_block_kind;

struct sk_client {
    uint64_t id;
    sk_replica *replica; /* borrowed */
    sk_client *next, *previous; /* the replica's list */
    char address[64], local_address[64]; /* "127.0.0.1:5000" */
    sk_buf name, library_name, library_version;
    uint64_t connected_ms, active_ms; /* wall clock */
    const struct sk_command *last_command; /* static; NULL: none yet */
    int proto;                        /* 2 or 3 */
    bool authenticated;
    bool close_after_reply;
    bool no_evict, no_touch;

    bool in_multi, multi_failed;
    sk_queued *queue; /* owned */
    size_t queue_count, queue_bytes; /* bytes: of all that it takes */
    unsigned queue_flags;            /* all that the queued commands have */
    sk_watched *watched; /* owned; a list */
    size_t watched_count, watched_bytes;
    bool watch_broken; /* a watched key changed */

    sk_dot last_write;  /* seq 0: none yet */
    uint64_t hold;      /* the batch that the replies given since it was last zeroed rest on; 0: none */

    sk_block_kind block;      /* the last command waits: its reply comes later, through `unblocked` */
    uint64_t block_until_ms;  /* monotonic; UINT64_MAX: for ever */
    uint32_t block_regions;   /* WAIT */
    sk_vv block_vv;           /* SESSION AFTER */
    sk_buf block_key;         /* SK_BLOCK_FOLD: that is waited for… */
    bool block_all;           /* … or it is all of them */
    /* The blocked command's reply is appended here by the replica, and the owner told. Set by the owner. */
    void (*unblocked)(void *owner, sk_client *client, sk_bytes reply);
    /* Has a password checked (at full price) while the client is blocked, then calls sk_client_password_checked and
     * executes the request again. The password is borrowed for the call. NULL: it is checked at once. Set by the owner. */
    void (*check_password)(void *owner, sk_bytes password);
    bool password_wrong; /* the verdict, for the request that is executed again */
    void *owner;
    size_t output_bytes; /* kept by the owner, for CLIENT LIST */
    struct sk_export *export; /* owned; NULL: none is being read */
};

/** A new session in the replica's list; ids ascend from 1. Owned by the caller. */
sk_client *sk_client_new(sk_replica *replica);
void sk_client_free(sk_client *client);
/** Ends an export that was not read to its end. */
void sk_client_export_close(sk_client *client);
/** The same, and an import that was not committed: what it brought is dropped. */
void sk_client_end_transfers(sk_client *client);
/** Forgets MULTI's queue and WATCH. */
void sk_client_discard(sk_client *client);
/** The request that it is blocked by is to be executed again, and is not over. */
static inline bool sk_client_asks_again(const sk_client *client)
{
    return client->block == SK_BLOCK_PASSWORD || client->block == SK_BLOCK_FOLD;
}
/** A client blocked by SK_BLOCK_PASSWORD goes on. */
void sk_client_password_checked(sk_client *client, bool fits);

#endif
