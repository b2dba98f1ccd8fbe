/* ONNX models as files: in one, in two, damaged ones, and ones that reach for other files. */
#include "harness/fixture.h"
#include "onnx/onnx_file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGE = 5000, SMALL = 10 };

static void add_tensor(Onnx__Graph *graph, const char *name, size_t size)
{
    Onnx__Tensor *tensor;
    assert_ok(context, qf_message_new(context, &onnx__tensor__descriptor, &tensor));
    assert_ok(context, qf_set_string(context, &tensor->name, name));
    tensor->has_raw_data = true;
    tensor->raw_data = (ProtobufCBinaryData){size, malloc(size)};
    for (size_t i = 0; i < size; i++)
        tensor->raw_data.data[i] = (uint8_t)(i * 7 + size);
    assert_ok(context, qf_append(context, &graph->n_initializer, &graph->initializer, &tensor,
                                 sizeof tensor));
}

static Onnx__Model *make_model(void)
{
    Onnx__Model *model;
    assert_ok(context, qf_message_new(context, &onnx__model__descriptor, &model));
    model->has_ir_version = true;
    model->ir_version = 8;
    assert_ok(context, qf_message_new(context, &onnx__graph__descriptor, &model->graph));
    add_tensor(model->graph, "first", LARGE);
    add_tensor(model->graph, "few", SMALL);
    add_tensor(model->graph, "second", LARGE + 1);
    return model;
}

static void assert_is_whole(const Onnx__Model *model)
{
    static const size_t sizes[] = {LARGE, SMALL, LARGE + 1};
    assert_int_equal(model->graph->n_initializer, 3);
    for (int t = 0; t < 3; t++) {
        const Onnx__Tensor *tensor = model->graph->initializer[t];
        assert_int_equal(tensor->data_location, ONNX__TENSOR__LOCATION__IN_MODEL);
        assert_int_equal(tensor->raw_data.len, sizes[t]);
        for (size_t i = 0; i < sizes[t]; i++)
            assert_int_equal(tensor->raw_data.data[i], (uint8_t)(i * 7 + sizes[t]));
    }
}

static void in_one_file(void **state)
{
    (void)state;
    Onnx__Model *model = make_model(), *again;
    assert_ok(context, qf_onnx_write(context, "one.onnx", model));
    assert_false(qf_file_exists("one.onnx.data"));
    assert_ok(context, qf_onnx_read(context, "one.onnx", &again));
    assert_is_whole(again);
    qf_message_free(model);
    qf_message_free(again);
}

static void above_the_limit_in_two(void **state)
{
    (void)state;
    Onnx__Model *model = make_model(), *again;
    assert_ok(context, qf_context_set_limit(context, "file_bytes", LARGE));
    assert_ok(context, qf_onnx_write(context, "two.onnx", model));
    assert_is_whole(model);
    assert_ok(context, qf_context_set_limit(context, "file_bytes", 1 << 20));
    qf_buffer data = {0};
    assert_ok(context, qf_file_read(context, "two.onnx.data", &data));
    assert_int_equal(data.size, 2 * 4096 + LARGE + 1); /* the second begins at a page */
    qf_buffer_release(&data);
    assert_ok(context, qf_onnx_read(context, "two.onnx", &again));
    assert_is_whole(again);
    qf_message_free(model);
    qf_message_free(again);

    assert_int_equal(truncate("two.onnx.data", LARGE), 0);
    assert_fails(context, qf_onnx_read(context, "two.onnx", &again), "tensor second");
    assert_null(again);
    assert_int_equal(unlink("two.onnx.data"), 0);
    assert_fails(context, qf_onnx_read(context, "two.onnx", &again), "cannot open two.onnx.data");
}

/* A location outside the model's folder is refused, whether or not something is there. */
static void other_files_stay_unread(void **state)
{
    (void)state;
    static const char *const locations[] = {"/etc/hostname", "../x", "a/../../x", "..", ""};
    for (size_t i = 0; i < sizeof locations / sizeof *locations; i++) {
        Onnx__Model *model = make_model(), *again;
        Onnx__Tensor *tensor = model->graph->initializer[0];
        Onnx__Property *location;
        assert_ok(context, qf_message_new(context, &onnx__property__descriptor, &location));
        assert_ok(context, qf_set_string(context, &location->key, "location"));
        assert_ok(context, qf_set_string(context, &location->value, locations[i]));
        assert_ok(context, qf_append(context, &tensor->n_external_data, &tensor->external_data,
                                     &location, sizeof location));
        tensor->has_data_location = true;
        tensor->data_location = ONNX__TENSOR__LOCATION__EXTERNAL;
        assert_ok(context, qf_onnx_write(context, "other.onnx", model));
        assert_fails(context, qf_onnx_read(context, "other.onnx", &again),
                     "which is no file beside the model");
        qf_message_free(model);
    }
}

static void no_model_at_all(void **state)
{
    (void)state;
    Onnx__Model *model;
    assert_ok(context, qf_file_write(context, "text.onnx", "name: \"net\"\n", 12, 0644));
    assert_fails(context, qf_onnx_read(context, "text.onnx", &model),
                 "but an ONNX model is expected");
    assert_null(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_one_file),
        cmocka_unit_test(above_the_limit_in_two),
        cmocka_unit_test(other_files_stay_unread),
        cmocka_unit_test(no_model_at_all),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
