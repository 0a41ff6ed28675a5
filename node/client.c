#include "node/client.h"

#include "node/export.h"
#include "node/replica.h"

#include <stdlib.h>

sk_client *sk_client_new(sk_replica *replica)
{
    sk_client *client = sk_alloc(sizeof *client);
    client->id = ++replica->next_client_id;
    client->replica = replica;
    client->proto = 2;
    client->authenticated = replica->options.password_hash == NULL;
    client->connected_ms = client->active_ms = replica->wall_ms;
    client->next = replica->clients;
    if (client->next) client->next->previous = client;
    replica->clients = client;
    replica->client_count++;
    return client;
}

void sk_client_discard(sk_client *client)
{
    for (size_t i = 0; i < client->queue_count; i++) free(client->queue[i].argv);
    free(client->queue);
    client->queue = NULL;
    client->queue_count = client->queue_bytes = 0;
    client->queue_flags = 0;
    client->in_multi = client->multi_failed = false;
    sk_unwatch(&client->replica->watches, client);
}

void sk_client_password_checked(sk_client *client, bool fits)
{
    sk_assert(client->block == SK_BLOCK_PASSWORD);
    client->block = SK_BLOCK_NONE;
    client->replica->blocked_count--;
    client->password_wrong = !fits;
}

void sk_client_export_close(sk_client *client)
{
    sk_export_close(client->export);
    client->export = NULL;
}

void sk_client_end_transfers(sk_client *client)
{
    sk_client_export_close(client);
    if (client->replica->importer == client) sk_replica_import_abort(client->replica);
}

void sk_client_free(sk_client *client)
{
    sk_replica *replica = client->replica;
    sk_client_end_transfers(client);
    if (client->block != SK_BLOCK_NONE) replica->blocked_count--;
    sk_client_discard(client);
    if (client->next) client->next->previous = client->previous;
    if (client->previous)
        client->previous->next = client->next;
    else
        replica->clients = client->next;
    replica->client_count--;
    sk_buf_free(&client->name);
    sk_buf_free(&client->library_name);
    sk_buf_free(&client->library_version);
    sk_vv_free(&client->block_vv);
    sk_buf_free(&client->block_key);
    free(client);
}
