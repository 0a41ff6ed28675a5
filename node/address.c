#include "node/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static bool is_host(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
    return len > 0 && len <= SK_ADDRESS_HOST_MAX && text[len] == 0;
}

bool sk_address_parse(const char *text, sk_address *address)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    char host[SK_ADDRESS_HOST_MAX + 3];
    char *name = host;
    if (len == 0 || len >= sizeof host) return false;
    memcpy(host, text, len);
    host[len] = 0;
    if (host[0] == '[') {
        struct in6_addr any;
        if (host[len - 1] != ']') return false;
        host[len - 1] = 0;
        name++;
        if (inet_pton(AF_INET6, name, &any) != 1) return false;
    } else if (!is_host(host)) {
        return false;
    }
    const char *digits = colon + 1;
    size_t count = strspn(digits, "0123456789");
    unsigned long port = count > 0 && count <= 5 && digits[count] == 0 ? strtoul(digits, NULL, 10) : 0;
    if (port < 1 || port > 65535) return false;
    strcpy(address->host, name);
    address->port = (uint16_t)port;
    return true;
}

void sk_address_print(const sk_address *address, char text[SK_ADDRESS_TEXT])
{
    bool bracket = strchr(address->host, ':') != NULL;
    snprintf(text, SK_ADDRESS_TEXT, "%s%s%s:%u", bracket ? "[" : "", address->host, bracket ? "]" : "",
             (unsigned)address->port);
}

bool sk_address_equal(const sk_address *a, const sk_address *b)
{
    return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

bool sk_address_numeric(const sk_address *address, struct sockaddr_storage *out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(address->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(address->port)};
    if (inet_pton(AF_INET, address->host, &v4.sin_addr) == 1)
        memcpy(out, &v4, sizeof v4);
    else if (inet_pton(AF_INET6, address->host, &v6.sin6_addr) == 1)
        memcpy(out, &v6, sizeof v6);
    else
        return false;
    return true;
}
