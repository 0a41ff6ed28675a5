#include "node/server.h"

#include "node/budget.h"
#include "node/connection.h"
#include "node/log.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { BACKLOG = 511, WATCH_MS = 1000 };

void sk_address_text(const uv_tcp_t *tcp, bool peer, char text[64])
{
    struct sockaddr_storage address;
    int len = sizeof address;
    char host[INET6_ADDRSTRLEN] = "";
    int status = peer ? uv_tcp_getpeername(tcp, (struct sockaddr *)&address, &len)
                      : uv_tcp_getsockname(tcp, (struct sockaddr *)&address, &len);
    text[0] = 0;
    if (status != 0) return;
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address;
        uv_ip6_name(six, host, sizeof host);
        snprintf(text, 64, "[%s]:%u", host, ntohs(six->sin6_port));
    } else {
        const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
        uv_ip4_name(four, host, sizeof host);
        snprintf(text, 64, "%s:%u", host, ntohs(four->sin_port));
    }
}

/* -- events ------------------------------------------------------------------------------------------------------- */

static void on_connection(uv_stream_t *stream, int status)
{
    sk_server *server = stream->data;
    server->event(server->self);
    if (status < 0) {
        sk_log_limited(1, SK_LOG_WARN, "client.accept_failed", sk_log_text("error", uv_strerror(status)));
        return;
    }
    sk_connection_accept(server);
}

/* Connections that had more to do than one turn allows. */
static void on_again(uv_idle_t *idle)
{
    sk_server *server = idle->data;
    sk_list now;
    server->event(server->self);
    server->turn++;
    sk_list_init(&now);
    sk_list_move(&server->ready, &now);
    while (!sk_list_empty(&now)) {
        sk_connection *connection = SK_LIST_OWNER(now.next, sk_connection, ready);
        sk_list_remove(&connection->ready);
        sk_connection_continue(connection);
    }
    if (sk_list_empty(&server->ready)) uv_idle_stop(&server->again);
}

/* For others, for the disk, or for its turn; not one that leaves unread what it was answered. */
static bool waits_for_us(const sk_connection *connection)
{
    if (connection->client->block != SK_BLOCK_NONE) return true;
    return connection->in_flight == 0 && (connection->out.bytes || connection->pending || connection->server->paused);
}

/* While a client waits for us it is not idle; its time begins when it has its reply. */
static void on_watch(uv_timer_t *timer)
{
    sk_server *server = timer->data;
    uint64_t most = server->config->listen.idle_timeout;
    if (most == 0) return;
    server->event(server->self);
    uint64_t now = server->replica->now_ms;
    for (sk_list *at = server->all.next, *next; at != &server->all; at = next) {
        sk_connection *connection = SK_LIST_OWNER(at, sk_connection, all);
        next = at->next;
        if (waits_for_us(connection)) connection->active_ms = now;
        if (now < connection->active_ms + most) continue;
        sk_log(SK_LOG_DEBUG, "client.idle", sk_log_text("client", connection->client->address));
        sk_connection_close(connection);
    }
}

/* -- passwords ---------------------------------------------------------------------------------------------------- */

static void check_password(uv_work_t *work)
{
    sk_password_check_job *job = work->data;
    job->fits = sk_password_fits(job->hash, sk_buf_view(&job->password));
}

/* The next in the queue begins before the one that was answered goes on: it may have another password to give. */
static void on_checked(uv_work_t *work, int status)
{
    sk_password_check_job *job = work->data;
    sk_server *server = job->server;
    sk_connection *answered = job->connection;
    bool fits = status == 0 && job->fits;
    if (fits) sk_password_remember(job->hash, sk_buf_view(&job->password));
    sodium_memzero(job->password.data, job->password.len);
    sk_buf_free(&job->password);
    job->connection = NULL;
    job->busy = false;
    if (server->closed) return;
    server->event(server->self);
    if (answered) sk_client_password_checked(answered->client, fits);
    while (!job->busy && !sk_list_empty(&server->unchecked)) {
        sk_connection *next = SK_LIST_OWNER(server->unchecked.next, sk_connection, unchecked);
        sk_list_remove(&next->unchecked);
        sk_client_password_checked(next->client, true); /* no verdict yet: it asks again, now that it is its turn */
        sk_connection_continue(next);
    }
    if (answered) sk_connection_continue(answered);
}

void sk_server_check_password(sk_connection *connection, sk_bytes password)
{
    sk_server *server = connection->server;
    sk_password_check_job *job = &server->check;
    if (job->busy) {
        sk_list_append(&server->unchecked, &connection->unchecked);
        return;
    }
    *job = (sk_password_check_job){.server = server, .busy = true, .connection = connection};
    snprintf(job->hash, sizeof job->hash, "%s", server->replica->options.password_hash);
    sk_buf_bytes(&job->password, password);
    job->work.data = job;
    int status = uv_queue_work(server->loop, &job->work, check_password, on_checked);
    sk_assert(status == 0); /* it refuses only what is no function */
}

/* -- life --------------------------------------------------------------------------------------------------------- */

sk_server *sk_server_new(uv_loop_t *loop, sk_replica *replica, const sk_config *config, void (*event)(void *self),
                         void *self)
{
    sk_server *server = sk_alloc(sizeof *server);
    server->loop = loop;
    server->replica = replica;
    server->config = config;
    server->event = event;
    server->self = self;
    sk_list_init(&server->all);
    sk_list_init(&server->ready);
    sk_list_init(&server->unsent);
    sk_list_init(&server->unchecked);
    uv_tcp_init(loop, &server->listener);
    uv_timer_init(loop, &server->watch);
    uv_idle_init(loop, &server->again);
    server->listener.data = server->watch.data = server->again.data = server;
    uv_timer_start(&server->watch, on_watch, WATCH_MS, WATCH_MS);
    return server;
}

int sk_server_listen(sk_server *server)
{
    struct sockaddr_storage address;
    const char *host = server->config->listen.address;
    int port = server->config->listen.port;
    int status = uv_ip4_addr(host, port, (struct sockaddr_in *)&address);
    if (status) status = uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address);
    if (!status) status = uv_tcp_bind(&server->listener, (const struct sockaddr *)&address, 0);
    if (!status) status = uv_listen((uv_stream_t *)&server->listener, BACKLOG, on_connection);
    return status;
}

static void resume(sk_server *server)
{
    sk_store *store = server->replica->store;
    if (sk_store_pending_bytes(store) + sk_store_open_bytes(store) > sk_budget_pending(server->config) / 2) return;
    server->paused = false;
    for (sk_list *at = server->all.next; at != &server->all; at = at->next)
        sk_connection_update(SK_LIST_OWNER(at, sk_connection, all));
}

void sk_server_release(sk_server *server)
{
    server->turn++;
    if (server->paused) resume(server);
    for (sk_list *at = server->unsent.next, *next; at != &server->unsent; at = next) {
        next = at->next;
        sk_connection_flush(SK_LIST_OWNER(at, sk_connection, unsent));
    }
    if (!sk_list_empty(&server->ready) && !server->closed) uv_idle_start(&server->again, on_again);
}

void sk_server_stop(sk_server *server)
{
    server->stopping = true;
    if (!uv_is_closing((uv_handle_t *)&server->listener)) uv_close((uv_handle_t *)&server->listener, NULL);
    for (sk_list *at = server->all.next, *next; at != &server->all; at = next) {
        next = at->next;
        sk_connection_finish(SK_LIST_OWNER(at, sk_connection, all));
    }
}

bool sk_server_idle(const sk_server *server) { return sk_list_empty(&server->all); }

void sk_server_close(sk_server *server)
{
    server->stopping = server->closed = true;
    while (!sk_list_empty(&server->all)) sk_connection_close(SK_LIST_OWNER(server->all.next, sk_connection, all));
    if (!uv_is_closing((uv_handle_t *)&server->listener)) uv_close((uv_handle_t *)&server->listener, NULL);
    uv_close((uv_handle_t *)&server->watch, NULL);
    uv_close((uv_handle_t *)&server->again, NULL);
}

void sk_server_free(sk_server *server)
{
    if (!server) return;
    sk_output_pool_free(&server->pool);
    free(server);
}

sk_server_stats sk_server_statistics(const sk_server *server)
{
    sk_server_stats stats = server->stats;
    stats.paused = server->paused;
    return stats;
}
