/* The server for clients: listens, reads requests, has the replica execute them, and lets each reply go once what it
 * rests on is durable.
 *
 * One thread, one libuv loop. What happens in a turn of the loop is executed at once; at the turn's end the node seals
 * it (sk_replica_turn) and calls sk_server_release, which writes every reply that may go.
 *
 * Fairness and back-pressure:
 *  - One connection has at most SK_SERVER_VISIT_COMMANDS commands executed, then the others have their turn.
 *  - A client that leaves more than half of listen.output_buffer_max unread is not read from until it has caught up. Each
 *    reply may be as large as the whole of it, whatever is before it; a larger one closes the connection.
 *  - While the store has more than sk_budget_pending bytes to commit, no client is read from.
 *  - While a command blocks (WAIT, SESSION AFTER), what follows it waits, and is read only up to 64 KiB.
 *  - A password is checked on a thread of libuv's pool, one at a time however many are given: each takes 64 MiB and 50 ms.
 *    Its client waits as with a blocking command; the others go on, and those whose turn it is not yet wait in a queue.
 *
 * Invariants:
 *  1. No reply leaves before its hold is durable (promise 1).
 *  2. When the store fails, what was held becomes one error line, and its connection is closed: how many replies were
 *     lost in it cannot be said in the protocol.
 *  3. Memory of a connection grows with what it sent, up to listen.query_buffer_max, and with what it was answered, up
 *     to listen.output_buffer_max and half as much. An idle one has no buffers.
 *  4. Who waits for the node, for others or the disk, is not idle (listen.idle_timeout); who does not read is. */
#ifndef SK_NODE_SERVER_H
#define SK_NODE_SERVER_H

#include "node/config.h"
#include "node/replica.h"

#include <uv.h>

enum {
    SK_SERVER_VISIT_COMMANDS = 1024,
    SK_SERVER_READ_BYTES = 64 * 1024,           /* of one read */
    SK_SERVER_TURN_BYTES = 256 * 1024,          /* read of one connection in a turn */
};

typedef struct sk_server sk_server;

/** `config` is read again at each use, so that CONFIG SET takes effect. `event(self)` is called before anything is done
 *  for an event of the loop: it sets the replica's time and sees to it that the turn's end comes. All is borrowed.
 *  Owned by the caller: sk_server_close, run the loop until nothing is left, sk_server_free. */
sk_server *sk_server_new(uv_loop_t *loop, sk_replica *replica, const sk_config *config, void (*event)(void *self),
                         void *self);
/** Listens on listen.address and listen.port. 0, or a libuv error. */
int sk_server_listen(sk_server *server);
/** The end of a turn, after sk_replica_turn and sk_replica_reap. */
void sk_server_release(sk_server *server);
/** No more clients and no more requests; connections close once their replies are out. */
void sk_server_stop(sk_server *server);
/** Whether every connection is gone. */
bool sk_server_idle(const sk_server *server);
/** Closes every handle, whatever is unsent. */
void sk_server_close(sk_server *server);
void sk_server_free(sk_server *server);

/** Connections at this moment, and those that were accepted or refused for their number since the start. */
typedef struct {
    uint64_t connections, accepted, refused;
    uint64_t input_bytes, output_bytes;   /* since the start */
    uint64_t unsent_bytes;                /* replies waiting, for the disk or for their readers */
    uint64_t closed_output, closed_query; /* connections closed at a limit */
    bool paused;
} sk_server_stats;

sk_server_stats sk_server_statistics(const sk_server *server);

/** "127.0.0.1:7101", "[::1]:7101"; empty when the socket is not connected. `peer`: of the other end. */
void sk_address_text(const uv_tcp_t *tcp, bool peer, char text[64]);

#endif
