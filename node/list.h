/* Lists whose links lie inside their members: a member enters and leaves in constant time and without allocation, and
 * may be in several at once. A list is a ring through its head; a member that is in no list points to itself. */
#ifndef SK_NODE_LIST_H
#define SK_NODE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct sk_list sk_list;
struct sk_list {
    sk_list *next, *previous;
};

/** The struct of which `link` is the member `field`. */
#define SK_LIST_OWNER(link, type, field) ((type *)(void *)((char *)(link)-offsetof(type, field)))

static inline void sk_list_init(sk_list *list) { list->next = list->previous = list; }

/** For a head: no members. For a member: in no list. */
static inline bool sk_list_empty(const sk_list *list) { return list->next == list; }

/** Adds a member that is in no list. */
static inline void sk_list_append(sk_list *head, sk_list *member)
{
    member->previous = head->previous;
    member->next = head;
    head->previous->next = member;
    head->previous = member;
}

/** Does nothing to one that is in no list. */
static inline void sk_list_remove(sk_list *member)
{
    member->previous->next = member->next;
    member->next->previous = member->previous;
    sk_list_init(member);
}

/** Moves all members of `from` into `to`, which is empty. */
static inline void sk_list_move(sk_list *from, sk_list *to)
{
    if (sk_list_empty(from)) return;
    *to = *from;
    to->next->previous = to->previous->next = to;
    sk_list_init(from);
}

#endif
