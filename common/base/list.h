/* Intrusive doubly linked list. A node that is on no list has next == NULL after list_node_init or list_del. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};
static inline void list_init(struct list *head) {
    head->next = head->prev = head;
}
static inline void list_node_init(struct list *n) {
    n->next = n->prev = NULL;
}
static inline bool list_empty(const struct list *head) {
    return head->next == head;
}
static inline bool list_linked(const struct list *n) {
    return n->next != NULL;
}
static inline void list_add_tail(struct list *head, struct list *n) {
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}
static inline void list_add_head(struct list *head, struct list *n) {
    n->next = head->next;
    n->prev = head;
    head->next->prev = n;
    head->next = n;
}
static inline void list_del(struct list *n) {
    if (!n->next) return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->next = n->prev = NULL;
}
static inline struct list *list_pop(struct list *head) {
    if (list_empty(head)) return NULL;
    struct list *n = head->next;
    list_del(n);
    return n;
}

#endif
