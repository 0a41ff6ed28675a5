/* Where a region listens: "host:port" as people write it. The host is a name, an IPv4 address, or an IPv6 address in
 * brackets; names are looked up by whoever dials, each time anew. */
#ifndef SK_NODE_ADDRESS_H
#define SK_NODE_ADDRESS_H

#include "crdt/memory.h"

#include <sys/socket.h>

enum {
    SK_ADDRESS_HOST_MAX = 253,                      /* characters of a name */
    SK_ADDRESS_TEXT = SK_ADDRESS_HOST_MAX + 10,     /* bytes of the longest text, brackets, port and NUL included */
};

typedef struct {
    char host[SK_ADDRESS_HOST_MAX + 1]; /* an IPv6 address stands here without its brackets */
    uint16_t port;                      /* 1 to 65535 */
} sk_address;

/** Reads "host:port" or "[IPv6]:port". False, and nothing changed, if it is neither. */
bool sk_address_parse(const char *text, sk_address *address);
/** As sk_address_parse reads it. */
void sk_address_print(const sk_address *address, char text[SK_ADDRESS_TEXT]);
/** Names are compared without regard to case. */
bool sk_address_equal(const sk_address *a, const sk_address *b);
/** The socket address, if the host is a number and no name that must be looked up. */
bool sk_address_numeric(const sk_address *address, struct sockaddr_storage *out);

#endif
