/* What is said of a peer, and what must hold between fields that are each good. */
#include "node/config_field.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

static bool complain(char why[SK_CONFIG_WHY_MAX], const char *text, const char *what)
{
    char shown[250];
    sk_config_show(text, shown, sizeof shown);
    snprintf(why, SK_CONFIG_WHY_MAX, "%.100s %s", shown, what);
    return false;
}

/* -- a peer's members --------------------------------------------------------------------------------------------- */

static bool store_address(sk_config_peer *peer, const char *text, char why[SK_CONFIG_WHY_MAX])
{
    sk_address address;
    if (!sk_address_parse(text, &address))
        return complain(why, text, "is not host:port (such as 10.0.0.2:7201 or [::1]:7201)");
    for (size_t i = 0; i < peer->address_count; i++)
        if (sk_address_equal(&address, &peer->addresses[i])) return complain(why, text, "is given twice");
    if (peer->address_count == SK_CONFIG_ADDRESSES_MAX)
        return complain(why, text, "is one too many: a peer has at most 8 addresses");
    peer->addresses[peer->address_count++] = address;
    return true;
}

static bool read_key(const char *text, uint8_t key[SK_CONFIG_KEY_BYTES])
{
    static const int variants[] = {sodium_base64_VARIANT_ORIGINAL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING,
                                   sodium_base64_VARIANT_URLSAFE, sodium_base64_VARIANT_URLSAFE_NO_PADDING};
    size_t len = strlen(text), got = 0;
    if (len == 2 * SK_CONFIG_KEY_BYTES) {
        return sodium_hex2bin(key, SK_CONFIG_KEY_BYTES, text, len, NULL, &got, NULL) == 0 && got == SK_CONFIG_KEY_BYTES;
    }
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        if (sodium_base642bin(key, SK_CONFIG_KEY_BYTES, text, len, NULL, &got, NULL, variants[i]) == 0 &&
            got == SK_CONFIG_KEY_BYTES) {
            return true;
        }
    }
    return false;
}

/* One of the few points with which every secret gives the same answer is nobody's key (RFC 7748, section 6.1). */
static bool is_usable_key(const uint8_t key[SK_CONFIG_KEY_BYTES])
{
    static const uint8_t secret[crypto_scalarmult_SCALARBYTES] = {8};
    uint8_t shared[crypto_scalarmult_BYTES];
    return crypto_scalarmult(shared, secret, key) == 0;
}

bool sk_config_peer_store(sk_config_peer *peer, const char *key, const char *text, char why[SK_CONFIG_WHY_MAX])
{
    why[0] = 0;
    if (strcmp(key, "region") == 0) {
        if (!sk_config_is_region(text)) {
            return complain(why, text, "is not a region's name (1 to 32 of a to z, 0 to 9 and -)");
        }
        strcpy(peer->region, text);
        return true;
    }
    if (strcmp(key, "address") == 0) {
        return store_address(peer, text, why);
    }
    if (strcmp(key, "public_key") == 0) {
        uint8_t bytes[SK_CONFIG_KEY_BYTES];
        if (!read_key(text, bytes)) return complain(why, text, "is not a public key (32 bytes in hex or base64)");
        if (!is_usable_key(bytes)) return complain(why, text, "is not a public key that can be trusted");
        memcpy(peer->public_key, bytes, sizeof bytes);
        return true;
    }
    return false;
}

void sk_config_peer_print(const sk_config_peer *peer, sk_buf *out)
{
    char key[2 * SK_CONFIG_KEY_BYTES + 1], address[SK_ADDRESS_TEXT];
    bool list = peer->address_count > 1;
    sodium_bin2hex(key, sizeof key, peer->public_key, sizeof peer->public_key);
    sk_buf_printf(out, "{\"region\": \"%s\", ", peer->region);
    for (size_t i = 0; i < peer->address_count; i++) {
        sk_address_print(&peer->addresses[i], address);
        sk_buf_printf(out, "%s%s\"%s\"", i ? ", " : "\"address\": ", i == 0 && list ? "[" : "", address);
    }
    sk_buf_printf(out, "%s%s\"public_key\": \"%s\"}", list ? "]" : "", peer->address_count ? ", " : "", key);
}

/* -- between fields ----------------------------------------------------------------------------------------------- */

static const sk_config_field *blame(const char *path)
{
    for (size_t i = 0; i < sk_config_count(); i++) {
        if (strcmp(sk_config_fields[i].path, path) == 0) return &sk_config_fields[i];
    }
    sk_assert(!"a field that the table has");
    return NULL;
}

static bool is_loopback(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, address, &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, address, &v6) != 1) return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

static bool is_everything(const char *address) { return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0; }

const sk_config_field *sk_config_conflict(const sk_config *config, char why[SK_CONFIG_WHY_MAX])
{
    const char *clients = config->listen.address, *peers = config->replication.address;
    if (!is_loopback(clients) && !config->listen.password_hash && !config->listen.allow_public_without_password) {
        snprintf(why, SK_CONFIG_WHY_MAX,
                 "other machines can reach %s: set listen.password_hash, or listen.allow_public_without_password: true",
                 clients);
        return blame("listen.address");
    }
    bool joins_peer = !config->join.region;
    for (size_t i = 0; i < config->peer_count && !joins_peer; i++)
        joins_peer = strcmp(config->peers[i].region, config->join.region) == 0;
    if (!joins_peer) {
        snprintf(why, SK_CONFIG_WHY_MAX, "%s is not one of the peers", config->join.region);
        return blame("join.region");
    }
    if (config->listen.port == config->replication.port &&
        (strcmp(clients, peers) == 0 || is_everything(clients) || is_everything(peers))) {
        snprintf(why, SK_CONFIG_WHY_MAX, "%u is also listen.port; clients and regions need a port each",
                 (unsigned)config->replication.port);
        return blame("replication.port");
    }
    if (config->listen.query_buffer_max < config->listen.bulk_max) {
        snprintf(why, SK_CONFIG_WHY_MAX, "a command must have room for one argument: at least listen.bulk_max");
        return blame("listen.query_buffer_max");
    }
    if (config->storage.backup_dir && config->storage.backup_dir[0] != '/') {
        snprintf(why, SK_CONFIG_WHY_MAX, "%.64s is not a whole path, from / on", config->storage.backup_dir);
        return blame("storage.backup_dir");
    }
    return NULL;
}
