/* A layer of every type, with bottoms and parameters with which it runs. A new type is to be listed
 * in every_type.c. */
#ifndef QF_TESTS_EVERY_TYPE_H
#define QF_TESTS_EVERY_TYPE_H

#include "harness/harness.h"

enum { TEST_TYPE_BOTTOMS_MAX = 4 };

typedef enum test_type_kind {
    TEST_FLOAT,     /* stays as it is in quantisation */
    TEST_QUANTISED, /* does not */
    /* Stays as it is and reads what the tests do not have: in no pass. */
    TEST_ASLEEP,
    TEST_OF_THE_FLOW, /* AMCT's own: a net that has it is already prepared */
} test_type_kind;

/* Bottoms: a shape, filled from −1 to 1; "2 3 = 1", filled with 1; or "@x", the first top of layer
 * x. */
typedef struct test_type {
    const char *type, *bottoms[TEST_TYPE_BOTTOMS_MAX], *param;
    int tops;
    test_type_kind kind;
} test_type;

extern const test_type test_types[];
extern const size_t test_type_count;

/* The layer of a type's first row bears its name, those behind it a number more. qf_free() it. */
char *test_type_name(const test_type *type);
/* A DummyData layer "<layer>_in<index>" for such a bottom that is not "@x". */
void test_print_bottom(qf_buffer *out, const char *layer, int index, const char *bottom);

#endif
