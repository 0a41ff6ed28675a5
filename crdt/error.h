/* One table of everything that can go wrong, for every layer.
 *
 * A function that can fail returns 0 (or a count) or one of these negative codes. Each has a class, which tells the
 * caller what to do next, and a sentence that a person can act on. Codes travel in goodbyes between nodes and in logs:
 * their numbers are fixed; a new one goes at the end. */
#ifndef SK_CRDT_ERROR_H
#define SK_CRDT_ERROR_H

typedef enum {
    SK_CLASS_OK,     /* nothing is wrong */
    SK_CLASS_RETRY,  /* the same may work later */
    SK_CLASS_REFUSE, /* this request is wrong; the session goes on */
    SK_CLASS_HANGUP, /* the other side cannot be trusted to go on: close the connection */
    SK_CLASS_FATAL,  /* the node must stop (or must not start) */
} sk_class;

/* X(name, number, class, sentence) */
#define SK_ERRORS(X)                                                                                                    \
    X(SK_E_MEMORY, -1, SK_CLASS_RETRY, "a memory limit was reached")                                                    \
    X(SK_E_PARTIAL, -2, SK_CLASS_RETRY, "more bytes are needed")                                                        \
    X(SK_E_MALFORMED, -3, SK_CLASS_HANGUP, "the bytes do not follow the format")                                        \
    X(SK_E_TOO_LARGE, -4, SK_CLASS_HANGUP, "a length is over its limit")                                                \
    X(SK_E_VERSION, -5, SK_CLASS_HANGUP, "the protocol version is not one that this node speaks")                       \
    X(SK_E_AUTH, -6, SK_CLASS_HANGUP, "the other side's key is not one that this node trusts")                          \
    X(SK_E_CRYPTO, -7, SK_CLASS_HANGUP, "a frame failed its authentication")                                            \
    X(SK_E_CLUSTER, -8, SK_CLASS_HANGUP, "the other node belongs to another cluster, or is not the region expected")    \
    X(SK_E_PROTOCOL, -9, SK_CLASS_HANGUP, "a message came that has no place here")                                      \
    X(SK_E_IO, -10, SK_CLASS_RETRY, "the disk answered with an error")                                                  \
    X(SK_E_DISK_FULL, -11, SK_CLASS_RETRY, "the disk is full")                                                          \
    X(SK_E_CORRUPT, -12, SK_CLASS_FATAL, "stored data is damaged")                                                      \
    X(SK_E_FORMAT, -13, SK_CLASS_FATAL, "the data directory has a format that this binary does not read")               \
    X(SK_E_LOCKED, -14, SK_CLASS_FATAL, "another process holds the data directory")                                     \
    X(SK_E_REGION, -15, SK_CLASS_FATAL, "the data directory belongs to another region or cluster")                      \
    X(SK_E_CONFIG, -16, SK_CLASS_FATAL, "the configuration is not valid")                                               \
    X(SK_E_RANGE, -17, SK_CLASS_REFUSE, "a number is out of range")                                                     \
    X(SK_E_CONFLICT, -18, SK_CLASS_REFUSE, "the value has conflicting siblings")                                        \
    X(SK_E_TYPE, -19, SK_CLASS_REFUSE, "the key holds another kind of value")                                           \
    X(SK_E_GAP, -20, SK_CLASS_RETRY, "transactions are missing before these")                                           \
    X(SK_E_BUSY, -21, SK_CLASS_RETRY, "another transfer is under way")                                                  \
    X(SK_E_LIMIT, -22, SK_CLASS_REFUSE, "a documented limit was reached")                                               \
    X(SK_E_TIMEOUT, -23, SK_CLASS_RETRY, "no answer came in time")                                                      \
    X(SK_E_DUPLICATE, -24, SK_CLASS_RETRY, "another connection to the same region is in use")                           \
    X(SK_E_SHUTDOWN, -25, SK_CLASS_RETRY, "the node is shutting down")                                                  \
    X(SK_E_LINK_DOWN, -26, SK_CLASS_RETRY, "an operator took this link out of service")                                 \
    X(SK_E_FORGOTTEN, -27, SK_CLASS_RETRY, "this region was forgotten there (skerryctl region forget); add it again "   \
      "there (skerryctl region add) and it rejoins with its writes")                                                    \
    X(SK_E_CLASH, -28, SK_CLASS_RETRY, "two databases were added as the region of this name, and the other one counts; " \
      "forget one of them there (skerryctl region forget), then add the right one")                                     \
    X(SK_E_REPLACED, -29, SK_CLASS_RETRY, "this region was given another key there (skerryctl region rekey), and the "  \
      "time of the old one is over")

typedef enum {
    SK_OK = 0,
#define SK_ERROR_ENUM(name, number, class, sentence) name = number,
    SK_ERRORS(SK_ERROR_ENUM)
#undef SK_ERROR_ENUM
} sk_error;

/** The sentence for a code; "unknown error" for a number that is not in the table. Static. */
const char *sk_error_text(int code);

/** The class of a code; SK_CLASS_FATAL for a number that is not in the table. */
sk_class sk_error_class(int code);

#endif
