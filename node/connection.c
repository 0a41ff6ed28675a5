#include "node/connection.h"

#include "node/budget.h"
#include "node/command.h"
#include "node/log.h"

#include <stdlib.h>

enum {
    WRITE_PIECES = 32,
    BLOCKED_INPUT_MAX = 64 * 1024,
    KEEPALIVE_S = 300,
};

/* -- the end ------------------------------------------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
    sk_connection *connection = handle->data;
    sk_output_free(&connection->out);
    sk_resp_free(&connection->parser);
    sk_buf_free(&connection->in);
    free(connection);
}

/* Nobody waits for its password any more. */
static void leave_check(sk_connection *connection)
{
    sk_list_remove(&connection->unchecked);
    if (connection->server->check.connection == connection) connection->server->check.connection = NULL;
}

void sk_connection_close(sk_connection *connection)
{
    if (connection->closing) return;
    leave_check(connection);
    connection->closing = true;
    connection->server->stats.connections--;
    connection->server->stats.unsent_bytes -= connection->out.bytes;
    sk_list_remove(&connection->all);
    sk_list_remove(&connection->ready);
    sk_list_remove(&connection->unsent);
    if (connection->client) sk_client_free(connection->client);
    connection->client = NULL;
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
}

void sk_connection_finish(sk_connection *connection)
{
    connection->finishing = true;
    connection->pending = false;
    leave_check(connection);
    sk_buf_free(&connection->in);
    sk_list_remove(&connection->ready);
    if (connection->out.bytes == 0)
        sk_connection_close(connection);
    else
        sk_connection_update(connection);
}

/* Nothing is left to say, and nothing will be. */
static bool is_done(const sk_connection *connection)
{
    if (connection->out.bytes) return false;
    if (connection->finishing) return true;
    return connection->finished && !connection->pending && connection->client->block == SK_BLOCK_NONE;
}

/* -- output ------------------------------------------------------------------------------------------------------- */

/* Counts what `out` has gained, and has it looked at when the turn ends. */
static void note_output(sk_connection *connection, size_t before)
{
    sk_server *server = connection->server;
    server->stats.unsent_bytes += connection->out.bytes - before;
    if (connection->client) connection->client->output_bytes = connection->out.bytes;
    if (connection->out.bytes && sk_list_empty(&connection->unsent))
        sk_list_append(&server->unsent, &connection->unsent);
}

/* A reply of our own, which rests on nothing. */
static void put_error(sk_connection *connection, const char *text)
{
    size_t before = connection->out.bytes;
    sk_reply reply = {sk_output_open(&connection->out, connection->server->replica->epoch), 2};
    reply.out->max = 0;
    reply.out->full = false;
    sk_reply_error(&reply, text);
    sk_output_appended(&connection->out, 0);
    note_output(connection, before);
}

static void consume(sk_connection *connection, size_t len)
{
    sk_output_consume(&connection->out, len);
    connection->server->stats.unsent_bytes -= len;
    connection->server->stats.output_bytes += len;
    if (connection->client) connection->client->output_bytes = connection->out.bytes;
}

static void on_written(uv_write_t *write, int status)
{
    sk_connection *connection = write->data;
    size_t len = connection->in_flight;
    connection->in_flight = 0;
    if (connection->closing) return;
    if (status < 0) {
        sk_connection_close(connection);
        return;
    }
    connection->server->event(connection->server->self);
    consume(connection, len);
    sk_connection_flush(connection);
}

/* Everything that may go, as far as the socket takes it; the rest is libuv's to write. False: it is gone. */
static bool write_out(sk_connection *connection)
{
    uv_stream_t *stream = (uv_stream_t *)&connection->tcp;
    uv_buf_t pieces[WRITE_PIECES];
    unsigned count;
    while (connection->in_flight == 0 && (count = sk_output_vector(&connection->out, pieces, WRITE_PIECES)) > 0) {
        size_t len = 0;
        for (unsigned i = 0; i < count; i++) len += pieces[i].len;
        int wrote = uv_try_write(stream, pieces, count);
        if (wrote >= 0) {
            consume(connection, (size_t)wrote);
            continue;
        }
        if (wrote == UV_EAGAIN) {
            connection->write.data = connection;
            connection->in_flight = len;
            wrote = uv_write(&connection->write, stream, pieces, count, on_written);
        }
        if (wrote < 0) {
            connection->in_flight = 0;
            sk_connection_close(connection);
            return false;
        }
    }
    return true;
}

void sk_connection_flush(sk_connection *connection)
{
    const sk_replica *replica = connection->server->replica;
    sk_output_seal(&connection->out);
    if (!sk_output_release(&connection->out, replica->durable, replica->epoch)) {
        size_t before = connection->out.bytes;
        sk_output_void(&connection->out);
        connection->server->stats.unsent_bytes -= before - connection->out.bytes;
        put_error(connection, "MISCONF the write could not be stored: the disk failed or is full. Nothing of it is "
                              "kept unless a later read shows it; read before you try again");
        sk_output_seal(&connection->out);
        connection->finishing = true;
    }
    if (!write_out(connection)) return;
    if (connection->out.bytes == 0) {
        sk_list_remove(&connection->unsent);
        if (is_done(connection)) {
            sk_connection_close(connection);
            return;
        }
    }
    sk_connection_update(connection);
}

/* -- requests ----------------------------------------------------------------------------------------------------- */

static bool store_is_busy(const sk_server *server)
{
    sk_store *store = server->replica->store;
    return sk_store_pending_bytes(store) + sk_store_open_bytes(store) > sk_budget_pending(server->config);
}

static bool may_execute(const sk_connection *connection)
{
    const sk_server *server = connection->server;
    return !connection->finishing && !server->stopping && !server->paused &&
           connection->client->block == SK_BLOCK_NONE &&
           connection->out.bytes <= server->config->listen.output_buffer_max / 2;
}

static void too_much_output(sk_connection *connection)
{
    char command[SK_COMMAND_NAME_MAX];
    sk_command_full_name(connection->client->last_command, command);
    connection->server->stats.closed_output++;
    sk_log_limited(5, SK_LOG_WARN, "client.output_limit", sk_log_text("client", connection->client->address),
                   sk_log_text("command", command),
                   sk_log_uint("limit_bytes", connection->server->config->listen.output_buffer_max),
                   sk_log_text("help", "it reads too slowly, or asked for a reply above listen.output_buffer_max"));
    sk_connection_close(connection);
}

/* One request. False: no further one is to be executed now. */
static bool execute_one(sk_connection *connection, const sk_bytes *argv, size_t argc)
{
    sk_server *server = connection->server;
    sk_client *client = connection->client;
    size_t before = connection->out.bytes;
    sk_reply reply = {sk_output_open(&connection->out, server->replica->epoch), client->proto};
    reply.out->max = reply.out->len + server->config->listen.output_buffer_max;
    sk_command_execute(server->replica, client, argv, argc, &reply);
    if (reply.out->full) {
        too_much_output(connection);
        return false;
    }
    sk_output_appended(&connection->out, client->hold);
    note_output(connection, before);
    if (store_is_busy(server)) server->paused = true;
    if (client->close_after_reply) connection->finishing = true;
    return may_execute(connection);
}

static bool asks_again(const sk_connection *connection)
{
    return connection->client && sk_client_asks_again(connection->client);
}

/* While one request is executed, memory can bring what the next will ask for (this earns a tenth of a pipelined SET). */
static void look_ahead(sk_connection *connection, sk_bytes request, sk_bytes input)
{
    sk_bytes argv[SK_RESP_PEEK];
    if (sk_bytes_starts(input, request)) return; /* the same once more, as of a counter */
    size_t argc = sk_resp_peek(input.data, input.len, argv);
    sk_command_foresee(&connection->server->replica->db, argv, argc);
}

/* Requests from the input, in order, while they may be executed. Returns the bytes used. */
static size_t execute(sk_connection *connection, sk_bytes input)
{
    const sk_config *config = connection->server->config;
    sk_resp_parser *parser = &connection->parser;
    size_t used = 0;
    connection->client->hold = 0;
    connection->pending = true;
    for (unsigned i = 0; i < SK_SERVER_VISIT_COMMANDS; i++) {
        sk_bytes *argv;
        size_t argc, step;
        parser->limits = (sk_resp_limits){config->listen.max_args, config->listen.bulk_max, SK_RESP_LINE_BYTES_MAX,
                                          connection->client->authenticated};
        int status = sk_resp_parse(parser, input.data + used, input.len - used, &step, &argv, &argc);
        if (status == SK_OK)
            look_ahead(connection, sk_bytes_of(input.data + used, step),
                       sk_bytes_of(input.data + used + step, input.len - used - step));
        bool more = status == SK_OK && execute_one(connection, argv, argc);
        if (!asks_again(connection)) used += step;
        if (status == SK_OK && more) continue;
        if (status == SK_E_PARTIAL) connection->pending = false;
        if (status == SK_E_MALFORMED) {
            put_error(connection, sk_resp_error(parser));
            connection->finishing = true;
        }
        break;
    }
    return used;
}

/* Requests from what is at hand: `in`, or when that is empty, `fresh`. What is left is kept in `in`. */
static void process(sk_connection *connection, sk_bytes fresh)
{
    bool kept = connection->in.len > 0;
    sk_bytes input = kept ? sk_buf_view(&connection->in) : fresh;
    size_t used = 0;
    if (may_execute(connection))
        used = execute(connection, input);
    else
        connection->pending = true;
    if (connection->closing) return;
    if (connection->finishing) {
        sk_connection_finish(connection);
        return;
    }
    if (kept)
        sk_buf_consume(&connection->in, used);
    else
        sk_buf_append(&connection->in, input.data + used, input.len - used);
    if (connection->in.len == 0) {
        connection->pending = false;
        sk_buf_free(&connection->in);
    }
    if (!connection->pending && connection->in.len > connection->server->config->listen.query_buffer_max) {
        connection->server->stats.closed_query++;
        put_error(connection, "ERR Protocol error: the request is larger than listen.query_buffer_max");
        sk_connection_finish(connection);
        return;
    }
    if (is_done(connection)) {
        sk_connection_close(connection);
        return;
    }
    sk_connection_update(connection);
}

void sk_connection_continue(sk_connection *connection)
{
    if (connection->in.len)
        process(connection, SK_BYTES_NONE);
    else
        sk_connection_update(connection);
}

/* The reply of a command that had blocked; none if it is to be executed again: it is still pending. */
static void on_unblocked(void *owner, sk_client *client, sk_bytes bytes)
{
    sk_connection *connection = owner;
    size_t before = connection->out.bytes;
    sk_buf *out = sk_output_open(&connection->out, connection->server->replica->epoch);
    out->max = 0;
    sk_buf_bytes(out, bytes);
    sk_output_appended(&connection->out, client->hold);
    note_output(connection, before);
    /* Not `update`: it would see the client as still blocked. */
    if (connection->pending && sk_list_empty(&connection->ready))
        sk_list_append(&connection->server->ready, &connection->ready);
}

/* -- input -------------------------------------------------------------------------------------------------------- */

/* Small reads share one buffer of the server's; a large argument is read to where it will be used. Either way a
 * connection's own memory grows only with what it has sent (sk_resp_wanted). */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    sk_connection *connection = handle->data;
    sk_server *server = connection->server;
    size_t wanted = 0;
    if (connection->in.len && !connection->pending) wanted = sk_resp_wanted(&connection->parser, connection->in.len);
    if (wanted > sizeof server->read)
        *buf = uv_buf_init((char *)sk_buf_reserve(&connection->in, wanted), (unsigned)wanted);
    else
        *buf = uv_buf_init((char *)server->read, sizeof server->read);
}

static void on_end(sk_connection *connection, int status)
{
    bool blocked = connection->client->block != SK_BLOCK_NONE && !asks_again(connection);
    connection->finished = true;
    /* A client that is only done with sending still gets its replies; one that waits for others is taken to be gone. */
    if (status != UV_EOF || blocked || is_done(connection))
        sk_connection_close(connection);
    else
        sk_connection_update(connection);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    sk_connection *connection = stream->data;
    sk_server *server = connection->server;
    if (len == 0 || connection->closing) return;
    server->event(server->self);
    if (len < 0) {
        on_end(connection, (int)len);
        return;
    }
    connection->active_ms = server->replica->now_ms;
    connection->client->active_ms = server->replica->wall_ms;
    server->stats.input_bytes += (uint64_t)len;
    if (connection->turn != server->turn) connection->turn_bytes = 0;
    connection->turn = server->turn;
    connection->turn_bytes += (size_t)len;
    sk_bytes fresh = sk_bytes_of(buf->base, (size_t)len);
    if (fresh.data != server->read)
        connection->in.len += fresh.len;
    else if (connection->in.len)
        sk_buf_bytes(&connection->in, fresh);
    process(connection, fresh);
}

static bool may_read(const sk_connection *connection)
{
    const sk_server *server = connection->server;
    if (connection->finished || connection->finishing || server->stopping || server->paused) return false;
    if (connection->out.bytes > server->config->listen.output_buffer_max / 2) return false;
    if (connection->client->block != SK_BLOCK_NONE) return connection->in.len <= BLOCKED_INPUT_MAX;
    if (connection->pending) return false;
    return connection->turn != server->turn || connection->turn_bytes < SK_SERVER_TURN_BYTES;
}

void sk_connection_update(sk_connection *connection)
{
    if (connection->closing) return;
    bool wanted = may_read(connection);
    if (wanted && !connection->reading)
        wanted = uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read) == 0;
    else if (!wanted && connection->reading)
        uv_read_stop((uv_stream_t *)&connection->tcp);
    connection->reading = wanted;
    bool later = connection->pending && may_execute(connection);
    bool rested = connection->turn == connection->server->turn && connection->turn_bytes >= SK_SERVER_TURN_BYTES;
    if ((later || rested) && sk_list_empty(&connection->ready))
        sk_list_append(&connection->server->ready, &connection->ready);
}

static void on_password(void *owner, sk_bytes password)
{
    sk_server_check_password(owner, password);
}

/* -- the beginning ------------------------------------------------------------------------------------------------ */

static void refuse(sk_connection *connection)
{
    static const char text[] = "-ERR max number of clients reached\r\n";
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text, sizeof text - 1);
    connection->server->stats.refused++;
    (void)uv_try_write((uv_stream_t *)&connection->tcp, &buf, 1);
    sk_log_limited(1, SK_LOG_WARN, "client.refused",
                   sk_log_uint("max_clients", connection->server->config->listen.max_clients));
    sk_connection_close(connection);
}

void sk_connection_accept(sk_server *server)
{
    sk_connection *connection = sk_alloc(sizeof *connection);
    connection->server = server;
    sk_list_init(&connection->all);
    sk_list_init(&connection->ready);
    sk_list_init(&connection->unsent);
    sk_list_init(&connection->unchecked);
    sk_resp_init(&connection->parser);
    connection->out.pool = &server->pool;
    uv_tcp_init(server->loop, &connection->tcp);
    connection->tcp.data = connection;
    server->stats.connections++;
    if (uv_accept((uv_stream_t *)&server->listener, (uv_stream_t *)&connection->tcp) != 0) {
        sk_connection_close(connection);
        return;
    }
    server->stats.accepted++;
    if (server->stopping || server->stats.connections > server->config->listen.max_clients) {
        refuse(connection);
        return;
    }
    uv_tcp_nodelay(&connection->tcp, 1);
    uv_tcp_keepalive(&connection->tcp, 1, KEEPALIVE_S);
    connection->client = sk_client_new(server->replica);
    sk_address_text(&connection->tcp, true, connection->client->address);
    sk_address_text(&connection->tcp, false, connection->client->local_address);
    connection->client->owner = connection;
    connection->client->unblocked = on_unblocked;
    connection->client->check_password = on_password;
    connection->active_ms = server->replica->now_ms;
    sk_list_append(&server->all, &connection->all);
    sk_connection_update(connection);
}
