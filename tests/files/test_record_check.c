/* Checks of a record's entries that the recorded cases (golden_amct) do not have. */
#include "harness/harness.h"
#include "model/record.h"

#include <string.h>

static qf_context *context;

/* Checks the one entry of a record; `outputs` as in qf_record_layer. */
static qf_status check(const char *value, size_t outputs, qf_record_stage stage)
{
    const qf_record_layer layer = {"c", true, outputs};
    Amct__SingleLayerRecord *entry;
    assert_ok(context, qf_text_parse(context, "entry", value, strlen(value),
                                     &amct__single_layer_record__descriptor, &entry));
    qf_status status = qf_record_check(context, &layer, entry, stage);
    qf_message_free(entry);
    return status;
}

#define INPUT "scale_d: 0.5 offset_d: 3 "
#define WEIGHTS "scale_w: 1 scale_w: 2 offset_w: 0 offset_w: 0 "

static void shifts_by_stage(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *said[3]; /* by stage; NULL: it is good */
    } cases[] = {
        {INPUT WEIGHTS, {NULL, "cannot find shift_bit of layer c in record_file", NULL}},
        {INPUT WEIGHTS "shift_bit: 0 shift_bit: 0",
         {"shift_bit is not support, please delete shift_bit of layer c in record_file", NULL,
          NULL}},
        {INPUT WEIGHTS "shift_bit: 3",
         {"shift_bit is not support, please delete shift_bit of layer c in record_file",
          "scale_w's length, offset_w's length and shift_bit's length should be equal in layer c.",
          "scale_w's length, offset_w's length and shift_bit's length should be equal in layer "
          "c."}},
        {INPUT WEIGHTS "shift_bit: 0 shift_bit: 4",
         {"shift_bit is not support, please delete shift_bit of layer c in record_file",
          "shift_bit's value shoule be in [1, 16] or all be 0 in layer c",
          "shift_bit's value shoule be in [1, 16] or all be 0 in layer c"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int stage = QF_RECORD_GIVEN; stage <= QF_RECORD_RETRAINED; stage++) {
            const char *said = cases[i].said[stage];
            const qf_status status = check(cases[i].value, 2, (qf_record_stage)stage);
            assert_int_equal(status == QF_OK, said == NULL);
            if (said)
                assert_string_equal(qf_error_text(context), said);
        }
}

/* Calibration and training write 1 and 0 for AVE Pooling; a user's record may not. */
static void layers_without_weights(void **state)
{
    (void)state;
    const char *neutral = INPUT "scale_w: 1 offset_w: 0";
    assert_ok(context, check(INPUT, 0, QF_RECORD_GIVEN));
    assert_ok(context, check(neutral, 0, QF_RECORD_CALIBRATED));
    assert_ok(context, check(neutral, 0, QF_RECORD_RETRAINED));
    assert_fails(context, check(neutral, 0, QF_RECORD_GIVEN),
                 "find undesirable scale_w of layer c in record_file");
    assert_fails(context, check(INPUT "offset_w: 0", 0, QF_RECORD_GIVEN),
                 "find undesirable offset_w of layer c in record_file");
    assert_fails(context, check(INPUT "scale_w: 2 offset_w: 0", 0, QF_RECORD_CALIBRATED),
                 "find undesirable scale_w");
}

static void values(void **state)
{
    (void)state;
    assert_fails(context, check("scale_d: nan offset_d: 0", 0, QF_RECORD_GIVEN),
                 "scale_d's value shoule be in positivate range of float32 in layer c.");
    assert_fails(context, check("scale_d: 1 offset_d: -129", 0, QF_RECORD_GIVEN),
                 "offset_d's value should be in [-128, 127] in layer c.");
    assert_fails(context, check(INPUT "scale_w: 1 scale_w: 2 offset_w: 0", 2, QF_RECORD_GIVEN),
                 "scale_w's length, offset_w's length should be equal in layer c.");
}

static int setup(void **state)
{
    (void)state;
    context = test_context();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    qf_context_destroy(context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shifts_by_stage),
        cmocka_unit_test(layers_without_weights),
        cmocka_unit_test(values),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
