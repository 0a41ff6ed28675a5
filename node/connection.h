/* One client's connection, and what the server keeps of all: shared by server.c and connection.c only.
 *
 *             read                    parse, execute                     release, write
 *   socket ---------> input (in) ------------------------> output -----------------------> socket
 *                                 | not now: pending
 *                                 '-> ready, for the next turn
 *
 * A request whose password is being checked stays at the beginning of `in` until that is done.
 *
 * States: serving -> finishing (no more requests; closes when its output is out) -> closing (handle being closed) */
#ifndef SK_NODE_CONNECTION_H
#define SK_NODE_CONNECTION_H

#include "node/list.h"
#include "node/output.h"
#include "node/password.h"
#include "node/server.h"

typedef struct {
    uv_tcp_t tcp;
    uv_write_t write;
    sk_server *server; /* borrowed */
    sk_client *client; /* owned */
    sk_list all, ready, unsent, unchecked;
    sk_resp_parser parser;
    sk_buf in; /* received and not yet used; without memory when empty */
    sk_output out;
    size_t in_flight;     /* bytes given to libuv; 0: it has none */
    size_t turn_bytes;    /* read in turn number `turn` */
    uint64_t turn;
    uint64_t active_ms;   /* monotonic: the last read, or when it was last seen to wait for us */
    bool reading;
    bool pending;   /* `in` may hold a whole request that was not tried yet */
    bool finished;  /* the client will send no more */
    bool finishing, closing;
} sk_connection;

/* The password that is being checked. */
typedef struct {
    uv_work_t work;
    sk_server *server; /* borrowed */
    bool busy;
    sk_connection *connection; /* borrowed; NULL when it is gone */
    char hash[SK_PASSWORD_HASH_MAX];
    sk_buf password; /* owned; wiped before it is given back */
    bool fits;
} sk_password_check_job;

struct sk_server {
    uv_loop_t *loop;
    sk_replica *replica;
    const sk_config *config;
    void (*event)(void *self);
    void *self;
    uv_tcp_t listener;
    uv_timer_t watch; /* looks for idle clients */
    uv_idle_t again;  /* keeps the loop from sleeping while `ready` has members */
    sk_list all, ready, unsent;
    sk_list unchecked;        /* connections that wait for their turn at `check` */
    sk_password_check_job check;
    uint64_t turn;
    bool paused, stopping, closed;
    sk_output_pool pool;
    sk_server_stats stats;
    uint8_t read[SK_SERVER_READ_BYTES];
};

/** Takes over a connection that waits at the listener. */
void sk_connection_accept(sk_server *server);
/** Has a password checked; the connection's client is blocked. Its request is executed again then. */
void sk_server_check_password(sk_connection *connection, sk_bytes password);
/** Executes what waits in `in`, then arranges for what comes next. */
void sk_connection_continue(sk_connection *connection);
/** Writes what may go; closes a finishing connection that has nothing left. */
void sk_connection_flush(sk_connection *connection);
/** Starts or stops reading, and puts the connection into `ready`, as its state asks. */
void sk_connection_update(sk_connection *connection);
/** No more requests; closes when its output is out. */
void sk_connection_finish(sk_connection *connection);
/** Closes at once. */
void sk_connection_close(sk_connection *connection);

#endif
