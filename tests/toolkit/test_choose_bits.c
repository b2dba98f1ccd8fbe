/* Choosing the bits of layers within a limit on what is lost and on how large the weights are. */
#include "harness/bits_net.h"
#include "harness/fixture.h"

#include <math.h>
#include <string.h>

static qf_status choose_within(const char *budget, double max_loss, uint64_t max_bytes,
                               int activation_bits, qf_bits_result **out)
{
    qf_qat_options net = {.size = sizeof net};
    qf_bits_options options = {.size = sizeof options};
    qf_qat_set_defaults(&net);
    net.model = "net.prototxt";
    net.weights = "net.caffemodel";
    net.train_data = "train_lmdb";
    net.test_data = "test_lmdb";
    net.scale = 1.0 / 256;
    qf_bits_set_defaults(&options);
    options.net = &net;
    options.batches = 1;
    options.max_loss = max_loss;
    options.max_bytes = max_bytes;
    options.budget = budget;
    options.activation_bits = activation_bits;
    return qf_choose_bits(context, &options, NULL, NULL, NULL, out);
}

/* Weights alone. */
static qf_status choose(double max_loss, uint64_t max_bytes, qf_bits_result **out)
{
    return choose_within(NULL, max_loss, max_bytes, 8, out);
}

static const qf_bits_row *chosen_of(const qf_bits_result *r)
{
    const qf_bits_row *found = NULL;
    for (size_t i = 0; i < r->rows; i++)
        if (r->row[i]->chosen) {
            assert_null(found);
            found = r->row[i];
        }
    assert_non_null(found);
    return found;
}

static uint64_t bytes_at(const qf_bits_result *r, int bits)
{
    uint64_t bytes = r->float_bytes;
    for (size_t i = 0; i < r->layers; i++)
        bytes -= r->layer[i]->weights * (uint64_t)(32 - (bits ? bits : r->layer[i]->bits)) / 8;
    return bytes;
}

static void any_loss_chooses_the_fewest(void **state)
{
    (void)state;
    qf_bits_result *r;
    assert_ok(context, choose(1e9, 0, &r));
    assert_int_equal(r->layers, 4); /* without AVE Pooling, which has no weights */
    assert_int_equal(r->layer[1]->weights, 8 * 8 * 3 * 3);
    assert_int_equal(r->row[0]->bytes, bytes_at(r, 8));
    for (size_t i = 1; i < r->rows; i++)
        assert_true(r->row[i]->bytes < r->row[i - 1]->bytes);
    assert_int_equal(r->row[r->rows - 1]->bytes, bytes_at(r, 4));
    assert_ptr_equal(chosen_of(r), r->row[r->rows - 1]);
    for (size_t i = 0; i < r->layers; i++)
        assert_int_equal(r->layer[i]->bits, 4);
    qf_bits_result_destroy(r);
}

static void a_choice_keeps_its_limit_and_is_a_configuration(void **state)
{
    (void)state;
    qf_bits_result *r;
    assert_ok(context, choose(1e9, 0, &r));
    const uint64_t least = bytes_at(r, 4), most = bytes_at(r, 8);
    qf_bits_result_destroy(r);
    assert_ok(context, choose(-1, (least + most) / 2, &r));
    const qf_bits_row *chosen = chosen_of(r);
    assert_true(chosen->bytes <= (least + most) / 2);
    assert_int_equal(chosen->bytes, bytes_at(r, 0)); /* layers are those of the row */
    for (size_t i = 0; i < r->rows; i++)
        assert_true(r->row[i]->bytes > (least + most) / 2 || r->row[i]->loss >= chosen->loss);
    assert_ok(context, qf_bits_write(context, r, "chosen.cfg"));
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "net.prototxt",
                                                      "net.caffemodel", "chosen.cfg"));
    assert_ok(context, test_bits_prepare());
    for (size_t i = 0; i < r->layers; i++)
        test_assert_bits(r->layer[i]->name, r->layer[i]->bits, 8);
    assert_ok(context, qf_bits_write(context, r, "chosen.json"));
    char *json = test_bits_text("chosen.json");
    assert_non_null(strstr(json, "\"chosen\": true"));
    qf_free(json);
    assert_ok(context, qf_bits_write(context, r, "chosen.svg"));
    char *picture = test_bits_text("chosen.svg");
    assert_non_null(strstr(picture, "fill='#d43'"));
    qf_free(picture);
    qf_bits_result_destroy(r);
}

/* Of all inputs, as the result's layers say; layers here do not share any. */
static uint64_t input_bytes_of(const qf_bits_result *r)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < r->layers; i++)
        bytes += (r->layer[i]->input_values * (uint64_t)r->layer[i]->activation_bits + 7) / 8;
    return bytes;
}

static void inputs_go_on_from_the_weights(void **state)
{
    (void)state;
    qf_bits_result *r;
    assert_ok(context, choose_within("100", 0, 0, 0, &r)); /* nothing loses more */
    assert_int_equal(r->layers, 4);
    assert_true(r->max_loss == 100);
    assert_int_equal(chosen_of(r)->bytes, bytes_at(r, 4));
    assert_int_equal(chosen_of(r)->input_bytes, input_bytes_of(r));
    for (size_t i = 0; i < r->layers; i++) {
        assert_int_equal(r->layer[i]->bits, 4);
        assert_int_equal(r->layer[i]->activation_bits, 4);
        assert_false(isnan(r->layer[i]->activation_cost4));
    }
    assert_int_equal(r->layer[0]->input_values, 28 * 28);
    assert_ok(context, qf_bits_write(context, r, "inputs.cfg"));
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "net.prototxt",
                                                      "net.caffemodel", "inputs.cfg"));
    assert_ok(context, test_bits_prepare());
    for (size_t i = 0; i < r->layers; i++)
        test_assert_bits(r->layer[i]->name, 4, 4);
    qf_bits_result_destroy(r);
}

static void inputs_keep_what_the_loss_leaves(void **state)
{
    (void)state;
    qf_bits_result *r;
    const qf_bits_row *before = NULL;
    assert_ok(context, choose_within("7", 0, 0, 0, &r));
    const qf_bits_row *chosen = chosen_of(r);
    assert_true(chosen->loss <= 7);
    for (size_t i = 0; i < r->rows; i++)
        before = r->row[i]->loss <= 7 && (!before || r->row[i]->bytes < before->bytes) ? r->row[i]
                                                                                       : before;
    assert_int_equal(chosen->bytes, before->bytes); /* weights came first */
    for (size_t i = 0; i < r->rows; i++)
        assert_true(r->row[i]->loss > 7 || r->row[i]->bytes > chosen->bytes ||
                    r->row[i]->input_bytes >= chosen->input_bytes);
    assert_int_equal(chosen->input_bytes, input_bytes_of(r));
    qf_bits_result_destroy(r);
}

static void a_size_alone_leaves_inputs_alone(void **state)
{
    (void)state;
    qf_bits_result *r;
    assert_ok(context, choose_within("80%", 0, 0, 0, &r));
    assert_true(r->max_loss < 0);
    assert_int_equal(r->max_bytes, r->row[0]->bytes * 8 / 10);
    assert_true(chosen_of(r)->bytes <= r->max_bytes);
    for (size_t i = 0; i < r->layers; i++) {
        assert_int_equal(r->layer[i]->activation_bits, 8);
        assert_true(isnan(r->layer[i]->activation_cost4));
    }
    qf_bits_result_destroy(r);
}

static void a_budget_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *found;
    } rows[] = {
        {"", "the budget \"\" is none; expected what may be lost (0.5"},
        {"0.5,", "the budget \"0.5,\" is none"},
        {"half", "is none"},
        {"-1", "is none"},
        {"nan", "is none"},
        {".", "is none"},
        {"1e999", "has a unit that is not known"},
        {"1,2", "says two losses"},
        {"1K,50%", "says two sizes"},
        {"600", "allows more than 100 points of loss; a size has a unit"},
        {"3 apples", "has a unit that is not known"},
        {"0K", "leaves no room for weights"},
        {"0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
         "0000000000000000000000000000000000000000000001",
         "is too long"},
    };
    qf_bits_result *r;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_fails(context, choose_within(rows[i].text, 0, 0, 8, &r), rows[i].found);
        assert_null(r);
    }
    assert_fails(context, choose_within(" 50 , 0.25 KiB", 0, 0, 8, &r),
                 "no choice of bits keeps the limits");
    assert_true(r->max_loss == 50);
    assert_int_equal(r->max_bytes, 256);
    qf_bits_result_destroy(r);
}

static void limits_that_cannot_be_kept_are_refused(void **state)
{
    (void)state;
    qf_bits_result *r;
    assert_fails(context, choose(1e9, 1, &r), "no choice of bits keeps the limits: the smallest");
    assert_non_null(r); /* what was measured is worth a look */
    assert_true(r->rows > 1);
    qf_bits_result_destroy(r);
    qf_bits_options options = {.size = sizeof options};
    qf_bits_set_defaults(&options);
    assert_fails(context, qf_choose_bits(context, &options, NULL, NULL, NULL, &r),
                 "a model and its weights are needed");
    assert_null(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_loss_chooses_the_fewest),
        cmocka_unit_test(a_choice_keeps_its_limit_and_is_a_configuration),
        cmocka_unit_test(inputs_go_on_from_the_weights),
        cmocka_unit_test(inputs_keep_what_the_loss_leaves),
        cmocka_unit_test(a_size_alone_leaves_inputs_alone),
        cmocka_unit_test(a_budget_is_read),
        cmocka_unit_test(limits_that_cannot_be_kept_are_refused),
    };
    return cmocka_run_group_tests(tests, test_bits_start, test_stop_in_folder);
}
