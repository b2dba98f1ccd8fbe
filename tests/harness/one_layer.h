/* A net of one layer between inputs with given values, for tests of single layers. */
#ifndef QF_TESTS_ONE_LAYER_H
#define QF_TESTS_ONE_LAYER_H

#include "harness/harness.h"
#include "net/net.h"

enum { TEST_BOTTOMS_MAX = 5 };

/* The net of a prototxt that is in no file. */
qf_status test_net_of(qf_context *context, const char *text, qf_phase phase, qf_net **out);

/* The text of two nets in one: "y#1" and "y#2" become y, written in place, or, apart, y_1 and y_2.
 * qf_free() it. */
char *test_name_values(const char *text, bool apart);

/* A file of weights in Caffe's binary format or, for a name in .h5, in HDF5. */
void test_write_weights(qf_context *context, const char *path, const Caffe__NetParameter *weights);

/* shapes: one for each bottom, as in "2 3 4 4"; ended by NULL. `rest`: the type and parameters in
 * prototxt. Bottoms x0, x1 …, tops y0, y1 …; all values are 0. */
qf_status test_one_layer(qf_context *context, qf_phase phase, const char *const *shapes,
                         const char *rest, int tops, qf_net **out);

/* The same where it has to succeed. */
qf_net *test_make_layer(qf_context *context, qf_phase phase, const char *const *shapes,
                        const char *rest, int tops);
/* Layers that cannot be made: as test_one_layer() takes them, and a part of the sentence. */
typedef struct test_refusal {
    const char *rest, *shapes[TEST_BOTTOMS_MAX - 1], *sentence;
} test_refusal;
void test_expect_refusals(qf_context *context, qf_phase phase, const test_refusal *rows,
                          size_t count);

/* Values of a blob; the count must be that of the blob. */
void test_fill(qf_context *context, qf_blob *blob, const float *values, size_t count);
/* The same count of values from −1 to 1 in no order, the same at every call. */
void test_fill_anyhow(qf_context *context, qf_blob *blob, unsigned seed);

/* Runs the layer and compares a top: its shape, as qf_shape_text() gives it, and values. */
void test_forward(qf_context *context, qf_net *net);
void test_expect(qf_context *context, qf_net *net, int top, const char *shape, const float *values);
const float *test_top(qf_context *context, qf_net *net, int top);
const float *test_bottom(qf_context *context, qf_net *net, int bottom);

#define TEST_FILL(net, name, ...)                                                                  \
    test_fill(context, qf_net_blob(net, name), (const float[]){__VA_ARGS__},                       \
              sizeof((const float[]){__VA_ARGS__}) / sizeof(float))
#define TEST_EXPECT(net, top, shape, ...)                                                          \
    test_expect(context, net, top, shape, (const float[]){__VA_ARGS__})

/* net.prototxt, and net.caffemodel with weights drawn for it, in the working directory. */
void test_write_net(qf_context *context, const char *text);
/* Files FOLDER/0.bin, … of `size` values from 0 to 1 each, which stay in `values`, too. */
void test_write_images(qf_context *context, const char *folder, float *values, int files,
                       size_t size);

#endif
