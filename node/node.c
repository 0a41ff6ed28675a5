#include "node/node.h"

#include "node/backups.h"
#include "node/budget.h"
#include "node/clocks.h"
#include "node/key.h"
#include "node/life.h"
#include "node/link.h"
#include "node/log.h"
#include "node/record.h"
#include "node/retention_log.h"
#include "node/server.h"
#include "node/settings.h"
#include "node/version.h"
#include "storage/rocksdb.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUNDS_MAX = 8,            /* of one turn, while each leaves something to do */
    FOREIGN_EXPIRY_MS = 2000,
    SPARE_FILES = 600,         /* descriptors beside the clients' */
    SILENCE_HEARTBEATS = 10,
    SILENCE_MS_MIN = 5000,
    CLOSE_MS = 1000,
};

#define POOL_THREADS "16"

typedef enum { RUNNING, DRAINING, LEAVING, STOPPED } phase;

typedef struct {
    sk_config *config;
    sk_noise_keypair key;
    sk_member_seed seeds[SK_CONFIG_PEERS_MAX];
    char addresses[SK_CONFIG_PEERS_MAX][SK_CONFIG_ADDRESSES_MAX][SK_ADDRESS_TEXT];
    char life[SK_LIFE_MAX];
    sk_store *store;
    sk_backups *backups;
    sk_replica *replica;
    sk_server *server;
    sk_links *links;
    uv_loop_t loop;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t timer;
    uv_signal_t term, interrupt, hangup;
    uint64_t timer_at_ms, stop_at_ms;
    phase phase;
    int logged_store_error;
    uint32_t logged_rows;
    bool logged_damage, logged_unproven, logged_history, audits; /* of the audit, as it was logged */
    bool logged_drift[SK_MEMBERS_MAX];
    _Atomic bool backup_ended; /* set by its thread: to be logged */
    bool joining; /* as it was logged */
    bool busy;   /* something happened: the turn's end is wanted */
    bool paused; /* the links are, as the server is */
    sk_clocks clocks;
    sk_retention_log retention;
} node;

/* -- turns --------------------------------------------------------------------------------------------------------- */

static uint64_t now_ms(void) { return uv_hrtime() / 1000000; }

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_event(void *self)
{
    node *n = self;
    n->busy = true;
    sk_replica_time(n->replica, now_ms(), wall_ms());
}

static void on_timer(uv_timer_t *timer)
{
    node *n = timer->data;
    n->timer_at_ms = UINT64_MAX;
    on_event(n);
}

static void set_timer(node *n)
{
    uint64_t next = n->busy ? n->replica->now_ms : sk_replica_next_ms(n->replica);
    if (n->phase != RUNNING && n->stop_at_ms < next) next = n->stop_at_ms;
    if (next == n->timer_at_ms) return;
    n->timer_at_ms = next;
    uint64_t now = now_ms();
    uv_update_time(&n->loop);
    if (next == UINT64_MAX)
        uv_timer_stop(&n->timer);
    else
        uv_timer_start(&n->timer, on_timer, next > now ? next - now : 0, 0);
}

static void note_store(node *n)
{
    int error = n->replica->store_error;
    if (error == n->logged_store_error) return;
    n->logged_store_error = error;
    if (error)
        sk_log(SK_LOG_ERROR, "store.failed", sk_log_fault(error),
               sk_log_text("detail", sk_rocksdb_last_error(n->store)),
               sk_log_text("effect", "writes are refused until it works again; reads go on"));
    else
        sk_log(SK_LOG_INFO, "store.recovered", sk_log_uint("durable", n->replica->durable));
}

/* Those that were named since; the command has all of them. */
static void log_rows(node *n, const sk_db *db)
{
    enum { LOGGED_MAX = 20 };
    sk_reader names = sk_reader_of(sk_buf_view(&db->audit.names));
    sk_bytes raw;
    bool repaired;
    if (db->audit.named < n->logged_rows) n->logged_rows = 0; /* it began anew */
    for (uint32_t i = 0; sk_audit_next_name(&names, &raw, &repaired); i++)
        if (i >= n->logged_rows && i < LOGGED_MAX)
            sk_log(SK_LOG_WARN, repaired ? "audit.row_repaired" : "audit.row_damaged", sk_log_bytes("row", raw));
    n->logged_rows = db->audit.named;
}

/* Regions that have seen the same and have other rows; and those rows, some at a time. */
static void note_drift(node *n)
{
    enum { LOGGED_MAX = 20 };
    sk_quarantine *quarantine = &n->replica->db.quarantine;
    for (uint32_t i = 0; i < sk_engine_peers(n->replica->engine); i++) {
        bool drifts = false;
        sk_peer_status peer = {0};
        if (sk_engine_is_peer(n->replica->engine, i)) peer = sk_engine_peer_status(n->replica->engine, i);
        drifts = peer.drifts;
        if (drifts && !n->logged_drift[i])
            sk_log(SK_LOG_ERROR, "audit.drift", sk_log_text("region", peer.region),
                   sk_log_text("why", "it has other rows than this region, though both have seen the same"),
                   sk_log_text("do", "see REGION AUDIT, and say which region is right (REGION AUDIT RESOLVE key FROM region)"));
        n->logged_drift[i] = drifts;
    }
    for (uint32_t i = 0, logged = 0; i < quarantine->count && logged < LOGGED_MAX; i++) {
        sk_quarantined *row = &quarantine->rows[i];
        if (row->logged) continue;
        row->logged = true;
        logged++;
        sk_log(SK_LOG_ERROR, "audit.row_differs", sk_log_bytes("row", row->raw), sk_log_bytes("region", row->region),
               sk_log_bytes("ours", row->ours.hash ? row->ours.dots : sk_bytes_str("none")),
               sk_log_bytes("theirs", row->theirs.hash ? row->theirs.dots : sk_bytes_str("none")));
    }
}

/* Is everything on the disk what was put there? */
static void note_audit(node *n)
{
    const sk_db *db = &n->replica->db;
    bool damaged = sk_audit_damaged(db);
    if ((damaged && !n->logged_damage) || (db->audit.unproven && !n->logged_unproven))
        sk_log(SK_LOG_ERROR, "audit.damaged", sk_log_text("why", sk_audit_why(db)), sk_log_uint("rows", db->sums.rows),
               sk_log_uint("damaged_rows", db->sums.senseless),
               sk_log_text("effect", "it sends no transfers and tells no digest"), sk_log_text("do", SK_RECORD_ADVICE));
    n->logged_damage = damaged;
    n->logged_unproven = db->audit.unproven;
    if (db->audit.history_renewed && !n->logged_history)
        sk_log(SK_LOG_WARN, "audit.history_renewed", sk_log_uint("damaged", db->audit.damaged_history),
               sk_log_text("effect", "regions that lack something are reconciled"));
    n->logged_history = db->audit.history_renewed;
    log_rows(n, db);
    bool pending = sk_audit_pending(db);
    if (!pending && n->audits)
        sk_log(damaged ? SK_LOG_WARN : SK_LOG_INFO, "audit.done", sk_log_text("found", sk_audit_text(db)),
               sk_log_uint("rows", db->sums.rows), sk_log_uint("history", db->audit.entries),
               sk_log_uint("mended", db->audit.mended_derived + db->audit.mended_sizes));
    n->audits = pending;
}

static void note_backup(node *n)
{
    if (!atomic_exchange(&n->backup_ended, false)) return;
    sk_backup_status status;
    sk_backups_status(n->backups, &status);
    if (status.state == SK_BACKUP_FAILED)
        sk_log(SK_LOG_ERROR, "backup.failed", sk_log_text("directory", status.directory),
               sk_log_text("error", status.text));
    else
        sk_log(SK_LOG_INFO, "backup.made", sk_log_text("directory", status.directory),
               sk_log_uint("number", status.number), sk_log_uint("bytes", status.bytes),
               sk_log_uint("copied_bytes", status.copied_bytes),
               sk_log_uint("took_ms", status.ended_ms - status.started_ms));
}

static void note_joining(node *n)
{
    bool joining = n->replica->db.joining;
    if (n->joining == joining) return;
    n->joining = joining;
    if (joining)
        sk_log(SK_LOG_INFO, "node.joining", sk_log_text("through", n->config->join.region),
               sk_log_text("effect", "clients are answered -LOADING until everything has come"));
    else
        sk_log(SK_LOG_INFO, "node.joined", sk_log_uint("keys", n->replica->db.keys),
               sk_log_uint("regions", sk_engine_others(n->replica->engine) + 1));
}

static bool everything_is_durable(const node *n)
{
    const sk_replica *replica = n->replica;
    return replica->store_error || (!replica->db.dirty && replica->durable >= replica->last_sealed);
}

/* One step on the way down, if it is time for it. */
static void step_down(node *n)
{
    if (n->phase == DRAINING && sk_server_idle(n->server) && everything_is_durable(n)) {
        n->phase = LEAVING;
        sk_engine_goodbye(n->replica->engine, n->replica->now_ms, n->replica->wall_ms);
        for (uint32_t i = 0; i < sk_engine_peers(n->replica->engine); i++) sk_links_hang_up(n->links, i, SK_E_SHUTDOWN);
        n->busy = true;
    }
    if (n->phase == LEAVING && !n->busy && sk_links_idle(n->links)) n->phase = STOPPED;
    if (n->phase != RUNNING && n->replica->now_ms >= n->stop_at_ms) {
        if (n->phase != STOPPED)
            sk_log(SK_LOG_WARN, "node.stop_late", sk_log_uint("after_ms", SK_NODE_STOP_MS),
                   sk_log_text("why", "clients or peers did not take what was still to be sent"));
        n->phase = STOPPED;
    }
    if (n->phase == STOPPED) uv_stop(&n->loop);
}

static void turn(node *n)
{
    for (int round = 0; n->busy && round < ROUNDS_MAX; round++) {
        n->busy = false;
        sk_links_turn(n->links);
        sk_replica_turn(n->replica);
        sk_replica_reap(n->replica);
        sk_links_turn(n->links);
        sk_server_release(n->server);
        if (n->replica->db.dirty && !n->replica->store_error) n->busy = true;
        if (n->phase != RUNNING) step_down(n);
    }
    uint64_t waiting = sk_store_pending_bytes(n->store), most = sk_budget_pending(n->config);
    if (waiting > most || (n->paused && waiting <= most / 2)) {
        n->paused = waiting > most;
        sk_links_pause(n->links, n->paused);
    }
    note_store(n);
    note_audit(n);
    note_drift(n);
    note_backup(n);
    sk_clocks_look(&n->clocks, n->replica, n->config->replication.clock_alarm);
    sk_retention_log_look(&n->retention, n->replica);
    note_joining(n);
    set_timer(n);
}

static void on_prepare(uv_prepare_t *prepare)
{
    node *n = prepare->data;
    if (n->busy) turn(n);
}

static void on_check(uv_check_t *check)
{
    node *n = check->data;
    if (n->busy) turn(n);
}

static void on_wake(uv_async_t *wake)
{
    node *n = wake->data;
    if (n->replica) on_event(n);
}

/* From the commit thread. */
static void wake_up(void *context) { uv_async_send(&((node *)context)->wake); }

/* From a backup's thread. */
static void backup_ended(void *context)
{
    node *n = context;
    atomic_store(&n->backup_ended, true);
    uv_async_send(&n->wake);
}

/* -- signals ------------------------------------------------------------------------------------------------------- */

static void on_stop(uv_signal_t *watcher, int number)
{
    node *n = watcher->data;
    if (n->phase != RUNNING) {
        sk_log(SK_LOG_WARN, "node.stop_now", sk_log_text("signal", number == SIGINT ? "SIGINT" : "SIGTERM"));
        _exit(SK_EXIT_RUNTIME);
    }
    on_event(n);
    sk_log(SK_LOG_INFO, "node.stopping", sk_log_text("signal", number == SIGINT ? "SIGINT" : "SIGTERM"));
    n->phase = DRAINING;
    n->stop_at_ms = n->replica->now_ms + SK_NODE_STOP_MS;
    n->replica->stopping = true;
    sk_links_stop(n->links);
    sk_server_stop(n->server);
}

static void on_hangup(uv_signal_t *watcher, int number)
{
    (void)watcher, (void)number;
    if (sk_log_reopen() != 0)
        sk_log(SK_LOG_ERROR, "log.reopen_failed", sk_log_text("error", strerror(errno)));
    else
        sk_log(SK_LOG_INFO, "log.reopened");
}

/* -- what the replica asks ----------------------------------------------------------------------------------------- */

static void host_send(void *self, uint32_t peer, sk_bytes message)
{
    node *n = self;
    if (n->links) sk_links_send(n->links, peer, message);
}

static size_t host_queued(void *self, uint32_t peer)
{
    node *n = self;
    return n->links ? sk_links_queued(n->links, peer) : 0;
}

static void host_hang_up(void *self, uint32_t peer, int error)
{
    node *n = self;
    if (n->links) sk_links_hang_up(n->links, peer, error);
}

static void host_link_allowed(void *self, uint32_t peer, bool allowed)
{
    sk_links_allow(((node *)self)->links, peer, allowed);
}

static void host_members_changed(void *self)
{
    node *n = self;
    if (n->links) sk_links_follow(n->links);
}

static void host_link_note(void *self, uint32_t peer, sk_buf *text)
{
    node *n = self;
    if (n->links) sk_links_note(n->links, peer, text);
}

static sk_engine_limits engine_limits(const sk_config *config)
{
    sk_engine_limits limits = sk_engine_limits_default();
    uint64_t silence = config->replication.heartbeat_ms * SILENCE_HEARTBEATS;
    uint64_t window = config->replication.transfer_window / limits.chunk_bytes;
    limits.ring_bytes_max = config->replication.ring_max;
    limits.flush_ms = (uint32_t)config->replication.flush_ms;
    limits.heartbeat_ms = (uint32_t)config->replication.heartbeat_ms;
    limits.silence_ms = (uint32_t)(silence > SILENCE_MS_MIN ? silence : SILENCE_MS_MIN);
    limits.transfer_window = (uint32_t)(window ? window : 1);
    limits.transfer_bytes_per_s = config->replication.transfer_bytes_per_s;
    limits.transfer_share = (uint32_t)config->replication.transfer_share;
    limits.send_queue_max = config->replication.send_window;
    return limits;
}

static int host_config_get(void *self, sk_bytes pattern, const sk_reply *reply)
{
    return sk_settings_get(((node *)self)->config, pattern, reply);
}

static sk_retention_cap retention_cap(const sk_config *config)
{
    return (sk_retention_cap){config->replication.retention_bytes, config->replication.retention_time};
}

static int host_config_set(void *self, const sk_bytes *pairs, size_t count, size_t *failed, sk_buf *error)
{
    node *n = self;
    int status = sk_settings_set(n->config, pairs, count, failed, error);
    if (status) return status;
    sk_log_set_level(n->config->log.level);
    sk_engine_limits limits = engine_limits(n->config);
    sk_engine_set_limits(n->replica->engine, &limits);
    sk_backups_set_rate(n->backups, n->config->storage.backup_bytes_per_s);
    n->replica->retention.cap = retention_cap(n->config);
    return 0;
}

static int host_backup(void *self, sk_bytes directory, sk_buf *error)
{
    node *n = self;
    return sk_backups_start(n->backups, directory, n->replica->wall_ms, error);
}

static void host_backup_status(void *self, sk_backup_status *status)
{
    sk_backups_status(((node *)self)->backups, status);
}

static uint64_t host_clock_us(void *self)
{
    (void)self;
    return uv_hrtime() / 1000;
}

static bool host_writable(void *self) { return !sk_rocksdb_space_low(((node *)self)->store); }

static void info_backup(node *n, sk_buf *text)
{
    sk_backup_status status;
    sk_backups_status(n->backups, &status);
    const char *last[] = {"none", "running", "ok", status.text}; /* by state: since the start */
    sk_buf_printf(text, "backup_in_progress:%d\r\nbackup_last_ended_ms:%" PRIu64 "\r\nbackup_last_status:%s\r\n",
                  status.state == SK_BACKUP_RUNNING, status.ended_ms, last[status.state]);
}

static void host_info(void *self, const char *section, sk_buf *text)
{
    node *n = self;
    if (!n->server || !n->links) return;
    sk_server_stats stats = sk_server_statistics(n->server);
    if (strcmp(section, "server") == 0) {
        sk_buf_printf(text, "process_id:%d\r\ntcp_port:%u\r\nreplication_port:%u\r\nmultiplexing_api:libuv-%s\r\n",
                      (int)getpid(), n->config->listen.port, n->config->replication.port, uv_version_string());
    } else if (strcmp(section, "clients") == 0) {
        sk_buf_printf(text, "maxclients:%" PRIu64 "\r\nclients_unsent_bytes:%" PRIu64 "\r\nclients_paused:%d\r\n",
                      n->config->listen.max_clients, stats.unsent_bytes, stats.paused);
    } else if (strcmp(section, "memory") == 0) {
        sk_buf_printf(text, "used_memory_rss:%" PRIu64 "\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n",
                      sk_budget_resident());
        sk_budget_info(n->config, sk_engine_others(n->replica->engine), text);
    } else if (strcmp(section, "persistence") == 0) {
        info_backup(n, text);
    } else if (strcmp(section, "stats") == 0) {
        sk_buf_printf(text,
                      "total_connections_received:%" PRIu64 "\r\nrejected_connections:%" PRIu64
                      "\r\ntotal_net_input_bytes:%" PRIu64 "\r\ntotal_net_output_bytes:%" PRIu64
                      "\r\nclient_query_buffer_limit_disconnections:%" PRIu64
                      "\r\nclient_output_buffer_limit_disconnections:%" PRIu64 "\r\nlog_lines_lost:%" PRIu64 "\r\n",
                      stats.accepted, stats.refused, stats.input_bytes, stats.output_bytes, stats.closed_query,
                      stats.closed_output, sk_log_lost());
    } else if (strcmp(section, "replication") == 0) {
        sk_links_info(n->links, text);
        sk_clocks_info(&n->clocks, n->replica, text);
    }
}

/* -- starting ------------------------------------------------------------------------------------------------------ */

static int open_store(node *n)
{
    const sk_config *config = n->config;
    char error[SK_ROCKSDB_ERROR] = "";
    sk_rocksdb_options options = {
        .path = config->data_dir,
        .durability = config->storage.durability,
        .interval_ms = (uint32_t)config->storage.interval_ms,
        .cache_bytes = config->storage.cache,
        .row_cache_bytes = config->storage.row_cache,
        .write_buffer_bytes = config->storage.write_buffer,
        .min_free_bytes = config->storage.min_free,
        .wake = wake_up,
        .context = n,
    };
    int status = sk_rocksdb_open(&options, &n->store, error);
    if (status)
        sk_log(SK_LOG_ERROR, "store.open_failed", sk_log_text("data_dir", config->data_dir),
               sk_log_text("error", error[0] ? error : sk_error_text(status)),
               sk_log_text("do", status == SK_E_CORRUPT ? SK_RECORD_ADVICE
                                 : status == SK_E_IO ? "let the node's user own it, with all that is in it, and the disk be one "
                                                       "that can be written; if that fails, " SK_RECORD_ADVICE
                                 : status == SK_E_FORMAT ? "run the skerryd that it is of; if it is damaged, " SK_RECORD_ADVICE
                                 : status == SK_E_DISK_FULL ? "make room and start it again"
                                 : status == SK_E_LOCKED ? "stop that process; or name the data_dir that is this node's"
                                                         : "see the error"));
    return status;
}

/* A peer of the configuration as a member. */
static void make_seed(node *n, size_t index)
{
    const sk_config_peer *peer = &n->config->peers[index];
    sk_member_seed *seed = &n->seeds[index];
    *seed = (sk_member_seed){.region = peer->region, .public_key = peer->public_key};
    for (size_t i = 0; i < peer->address_count; i++) {
        sk_address_print(&peer->addresses[i], n->addresses[index][i]);
        seed->addresses.text[i] = sk_bytes_str(n->addresses[index][i]);
    }
    seed->addresses.count = (uint32_t)peer->address_count;
}

static int open_replica(node *n)
{
    sk_config *config = n->config;
    char mark[SK_ROCKSDB_MARK];
    uint64_t seed;
    sk_buf error = {0};
    sk_rocksdb_mark(n->store, mark);
    if (!sk_life_text(SK_LIFE_BOOT_ID, mark, n->life))
        sk_log(SK_LOG_WARN, "node.no_boot_id", sk_log_text("file", SK_LIFE_BOOT_ID),
               sk_log_text("effect", "each start takes a new incarnation"));
    for (size_t i = 0; i < config->peer_count; i++) make_seed(n, i);
    randombytes_buf(&seed, sizeof seed);
    sk_replica_options options = {
        .region = config->region,
        .cluster = config->cluster,
        .life = sk_bytes_str(n->life),
        .public_key = n->key.public,
        .peers = n->seeds,
        .peer_count = (uint32_t)config->peer_count,
        .join = config->join.region,
        .join_accepts_writes = config->join.writes == SK_JOIN_ACCEPT,
        .limits = engine_limits(config),
        .password_hash = config->listen.password_hash,
        .foreign_expiry_ms = FOREIGN_EXPIRY_MS,
        .retention = retention_cap(config),
        .transaction_bytes_max = config->limits.transaction_max,
        .seed = seed,
    };
    sk_replica_host host = {
        .self = n,
        .send = host_send,
        .queued = host_queued,
        .hang_up = host_hang_up,
        .link_allowed = host_link_allowed,
        .members_changed = host_members_changed,
        .link_note = host_link_note,
        .config_get = host_config_get,
        .config_set = host_config_set,
        .info = host_info,
        .writable = host_writable,
        .clock_us = host_clock_us,
        .backup = host_backup,
        .backup_status = host_backup_status,
    };
    int status = sk_replica_new(n->store, &options, &host, now_ms(), wall_ms(), &error, &n->replica);
    if (status) {
        sk_buf_byte(&error, 0);
        sk_log(SK_LOG_ERROR, "node.open_failed", sk_log_text("data_dir", config->data_dir), sk_log_fault(status),
               sk_log_text("detail", (const char *)error.data));
    }
    sk_buf_free(&error);
    return status;
}

static bool listen_on(int status, const char *what, const char *address, uint16_t port)
{
    if (status == 0) return true;
    char text[96];
    snprintf(text, sizeof text, "%s:%u", address, port);
    sk_log(SK_LOG_ERROR, "node.listen_failed", sk_log_text("for", what), sk_log_text("address", text),
           sk_log_text("error", status == UV_EADDRINUSE ? "another process listens there" : uv_strerror(status)));
    return false;
}

/* A descriptor for every client, if the system lets us. */
static void raise_file_limit(const sk_config *config)
{
    struct rlimit limit;
    rlim_t wanted = config->listen.max_clients + SPARE_FILES;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    sk_log(SK_LOG_WARN, "node.few_files", sk_log_uint("files", limit.rlim_cur), sk_log_uint("wanted", wanted),
           sk_log_text("help", "raise the limit of open files (ulimit -n), or lower listen.max_clients"));
}

static void init_loop(node *n)
{
    int status = uv_loop_init(&n->loop);
    if (status == 0) status = uv_async_init(&n->loop, &n->wake, on_wake);
    sk_assert(status == 0);
    uv_prepare_init(&n->loop, &n->prepare);
    uv_check_init(&n->loop, &n->check);
    uv_timer_init(&n->loop, &n->timer);
    uv_signal_init(&n->loop, &n->term);
    uv_signal_init(&n->loop, &n->interrupt);
    uv_signal_init(&n->loop, &n->hangup);
    n->wake.data = n->prepare.data = n->check.data = n->timer.data = n;
    n->term.data = n->interrupt.data = n->hangup.data = n;
    n->timer_at_ms = UINT64_MAX;
}

static void log_ready(const node *n)
{
    const sk_replica *replica = n->replica;
    char clients[96], peers[96], incarnation[24], key[SK_KEY_HEX];
    snprintf(clients, sizeof clients, "%s:%u", n->config->listen.address, n->config->listen.port);
    snprintf(peers, sizeof peers, "%s:%u", n->config->replication.address, n->config->replication.port);
    snprintf(incarnation, sizeof incarnation, "%016" PRIx64, replica->db.origins.list[replica->db.own].incarnation);
    sk_key_hex(n->key.public, key);
    sk_log(SK_LOG_INFO, "ready", sk_log_text("version", SK_VERSION), sk_log_text("region", n->config->region),
           sk_log_text("cluster", n->config->cluster), sk_log_text("clients", clients),
           sk_log_text("replication", peers), sk_log_text("incarnation", incarnation),
           sk_log_uint("keys", replica->db.keys), sk_log_uint("peers", sk_engine_others(replica->engine)),
           sk_log_text("public_key", key), sk_log_int("pid", getpid()));
}

/* Why a start came to nothing. A full disk may have room, and a machine memory, when it is tried again; an I/O error is an
 * operator's matter. */
static int exit_code(int status)
{
    return status == SK_E_DISK_FULL || status == SK_E_MEMORY ? SK_EXIT_RUNTIME : SK_EXIT_DATA;
}

/* A peer of the configuration with our own key: whoever wrote it took the wrong one. */
static bool has_own_key(const node *n)
{
    for (size_t i = 0; i < n->config->peer_count; i++) {
        const sk_config_peer *peer = &n->config->peers[i];
        char text[128];
        if (memcmp(peer->public_key, n->key.public, sizeof peer->public_key) != 0) continue;
        snprintf(text, sizeof text, "the public_key of %s in peers is this node's own", peer->region);
        sk_log(SK_LOG_ERROR, "node.key_failed", sk_log_text("error", text));
        return true;
    }
    return false;
}

/* Everything up to `ready`, or an exit code. */
static int start(node *n)
{
    sk_config *config = n->config;
    char error[SK_KEY_ERROR_MAX];
    if (sk_key_load(config->replication.key_file, &n->key, error) != 0) {
        sk_log(SK_LOG_ERROR, "node.key_failed", sk_log_text("error", error));
        return SK_EXIT_CONFIG;
    }
    if (has_own_key(n)) return SK_EXIT_CONFIG;
    raise_file_limit(config);
    int status = open_store(n);
    if (!status) status = open_replica(n);
    if (status) return exit_code(status);
    n->backups = sk_backups_new(n->store, config->data_dir, config->storage.backup_dir, config->storage.min_free,
                                backup_ended, n);
    sk_backups_set_rate(n->backups, config->storage.backup_bytes_per_s);
    n->server = sk_server_new(&n->loop, n->replica, config, on_event, n);
    n->links = sk_links_new(&n->loop, n->replica, config, &n->key, on_event, n);
    if (!listen_on(sk_server_listen(n->server), "clients", config->listen.address, config->listen.port) ||
        !listen_on(sk_links_listen(n->links), "regions", config->replication.address, config->replication.port))
        return SK_EXIT_RUNTIME;
    uv_prepare_start(&n->prepare, on_prepare);
    uv_check_start(&n->check, on_check);
    uv_signal_start(&n->term, on_stop, SIGTERM);
    uv_signal_start(&n->interrupt, on_stop, SIGINT);
    uv_signal_start(&n->hangup, on_hangup, SIGHUP);
    on_event(n);
    sk_links_start(n->links);
    log_ready(n);
    note_joining(n);
    if (config->join.region && !n->joining)
        sk_log(SK_LOG_INFO, "node.join_ignored", sk_log_text("region", config->join.region),
               sk_log_text("why", "the database is complete"));
    return SK_EXIT_OK;
}

/* -- the end ------------------------------------------------------------------------------------------------------- */

/* Runs the loop until every handle is closed. False when a name is still being looked up, which cannot be stopped. */
static bool run_out(node *n)
{
    uint64_t until = now_ms() + CLOSE_MS;
    while (uv_run(&n->loop, UV_RUN_NOWAIT) != 0) {
        if (now_ms() >= until) return false;
        usleep(1000);
    }
    return true;
}

static bool close_handles(node *n)
{
    uv_handle_t *handles[] = {
        (uv_handle_t *)&n->prepare, (uv_handle_t *)&n->check,     (uv_handle_t *)&n->timer,
        (uv_handle_t *)&n->term,    (uv_handle_t *)&n->interrupt, (uv_handle_t *)&n->hangup,
    };
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) uv_close(handles[i], NULL);
    if (n->server) sk_server_close(n->server);
    if (n->links) sk_links_close(n->links);
    uv_unref((uv_handle_t *)&n->wake); /* the commit thread may still use it */
    return run_out(n);
}

/* Gives everything back, in the order that each thing's users go before it. */
static int finish(node *n, int code)
{
    bool closed = close_handles(n);
    sk_backups_free(n->backups);
    if (n->replica) {
        int status = n->replica->store_error ? n->replica->store_error : sk_store_flush(n->store);
        if (status && code == SK_EXIT_OK) {
            sk_log(SK_LOG_ERROR, "store.flush_failed", sk_log_fault(status),
                   sk_log_text("detail", sk_rocksdb_last_error(n->store)));
            code = SK_EXIT_RUNTIME;
        }
        sk_replica_free(n->replica);
        n->replica = NULL;
    }
    if (n->store) sk_store_close(n->store);
    sk_noise_keypair_wipe(&n->key);
    if (!closed) _exit(code); /* its thread uses what is freed below, and exit() would wait for it */
    uv_close((uv_handle_t *)&n->wake, NULL);
    uv_run(&n->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&n->loop);
    sk_assert(status == 0);
    sk_server_free(n->server);
    sk_links_free(n->links);
    return code;
}

int sk_node_run(sk_config *config)
{
    if (sodium_init() < 0) return SK_EXIT_RUNTIME;
    sk_budget_set_malloc();
    setenv("UV_THREADPOOL_SIZE", POOL_THREADS, 0); /* half of them may look up names: one that hangs delays no other */
    signal(SIGPIPE, SIG_IGN);
    if (sk_log_open(config->log.file, config->log.level, config->log.format) != 0) {
        fprintf(stderr, "skerryd: log.file %s cannot be opened: %s\n", config->log.file, strerror(errno));
        return SK_EXIT_CONFIG;
    }
    node *n = sk_alloc(sizeof *n);
    n->config = config;
    init_loop(n);
    int code = start(n);
    if (code == SK_EXIT_OK) uv_run(&n->loop, UV_RUN_DEFAULT);
    code = finish(n, code);
    if (code == SK_EXIT_OK) sk_log(SK_LOG_INFO, "node.stopped");
    free(n);
    sk_log_close();
    return code;
}
