/* A client's session: what the node remembers of a connection, without the connection itself. */
#ifndef SK_NODE_CLIENT_H
#define SK_NODE_CLIENT_H

#include "crdt/vv.h"
#include "node/resp.h"

typedef struct sk_replica sk_replica;
typedef struct sk_client sk_client;

/* A command queued by MULTI. */
typedef struct {
    sk_bytes *argv; /* owned; the arguments follow in the same piece of memory */
    size_t argc;
} sk_queued;

typedef enum { SK_BLOCK_NONE, SK_BLOCK_WAIT, SK_BLOCK_AFTER } sk_block_kind;

struct sk_client {
    uint64_t id;
    sk_replica *replica; /* borrowed */
    sk_client *next, *previous; /* the replica's list */
    char address[64], local_address[64]; /* "127.0.0.1:5000" */
    sk_buf name, library_name, library_version;
    uint64_t connected_ms, active_ms; /* wall clock */
    const char *last_command;         /* static */
    int proto;                        /* 2 or 3 */
    bool authenticated;
    bool close_after_reply;
    bool no_evict, no_touch;

    bool in_multi, multi_failed;
    sk_queued *queue; /* owned */
    size_t queue_count, queue_bytes;
    sk_bytes *watched; /* owned copies of keys */
    size_t watched_count;
    bool watch_broken; /* a watched key changed */
    uint64_t watched_ms; /* wall clock at the first of these WATCHes */

    sk_dot last_write;  /* seq 0: none yet */
    uint64_t hold;      /* the batch that the replies given since it was last zeroed rest on; 0: none */

    sk_block_kind block;      /* the last command waits: its reply comes later, through `unblocked` */
    uint64_t block_until_ms;  /* monotonic; UINT64_MAX: for ever */
    uint32_t block_regions;   /* WAIT */
    sk_vv block_vv;           /* SESSION AFTER */
    /* The blocked command's reply is appended here by the replica, and the owner told. Set by the owner. */
    void (*unblocked)(void *owner, sk_client *client, sk_bytes reply);
    void *owner;
    size_t output_bytes; /* kept by the owner, for CLIENT LIST */
};

/** A new session in the replica's list; ids ascend from 1. Owned by the caller. */
sk_client *sk_client_new(sk_replica *replica);
void sk_client_free(sk_client *client);
/** Forgets MULTI's queue and WATCH. */
void sk_client_discard(sk_client *client);
void sk_client_unwatch(sk_client *client);
void sk_client_watch(sk_client *client, sk_bytes key);

#endif
