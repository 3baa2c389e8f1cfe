/* Which waiting posts go together: full batches, one post a key, lone ones by themselves, and nobody overtaken for
 * good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "feedd/publish.h"

static struct publish_item items[300];
static struct list waiting;
static struct publish_item *batch[PUBLISH_BATCH_MAX];

static int setup(void **state) {
    (void)state;
    list_init(&waiting);
    for (size_t i = 0; i < ARRAY_LEN(items); i++) items[i] = (struct publish_item){.author_id = i + 1};
    return 0;
}

static void wait_for(size_t i) {
    list_add_tail(&waiting, &items[i].link);
}

static void test_in_order_and_bounded(void **state) {
    (void)state;
    assert_int_equal(publish_take(&waiting, batch), 0);
    for (size_t i = 0; i < 250; i++) wait_for(i);
    assert_int_equal(publish_take(&waiting, batch), 100);
    assert_ptr_equal(batch[0], &items[0]);
    assert_ptr_equal(batch[99], &items[99]);
    assert_int_equal(publish_take(&waiting, batch), 100);
    assert_int_equal(publish_take(&waiting, batch), 50);
    assert_ptr_equal(batch[49], &items[249]);
    assert_true(list_empty(&waiting));
}

static void test_one_post_a_key(void **state) {
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        items[i].author_id = 1;
        items[i].key = STR("k");
        wait_for(i);
    }
    items[2].author_id = 2;  /* another author's key */
    items[3].key = STR("l"); /* another key */
    assert_int_equal(publish_take(&waiting, batch), 3);
    assert_ptr_equal(batch[0], &items[0]);
    assert_ptr_equal(batch[1], &items[2]);
    assert_ptr_equal(batch[2], &items[3]);
    assert_int_equal(publish_take(&waiting, batch), 1);
    assert_ptr_equal(batch[0], &items[1]);
}

static void test_without_key_all_go(void **state) {
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        items[i].author_id = 1;
        wait_for(i);
    }
    assert_int_equal(publish_take(&waiting, batch), 5);
}

static void test_alone(void **state) {
    (void)state;
    items[0].alone = items[1].alone = true;
    for (size_t i = 0; i < 4; i++) wait_for(i);
    assert_int_equal(publish_take(&waiting, batch), 1);
    assert_ptr_equal(batch[0], &items[0]);
    assert_int_equal(publish_take(&waiting, batch), 1);
    assert_ptr_equal(batch[0], &items[1]);
    assert_int_equal(publish_take(&waiting, batch), 2);
}

static void test_alone_waits_for_its_own_turn(void **state) {
    (void)state;
    items[1].alone = true;
    for (size_t i = 0; i < 3; i++) wait_for(i);
    assert_int_equal(publish_take(&waiting, batch), 2);
    assert_ptr_equal(batch[1], &items[2]);
    assert_int_equal(publish_take(&waiting, batch), 1);
    assert_ptr_equal(batch[0], &items[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_in_order_and_bounded, setup),
        cmocka_unit_test_setup(test_one_post_a_key, setup),
        cmocka_unit_test_setup(test_without_key_all_go, setup),
        cmocka_unit_test_setup(test_alone, setup),
        cmocka_unit_test_setup(test_alone_waits_for_its_own_turn, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
