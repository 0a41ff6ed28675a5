/* A node: configuration, log, key, store, replica, server, links and signals, bound to one libuv loop.
 *
 * A turn of the loop:
 *
 *   poll: reads, timers, the store's wake -> requests executed, messages applied       (event: time set, turn wanted)
 *   check and prepare, if a turn is wanted:
 *     sk_links_turn     links that were given up are closed
 *     sk_replica_turn   what changed is sealed into a batch; the commit thread writes it, or this one (storage/committer.h)
 *     sk_replica_reap   what is durable by now; the engine sends deltas of it
 *     sk_links_turn     they go out
 *     sk_server_release replies that rest on it go out
 *
 * The way down (first SIGTERM or SIGINT): no more clients, requests, dialing; wait until everything sealed is durable
 * and all replies are out; say goodbye to the peers and let that go out; flush the store, close. At most
 * SK_NODE_STOP_MS; a second signal leaves at once, which loses nothing that was acknowledged (`kill -9` does the same).
 *
 * SIGHUP opens the log file again. */
#ifndef SK_NODE_NODE_H
#define SK_NODE_NODE_H

#include "node/config.h"

enum { SK_NODE_STOP_MS = 5000 };

/* Exit codes of skerryd. */
enum {
    SK_EXIT_OK = 0,
    SK_EXIT_RUNTIME = 1, /* a port in use, a full disk, a failure while running, or left at once on a second signal: another
                            start may do better, and whoever starts nodes tries again */
    SK_EXIT_USAGE = 2,
    SK_EXIT_CONFIG = 3, /* the configuration, or a file that it names */
    SK_EXIT_DATA = 4,   /* the data directory: locked, damaged, unreadable, another region's, another format */
};

/** Runs a node until it is told to stop; returns the exit code. What goes wrong is logged. The configuration stays the
 *  caller's; CONFIG SET changes it meanwhile. */
int sk_node_run(sk_config *config);

#endif
