/* Weights that stay in the file's buffer against the usual way through messages: the same values
 * and the same verdict, whole, cut off and damaged. */
#include "harness/harness.h"
#include "net/net.h"

#include <string.h>
#include <unistd.h>

static const char net_text[] =
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 7 dim: 9 dim: 9 } "
    "} }"
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param {"
    "  num_output: 13 kernel_size: 3 weight_filler { type: 'xavier' } } }"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'c' top: 'ip' inner_product_param {"
    "  num_output: 11 weight_filler { type: 'xavier' } bias_filler { type: 'constant' value: 2 } } "
    "}";

typedef struct files {
    qf_context *context;
    char *folder, *model, *weights, *damaged;
    qf_buffer whole;
} files;

static int start(void **state)
{
    files *f = qf_alloc(1, sizeof *f);
    qf_net *net;
    f->context = test_context();
    f->folder = test_make_directory();
    f->model = test_format("%s/net.prototxt", f->folder);
    f->weights = test_format("%s/net.caffemodel", f->folder);
    f->damaged = test_format("%s/damaged.caffemodel", f->folder);
    qf_context_set_seed(f->context, 3);
    assert_ok(f->context, qf_file_write(f->context, f->model, net_text, strlen(net_text), 0644));
    assert_ok(f->context, qf_net_create(f->context, f->model, QF_TEST, 0, NULL, 0, &net));
    assert_ok(f->context, qf_net_save_weights(net, f->weights));
    assert_ok(f->context, qf_file_read(f->context, f->weights, &f->whole));
    qf_net_destroy(net);
    *state = f;
    return 0;
}

static int stop(void **state)
{
    files *f = *state;
    test_remove_directory(f->folder);
    qf_buffer_release(&f->whole);
    char *names[] = {f->folder, f->model, f->weights, f->damaged};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        qf_free(names[i]);
    qf_context_destroy(f->context);
    qf_free(f);
    return 0;
}

static qf_status load_usual(qf_net *net, const char *path)
{
    Caffe__NetParameter *weights;
    QF_TRY(qf_net_param_read_binary(net->context, path, &weights));
    qf_status status = qf_net_copy_weights(net, weights);
    qf_message_free(weights);
    return status == QF_OK ? qf_net_check_weights(net, path) : status;
}

static void check(files *f, const void *bytes, size_t size)
{
    FILE *file = fopen(f->damaged, "wb"); /* not the library's: it syncs each time */
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    qf_net *net[2];
    qf_status status[2];
    for (int i = 0; i < 2; i++) {
        qf_context_set_seed(f->context, 4);
        assert_ok(f->context, qf_net_create(f->context, f->model, QF_TEST, 0, NULL, 0, &net[i]));
        status[i] = i ? qf_net_load_weights(net[i], f->damaged) : load_usual(net[i], f->damaged);
    }
    assert_int_equal(status[0], status[1]);
    for (int p = 0; p < net[0]->learnable_count; p++) {
        const float *values[2];
        for (int i = 0; i < 2; i++)
            assert_ok(f->context, qf_blob_data(net[i]->learnables[p].blob, &values[i]));
        assert_memory_equal(values[0], values[1],
                            qf_blob_count(net[0]->learnables[p].blob) * sizeof(float));
    }
    qf_net_destroy(net[0]);
    qf_net_destroy(net[1]);
}

static void whole_file(void **state)
{
    files *f = *state;
    qf_weights weights;
    assert_ok(f->context, qf_weights_read(f->context, f->weights, &weights));
    assert_int_equal(weights.borrowers, 2); /* the two biases are small */
    qf_weights_release(&weights);
    check(f, f->whole.data, f->whole.size);
}

static void cut_off(void **state)
{
    files *f = *state;
    for (size_t size = 0; size < f->whole.size; size += size < 600 ? 7 : 401)
        check(f, f->whole.data, size);
}

static void damaged(void **state)
{
    files *f = *state;
    char *copy = qf_alloc(f->whole.size, 1);
    for (int round = 0; round < 300; round++) {
        memcpy(copy, f->whole.data, f->whole.size);
        /* mostly where tags and lengths are */
        const uint32_t reach = round % 4 ? 500 : (uint32_t)f->whole.size;
        for (int flips = 1 + round % 3; flips > 0; flips--)
            copy[qf_random_below(&f->context->random, reach)] ^=
                (char)(1 << qf_random_below(&f->context->random, 8));
        qf_random kept = f->context->random;
        check(f, copy, f->whole.size);
        f->context->random = kept;
    }
    qf_free(copy);
}

/* Weights of another net are refused by the names of layers; a net without parameters takes any. */
static void nothing_fits(void **state)
{
    files *f = *state;
    static const struct {
        const char *layers; /* of the net that the weights are given to */
        bool fits;
        const char *said;
    } cases[] = {
        {"layer { name: 'other' type: 'InnerProduct' bottom: 'x' top: 'y' "
         "inner_product_param { num_output: 2 } }",
         false, "whose layers with parameters are other;"},
        {"layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'y' }", true, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qf_net *net;
        char *text = test_format("layer { name: 'x' type: 'Input' top: 'x' "
                                 "input_param { shape { dim: 1 dim: 3 } } } %s",
                                 cases[i].layers);
        assert_ok(f->context, qf_file_write(f->context, f->damaged, text, strlen(text), 0644));
        qf_free(text);
        assert_ok(f->context, qf_net_create(f->context, f->damaged, QF_TEST, 0, NULL, 0, &net));
        if (cases[i].fits)
            assert_ok(f->context, qf_net_load_weights(net, f->weights));
        else
            assert_fails(f->context, qf_net_load_weights(net, f->weights), cases[i].said);
        qf_net_destroy(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_file),
        cmocka_unit_test(cut_off),
        cmocka_unit_test(damaged),
        cmocka_unit_test(nothing_fits),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
