/* Images of other sizes, as converters from other frameworks write it: each pixel against the
 * formula of the framework, written here once more in double. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>

#define MAKE(rest, ...)                                                                            \
    test_make_layer(context, QF_TEST, (const char *const[]){__VA_ARGS__, NULL}, rest, 1)

typedef struct resizing {
    const char *flag; /* in the prototxt; NULL: none */
    double (*place)(int i, int in, int out);
} resizing;

static double by_corners(int i, int in, int out)
{
    return out > 1 ? (double)i * (in - 1) / (out - 1) : 0;
}

static double by_start(int i, int in, int out)
{
    return (double)i * in / out;
}

static double by_edges(int i, int in, int out)
{
    return (i + 0.5) * in / out - 0.5;
}

static double by_edges_of_pytorch(int i, int in, int out)
{
    return out > 1 ? by_edges(i, in, out) : 0;
}

static double clamped(double at, int in)
{
    return fmin(fmax(at, 0), in - 1);
}

static double pixel(const float *x, const int *size, bool last, int n, int c, int h, int w)
{
    const int place = last ? ((n * size[1] + h) * size[2] + w) * size[0] + c
                           : ((n * size[0] + c) * size[1] + h) * size[2] + w;
    return (double)x[place];
}

static double between(const float *x, const int *size, bool last, int n, int c, double v, double h)
{
    const int v0 = (int)v, h0 = (int)h, v1 = v0 + (v > v0), h1 = h0 + (h > h0);
    const double above = pixel(x, size, last, n, c, v0, h0) * (1 - (h - h0)) +
                         pixel(x, size, last, n, c, v0, h1) * (h - h0);
    const double below = pixel(x, size, last, n, c, v1, h0) * (1 - (h - h0)) +
                         pixel(x, size, last, n, c, v1, h1) * (h - h0);
    return above * (1 - (v - v0)) + below * (v - v0);
}

static void check_bilinear(const resizing *r, int rows, int columns, bool last)
{
    static const int size[] = {3, 5, 4}; /* channels, rows, columns */
    char *rest =
        test_format("type: 'ResizeBilinear' resize_bilinear_param { output_height: %d "
                    "output_width: %d %s %s }",
                    rows, columns, last ? "" : "data_format: 'NCHW'", r->flag ? r->flag : "");
    qf_net *net = MAKE(rest, last ? "2 5 4 3" : "2 3 5 4");
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 3);
    test_forward(context, net);
    const int top[] = {3, rows, columns};
    const float *x = test_bottom(context, net, 0), *y = test_top(context, net, 0);
    for (int i = 0; i < 2 * 3 * rows * columns; i++) {
        const int n = i / (3 * rows * columns), c = i / (rows * columns) % 3;
        const int v = i / columns % rows, h = i % columns;
        const double expected = between(x, size, last, n, c, clamped(r->place(v, 5, rows), 5),
                                        clamped(r->place(h, 4, columns), 4));
        const double found = pixel(y, top, last, n, c, v, h);
        if (!(fabs(found - expected) <= 2e-6))
            fail_msg("%s: pixel %d %d of channel %d is %.9g, expected %.9g", rest, v, h, c, found,
                     expected);
    }
    qf_net_destroy(net);
    qf_free(rest);
}

static void resize_bilinear(void **state)
{
    static const resizing rows[] = {{NULL, by_start},
                                    {"align_corners: true", by_corners},
                                    {"half_pixel_centers: true", by_edges},
                                    {"pytorch_half_pixel: true", by_edges_of_pytorch}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int last = 0; last < 2; last++) {
            check_bilinear(&rows[i], 9, 8, last);
            check_bilinear(&rows[i], 2, 1, last);
            check_bilinear(&rows[i], 5, 13, last);
        }
}

/* Rows of 4 pixels to 7, of 5 to 3: which pixel each is, worked out by hand. */
static void resize_nearest(void **state)
{
    static const struct {
        const char *flag;
        float wide[7], narrow[3];
    } rows[] = {
        {"", {0, 0, 1, 1, 2, 2, 3}, {0, 1, 3}},
        {"align_corners: true", {0, 1, 1, 2, 2, 3, 3}, {0, 2, 4}},
        {"half_pixel_centers: true", {0, 0, 1, 2, 2, 3, 3}, {0, 2, 4}},
        {"half_pixel_onnx: true", {0, 0, 0, 1, 2, 2, 3}, {0, 2, 3}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *wide = test_format("type: 'ResizeNearestNeighbor' resize_nearest_neighbor_param { "
                                 "output_width: 7 %s data_format: 'NCHW' }",
                                 rows[i].flag);
        char *narrow = test_format("type: 'ResizeNearestNeighbor' resize_nearest_neighbor_param { "
                                   "scale_height: 0.6 output_width: 2 %s }",
                                   rows[i].flag);
        qf_net *net = MAKE(wide, "1 1 1 4");
        TEST_FILL(net, "x0", 0, 1, 2, 3);
        test_forward(context, net);
        test_expect(context, net, 0, "1 1 1 7 (7)", rows[i].wide);
        qf_net_destroy(net);
        net = MAKE(narrow, "1 5 1 1");
        TEST_FILL(net, "x0", 0, 1, 2, 3, 4);
        test_forward(context, net);
        const float *n = rows[i].narrow;
        TEST_EXPECT(net, 0, "1 3 2 1 (6)", n[0], n[0], n[1], n[1], n[2], n[2]);
        qf_net_destroy(net);
        qf_free(wide);
        qf_free(narrow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_bilinear),
        cmocka_unit_test(resize_nearest),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
