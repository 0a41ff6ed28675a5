/* What memory the configuration allows, and how it is kept to.
 *
 *   part             bounded by
 *   block cache      storage.cache: blocks, indexes and filters of tables (storage/database.c)
 *   row cache        storage.row_cache (storage/rowcache.h), a sixteenth of it the filter of present rows
 *   writes           storage.write_buffer: a twelfth of it waits to be committed, as sk_store_pending_bytes counts (the
 *                    structures around it take as much again); two thirds are committed and not placed
 *                    (storage/placing.h); a sixth is memtables
 *   ring             replication.ring_max
 *   held             transactions of other regions that wait for others (gossip/receive.c): sk_engine_limits_default, if there is
 *                    a peer
 *   transfers        replication.transfer_window, for each peer
 *   links            what waits to be sent (the window, node/wire.h) and both streams of compression, for each peer
 *   password         what one check of a password takes, if there is one; they come one at a time
 *   process          SK_BUDGET_PROCESS: code, threads, buffers, tables in the making, and what malloc cannot give back
 *
 * On top of the sum come the clients: each has at most listen.query_buffer_max of a request and
 * listen.output_buffer_max of replies and half as much (node/server.h), limits.transaction_max of what MULTI has queued
 * and as much of watched keys, and one that is idle nothing; and a transaction of up to limits.transaction_max for each
 * peer that it is on its way to. The one that is being made has the rows that it touches in memory, about
 * SK_TRANSACTION_MEMORY at most (node/txn.c: beyond it is undone), and the one command that runs at a time what it
 * reads and makes, at most as much again and what replies may be (node/command.c); beyond it the answer is -OOM.
 * Imports (one at a time) and exports hold one frame each: 64 KB and one row, of siblings each as large as a
 * transaction may be; SK_STREAM_BODY_MAX at the most. */
#ifndef SK_NODE_BUDGET_H
#define SK_NODE_BUDGET_H

#include "node/config.h"

#define SK_BUDGET_PROCESS ((uint64_t)64 << 20)

typedef struct {
    uint64_t block_cache, row_cache, write_buffer, ring, held, transfers, links, password, process;
} sk_budget;

sk_budget sk_budget_of(const sk_config *config, uint32_t peers);
uint64_t sk_budget_sum(const sk_budget *budget);
/** Bytes that may wait to be committed before nobody is read from; half of it is when reading goes on. */
uint64_t sk_budget_pending(const sk_config *config);
/** Has malloc give back what is freed. To be called before the first thread is made. */
void sk_budget_set_malloc(void);
/** Bytes of the process that are in memory just now; 0: the system does not tell. */
uint64_t sk_budget_resident(void);
/** Appends the lines of INFO memory. */
void sk_budget_info(const sk_config *config, uint32_t peers, sk_buf *text);

#endif
