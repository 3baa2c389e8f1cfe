/* Intrusive list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include <cmocka.h>

struct item {
    int value;
    struct list link;
};

static int pop_value(struct list *head) {
    struct list *n = list_pop(head);
    return n ? CONTAINER_OF(n, struct item, link)->value : -1;
}

static void items_come_out_in_order(void **state) {
    (void)state;
    struct list head;
    struct item items[4];
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop(&head));
    for (int i = 0; i < 4; i++) {
        items[i].value = i;
        list_node_init(&items[i].link);
        assert_false(list_linked(&items[i].link));
    }
    list_add_tail(&head, &items[1].link);
    list_add_tail(&head, &items[2].link);
    list_add_head(&head, &items[0].link);
    list_add_tail(&head, &items[3].link);
    assert_true(list_linked(&items[2].link));
    list_del(&items[2].link);
    assert_false(list_linked(&items[2].link));
    list_del(&items[2].link); /* not on a list: nothing happens */
    assert_int_equal(pop_value(&head), 0);
    assert_int_equal(pop_value(&head), 1);
    assert_int_equal(pop_value(&head), 3);
    assert_int_equal(pop_value(&head), -1);
    assert_true(list_empty(&head));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(items_come_out_in_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
