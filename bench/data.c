/* qaffe-bench-data: what reading data costs a training step. The same net is trained on images in
 * memory and on a database of JPEG files that are decoded, cropped and mirrored as it goes; reading
 * ahead works if both take the same time and the net hardly ever waits. */
#include "base/memory.h"
#include "bench.h"
#include "data/stores/sample_store.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <turbojpeg.h>
#include <unistd.h>

enum { IMAGES = 128, MARGIN = 32 }; /* MARGIN: what the crop cuts off */

typedef struct run {
    qf_context *context;
    const bench_model *model;
    int batch, steps, size;
    char folder[64];
} run;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A smooth picture with some noise, about as large as a photograph's file. */
static void draw(qf_random *random, int size, uint8_t *pixels)
{
    const int slope = 1 + (int)qf_random_below(random, 5);
    for (int i = 0; i < size * size * 3; i++)
        pixels[i] = (uint8_t)(i / 3 % size * slope + i / 3 / size + i % 3 * 50 +
                              (int)qf_random_below(random, 24));
}

static qf_status put_image(run *b, qf_sample_writer *writer, tjhandle encoder, int index,
                           uint8_t *pixels)
{
    const int size = b->size + MARGIN;
    unsigned char *bytes = NULL;
    unsigned long length = 0;
    char key[16];
    draw(&b->context->random, size, pixels);
    if (tjCompress2(encoder, pixels, size, 0, size, TJPF_BGR, &bytes, &length, TJSAMP_420, 90, 0))
        return qf_fail(b->context, QF_E_MEMORY, "no JPEG: %s", tjGetErrorStr2(encoder));
    Caffe__Datum datum = CAFFE__DATUM__INIT;
    datum.has_data = datum.has_encoded = datum.encoded = datum.has_label = true;
    datum.label = index % 10;
    datum.data.data = bytes;
    datum.data.len = length;
    snprintf(key, sizeof key, "%08d", index);
    qf_status status = qf_sample_writer_put_message(b->context, writer, key, &datum.base);
    tjFree(bytes);
    return status;
}

static qf_status make_database(run *b)
{
    qf_sample_writer *writer;
    QF_TRY(qf_sample_writer_create(b->context, "jpeg_lmdb", QF_STORE_LMDB, &writer));
    tjhandle encoder = tjInitCompress();
    const size_t side = (size_t)b->size + MARGIN;
    uint8_t *pixels = qf_alloc(side * side, 3);
    qf_status status = encoder && pixels ? QF_OK : qf_fail(b->context, QF_E_MEMORY, "no memory");
    for (int i = 0; i < IMAGES && status == QF_OK; i++)
        status = put_image(b, writer, encoder, i, pixels);
    tjDestroy(encoder);
    qf_free(pixels);
    qf_status finished = qf_sample_writer_finish(b->context, writer, status == QF_OK);
    return status == QF_OK ? finished : status;
}

/* The model behind another layer of data than DummyData. */
static qf_status build(run *b, const char *data_layer, qf_net **net)
{
    qf_buffer text = {0};
    char last[32];
    qf_buffer_print(&text, "%s", data_layer);
    b->model->layers(&text, last);
    qf_buffer_print(
        &text,
        "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: '%s' bottom: 'label' top: "
        "'loss' }\n",
        last);
    qf_status status =
        qf_file_write(b->context, "net.prototxt", qf_buffer_text(&text), text.size, 0644);
    if (status == QF_OK)
        status = qf_net_create(b->context, "net.prototxt", QF_TRAIN, 0, NULL, 0, net);
    qf_buffer_release(&text);
    return status;
}

/* Mean time of a step, behind a few that warm up; the share of it that the net waited for data. */
static qf_status measure(run *b, qf_net *net, const char *title)
{
    enum { WARM_UP = 2 };
    double begin = 0, wait[2] = {0}, items;
    for (int i = -WARM_UP; i < b->steps; i++) {
        if (i == 0) {
            begin = seconds();
            qf_net_data_statistics(net, &wait[0], &items);
        }
        QF_TRY(qf_net_forward(net, NULL));
        QF_TRY(qf_net_backward(net));
    }
    const double all = seconds() - begin;
    qf_net_data_statistics(net, &wait[1], &items);
    printf("%-24s %8.1f ms a step   %5.1f %% of it waiting for data\n", title, 1e3 * all / b->steps,
           100 * (wait[1] - wait[0]) / all);
    return QF_OK;
}

static qf_status in_memory(run *b)
{
    char layer[256];
    qf_net *net = NULL;
    const size_t count = (size_t)b->batch * (size_t)(3 * b->size * b->size);
    float *images = qf_alloc(count, sizeof *images),
          *labels = qf_alloc((size_t)b->batch, sizeof *labels);
    snprintf(layer, sizeof layer,
             "layer { name: 'data' type: 'MemoryData' top: 'data' top: 'label' memory_data_param { "
             "batch_size: %d channels: 3 height: %d width: %d } }\n",
             b->batch, b->size, b->size);
    qf_status status =
        images && labels ? build(b, layer, &net) : qf_fail(b->context, QF_E_MEMORY, "no memory");
    for (size_t i = 0; images && i < count; i++)
        images[i] = qf_random_uniform(&b->context->random, -1, 1);
    if (status == QF_OK)
        status = qf_net_set_memory_data(net, images, labels, (size_t)b->batch);
    if (status == QF_OK)
        status = measure(b, net, "images in memory");
    qf_net_destroy(net);
    qf_free(images);
    qf_free(labels);
    return status;
}

static qf_status from_database(run *b)
{
    char layer[400];
    qf_net *net;
    snprintf(layer, sizeof layer,
             "layer { name: 'data' type: 'Data' top: 'data' top: 'label' data_param { source: "
             "'jpeg_lmdb' backend: LMDB batch_size: %d } transform_param { crop_size: %d mirror: "
             "true mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.017 } }\n",
             b->batch, b->size);
    QF_TRY(make_database(b));
    QF_TRY(build(b, layer, &net));
    qf_status status = measure(b, net, "JPEG files of an LMDB");
    qf_net_destroy(net);
    return status;
}

int main(int argc, char **argv)
{
    static const char usage[] =
        "Usage: qaffe-bench-data [--model NAME] [--batch N] [--steps N] [--threads N]\n\n"
        "Times training steps (forward and backward) with images in memory, and with JPEG files "
        "of\n"
        "a database that are decoded, cropped and mirrored meanwhile. The model must take colour\n"
        "images: squeezenet (the standard), resnet50, mobilenet or resnet20.\n";
    static const struct option options[] = {{"model", required_argument, NULL, 'm'},
                                            {"batch", required_argument, NULL, 'b'},
                                            {"steps", required_argument, NULL, 's'},
                                            {"threads", required_argument, NULL, 't'},
                                            {0}};
    run b = {.model = model_find("squeezenet"), .batch = 16, .steps = 20};
    int threads = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'm')
            b.model = model_find(optarg);
        else if (option == 'b')
            b.batch = atoi(optarg);
        else if (option == 's')
            b.steps = atoi(optarg);
        else if (option == 't')
            threads = atoi(optarg);
        else
            b.model = NULL;
    }
    if (!b.model || b.batch < 1 || b.steps < 1 || b.model->channels != 3 ||
        qf_context_create(&b.context) != QF_OK) {
        fputs(usage, stderr);
        return 2;
    }
    b.size = b.model->size;
    qf_context_set_threads(b.context, threads);
    qf_context_set_seed(b.context, 1);
    strcpy(b.folder, "/tmp/qaffe-bench-XXXXXX");
    if (!mkdtemp(b.folder) || chdir(b.folder) != 0) {
        perror(b.folder);
        return 1;
    }
    printf("%s, batch %d, %d threads\n", b.model->title, b.batch, b.context->threads);
    qf_status status = in_memory(&b);
    if (status == QF_OK)
        status = from_database(&b);
    if (status != QF_OK)
        fprintf(stderr, "qaffe-bench-data: %s\n", qf_error_text(b.context));
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", b.folder);
    if (chdir("/") != 0 || system(command) != 0)
        fprintf(stderr, "%s stays behind\n", b.folder);
    qf_context_destroy(b.context);
    return status != QF_OK;
}
