/* Messages from a peer that may say anything: the input is a sequence of messages (two bytes of length, big endian,
 * before each), told to a node that has shaken hands with an honest one. It must stay whole, and never apply what it
 * should not (the world's own checks). The same input also goes to a node that still waits for a hello. */
#include "../unit/engine_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hear(world *w, const uint8_t *data, size_t size)
{
    while (size >= 2) {
        size_t len = (size_t)data[0] << 8 | data[1];
        data += 2;
        size -= 2;
        if (len > size) len = size;
        uint8_t *copy = sk_alloc(len ? len : 1); /* exactly its size, so that a read beyond it is seen */
        if (len) memcpy(copy, data, len);
        sk_engine_message(w->nodes[0].engine, peer_of(w, 0, 1), sk_bytes_of(copy, len), w->now_ms, w->wall_ms);
        free(copy);
        data += len;
        size -= len;
        w->now_ms += 20;
        node_sync(&w->nodes[0]);
        sk_engine_tick(w->nodes[0].engine, w->now_ms, w->wall_ms);
        sk_engine_check(w->nodes[0].engine);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 4;
    limits.held_bytes_max = 2000;
    for (int greeted = 0; greeted < 2; greeted++) {
        world *w = world_new(3, &limits);
        if (greeted) {
            for (int i = 0; i < 6; i++) node_write(&w->nodes[i % 3]);
            world_run(w, 30);
            sk_vv_copy(&w->nodes[0].forgotten, &w->nodes[0].durable); /* whoever knows less is for a reconcile */
        } else {
            link_up(w, 0, 1);
        }
        w->lenient = true; /* a liar's operations are not those that the world writes */
        hear(w, data, size);
        world_free(w);
    }
    return 0;
}
