/* The fast tiles of sums against plain loops; whole operations: tests/operations. */
#include "device/cpu/multiply/dot_product.h"
#include "harness/fixture.h"

/* All codes from the smallest to the largest, extremes often: they are what saturates. */
static unsigned random_code(void)
{
    unsigned draw = qf_random_below(&context->random, 512);
    return draw < 256 ? draw : draw < 384 ? 0 : 255;
}

/* Every number of vectors, codes of both extremes. */
static void tiles(void **state)
{
    (void)state;
    enum { TAPS = 3, STEPS = 5, BYTES = 4096, LONGEST = QF_DOT_COLUMNS * QF_DOT_DEPTH * 15 };
    static uint8_t x[BYTES];
    static int8_t w[LONGEST];
    const size_t tap[TAPS * QF_DOT_DEPTH] = {0, 700, 1333, 5, 64, 31, 90, 1000, 411, 2, 1500, 77};
    if (!qf_dot_tile_fast())
        skip();
    for (int round = 0; round < 40; round++) {
        qf_dot_operands operands = {tap, 1 + (size_t)round % TAPS, 1 + (size_t)round % STEPS};
        const int vectors = 1 + round / 2 % 4;
        const uint8_t *position[QF_DOT_ROWS];
        int32_t start[QF_DOT_COLUMNS], found[QF_DOT_ROWS * QF_DOT_COLUMNS],
            expected[QF_DOT_ROWS * QF_DOT_COLUMNS];
        for (int i = 0; i < BYTES; i++)
            x[i] = (uint8_t)random_code();
        for (int i = 0; i < LONGEST; i++)
            w[i] = (int8_t)((int)random_code() - 128);
        for (int i = 0; i < QF_DOT_COLUMNS; i++)
            start[i] = (int32_t)qf_random_below(&context->random, 2000001) - 1000000;
        for (int i = 0; i < QF_DOT_ROWS; i++)
            position[i] = x + qf_random_below(&context->random, 2000);
        if (round % 2) {
            operands.taps = QF_DOT_DEPTH * (1 + (size_t)round % TAPS);
            qf_depthwise_tile_fast()(position, &operands, w, start, vectors, found);
            qf_depthwise_tile_reference(position, &operands, w, start, vectors, expected);
        } else {
            qf_dot_tile_fast()(position, &operands, w, start, vectors, found);
            qf_dot_tile_reference(position, &operands, w, start, vectors, expected);
        }
        for (int row = 0; row < QF_DOT_ROWS; row++)
            assert_memory_equal(found + row * QF_DOT_COLUMNS, expected + row * QF_DOT_COLUMNS,
                                (size_t)vectors * QF_DOT_LANES * sizeof *found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tiles)};
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
