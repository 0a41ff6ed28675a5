#include "node/budget.h"

#include "gossip/compress.h"
#include "gossip/engine.h"

#include <inttypes.h>
#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

enum {
    PENDING_PART = 12, /* of the write buffer */
    ARENAS = 2,
    MAPPED_BYTES = 1 << 20,
};

sk_budget sk_budget_of(const sk_config *config, uint32_t peers)
{
    return (sk_budget){
        .block_cache = config->storage.cache,
        .row_cache = config->storage.row_cache,
        .write_buffer = config->storage.write_buffer,
        .ring = config->replication.ring_max,
        .held = peers ? sk_engine_limits_default().held_bytes_max : 0,
        .transfers = config->replication.transfer_window * peers,
        .links = (config->replication.send_window + (uint64_t)2 * SK_COMPRESS_KB * 1024) * peers,
        .password = config->listen.password_hash ? crypto_pwhash_MEMLIMIT_INTERACTIVE : 0,
        .process = SK_BUDGET_PROCESS,
    };
}

uint64_t sk_budget_sum(const sk_budget *budget)
{
    return budget->block_cache + budget->row_cache + budget->write_buffer + budget->ring + budget->held +
           budget->transfers + budget->links + budget->password + budget->process;
}

uint64_t sk_budget_pending(const sk_config *config)
{
    return config->storage.write_buffer / PENDING_PART;
}

void sk_budget_set_malloc(void)
{
    /* Memory goes from thread to thread here: batches are made by one and read by two others, blocks are read by
     * RocksDB's and freed by whoever makes room in the cache. With an arena for each thread (glibc has eight a core) what
     * is freed in one is no use in another, and a process grows to several times of what it holds. */
    mallopt(M_ARENA_MAX, ARENAS);
    /* Large pieces go back to the system when they are freed. Left to itself glibc raises this to 32 MiB by and by, and
     * the buffers of a run stay in the heap as holes. */
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    mallopt(M_TRIM_THRESHOLD, MAPPED_BYTES * 4);
}

uint64_t sk_budget_resident(void)
{
    unsigned long long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (fscanf(file, "%llu %llu", &size, &resident) != 2) resident = 0;
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void line(sk_buf *text, const char *name, uint64_t bytes)
{
    sk_buf_printf(text, "memory_max_%s:%" PRIu64 "\r\n", name, bytes);
}

void sk_budget_info(const sk_config *config, uint32_t peers, sk_buf *text)
{
    sk_budget budget = sk_budget_of(config, peers);
    line(text, "configured", sk_budget_sum(&budget));
    line(text, "block_cache", budget.block_cache);
    line(text, "row_cache", budget.row_cache);
    line(text, "write_buffer", budget.write_buffer);
    line(text, "ring", budget.ring);
    line(text, "held", budget.held);
    line(text, "transfers", budget.transfers);
    line(text, "links", budget.links);
    line(text, "password", budget.password);
    line(text, "process", budget.process);
}
