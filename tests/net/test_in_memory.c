/* Nets and weights that are no files: the same nets, bytes and sentences as those of files. */
#include "base/file.h"
#include "base/memory.h"
#include "harness/command.h"
#include "harness/fixture.h"

#include <string.h>

#define NET                                                                                        \
    "name: 'n' layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 90 } "  \
    "} } layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param { "      \
    "num_output: 4 weight_filler { type: 'uniform' min: -1 max: 1 } } }"

enum { TEXT = sizeof NET - 1 };

static qf_net *make_net(void)
{
    qf_net *net;
    assert_ok(context, qf_net_create_from_memory(context, NET, TEXT, QF_TEST, 0, NULL, 0, &net));
    return net;
}

/* *bytes is to be freed. */
static size_t make_weights(void **bytes)
{
    size_t size;
    qf_net *net = make_net();
    assert_ok(context, qf_net_save_weights_to_memory(net, bytes, &size));
    assert_ok(context, qf_net_save_weights(net, "net.caffemodel"));
    qf_net_destroy(net);
    return size;
}

static void the_bytes_are_those_of_the_file(void **state)
{
    (void)state;
    void *bytes;
    qf_buffer file = {0};
    const size_t size = make_weights(&bytes);
    assert_ok(context, qf_file_read(context, "net.caffemodel", &file));
    assert_int_equal(size, file.size);
    assert_memory_equal(bytes, file.data, size);
    qf_buffer_release(&file);
    qf_memory_release(bytes);
    qf_memory_release(NULL);
}

static void weights_come_back(void **state)
{
    (void)state;
    void *bytes;
    float *x;
    const float *found, *expected;
    const size_t size = make_weights(&bytes);
    qf_net *net = make_net(), *other;
    test_write_text(context, "net.prototxt", NET);
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &other));
    qf_net *both[] = {net, other};
    for (int n = 0; n < 2; n++) {
        assert_ok(context, qf_blob_mutable_data(qf_net_blob(both[n], "x"), &x));
        for (int i = 0; i < 180; i++)
            x[i] = (float)(i % 7) - 3;
    }
    assert_ok(context, qf_net_load_weights_from_memory(net, bytes, size));
    assert_ok(context, qf_net_load_weights(other, "net.caffemodel"));
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_net_forward(other, NULL));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "y"), &found));
    assert_ok(context, qf_blob_data(qf_net_blob(other, "y"), &expected));
    assert_memory_equal(found, expected, 8 * sizeof *found);
    qf_net_destroy(net);
    qf_net_destroy(other);
    qf_memory_release(bytes);
}

/* ---- what is no net, and no weights ---- */

/* The sentence of a file, with this name in place of the file's; but for files that are recognised
 * as others. */
static void same_sentence(qf_status found, const char *name, qf_status expected, const char *file,
                          const char *sentence)
{
    char *same = test_replace(sentence, file, name);
    assert_int_equal(found, expected);
    if (found != QF_OK && !strstr(sentence, " is expected"))
        assert_string_equal(qf_error_text(context), same);
    qf_free(same);
}

static void try_weights(const void *bytes, size_t size)
{
    char sentence[1024];
    qf_net *net = make_net();
    assert_ok(context, qf_file_write(context, "bad.caffemodel", bytes, size, 0644));
    const qf_status expected = qf_net_load_weights(net, "bad.caffemodel");
    snprintf(sentence, sizeof sentence, "%s", qf_error_text(context));
    same_sentence(qf_net_load_weights_from_memory(net, bytes, size), "weights in memory", expected,
                  "bad.caffemodel", sentence);
    qf_net_destroy(net);
}

/* Cut off at every place, and with each of its first bytes another. */
static void damaged_weights(void **state)
{
    (void)state;
    void *bytes;
    const size_t size = make_weights(&bytes);
    char *changed = qf_alloc(size, 1);
    for (size_t cut = 1; cut < size; cut += cut < 200 ? 1 : 97)
        try_weights(bytes, cut);
    for (size_t i = 0; i < 120; i++)
        for (int bit = 0; bit < 8; bit += 3) {
            memcpy(changed, bytes, size);
            changed[i] ^= (char)(1 << bit);
            try_weights(changed, size);
        }
    qf_free(changed);
    qf_memory_release(bytes);
}

static void weights_that_are_none(void **state)
{
    (void)state;
    qf_net *net = make_net();
    assert_fails(context, qf_net_load_weights_from_memory(net, "", 0), "weights in memory: ");
    assert_fails(context, qf_net_load_weights_from_memory(net, "\x89HDF\r\n\x1a\n....", 12),
                 "weights in memory are in HDF5 format, which is read from files only");
    static const char start[16]; /* of more than is looked at */
    assert_fails(context, qf_net_load_weights_from_memory(net, start, (size_t)-1),
                 "protobuf files end at 2147483647 bytes");
    qf_net_destroy(net);
}

static void try_text(const char *text, size_t size)
{
    char sentence[1024];
    qf_net *net, *other;
    assert_ok(context, qf_file_write(context, "bad.prototxt", text, size, 0644));
    const qf_status expected = qf_net_create(context, "bad.prototxt", QF_TEST, 0, NULL, 0, &other);
    snprintf(sentence, sizeof sentence, "%s", qf_error_text(context));
    same_sentence(qf_net_create_from_memory(context, text, size, QF_TEST, 0, NULL, 0, &net),
                  "net in memory", expected, "bad.prototxt", sentence);
    qf_net_destroy(net);
    qf_net_destroy(other);
}

static void damaged_text(void **state)
{
    (void)state;
    static const char marked[] = "\xef\xbb\xbf" NET;
    char changed[TEXT + 1];
    for (size_t cut = 0; cut < TEXT; cut++)
        try_text(NET, cut);
    for (size_t i = 0; i < TEXT; i++) {
        memcpy(changed, NET, sizeof changed);
        changed[i] = i % 2 ? '\0' : '}';
        try_text(changed, TEXT);
    }
    try_text(marked, sizeof marked - 1); /* what editors put in front is none of it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_those_of_the_file),
        cmocka_unit_test(weights_come_back),
        cmocka_unit_test(damaged_weights),
        cmocka_unit_test(weights_that_are_none),
        cmocka_unit_test(damaged_text),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
