/* Caffe's converters of data sets, from the command line to the databases, on made-up files of the
 * right formats. (On batches of full size the LMDBs equal those of BVLC Caffe's converter.) */
#include "data/stores/sample_store.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "model/model.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

/* The next datum of a store, whose key must be this; qf_message_free() it. */
static Caffe__Datum *next_datum(qf_sample_store *store, const char *key)
{
    qf_sample sample;
    Caffe__Datum *datum;
    assert_ok(context, qf_sample_store_next(context, store, &sample));
    assert_int_equal(sample.key_size, strlen(key));
    assert_memory_equal(sample.key, key, sample.key_size);
    assert_ok(context, qf_wire_parse(context, key, sample.value, sample.value_size,
                                     &caffe__datum__descriptor, &datum));
    return datum;
}

static qf_sample_store *open_store(const char *path, qf_store_format format, uint64_t expected)
{
    qf_sample_store *store;
    uint64_t count;
    assert_ok(context, qf_sample_store_open(context, path, &store));
    assert_int_equal(qf_sample_store_format(store), format);
    assert_ok(context, qf_sample_store_count(context, store, &count));
    assert_int_equal(count, expected);
    return store;
}

/* ---- CIFAR-10 ---- */

enum { CIFAR_IMAGE = 3 * 32 * 32, CIFAR_COUNT = 4 }; /* images a batch */

/* Image `number` over all batches: its label, and a pixel that depends on number and place. */
static int cifar_label(int number)
{
    return number * 7 % 10;
}

static uint8_t cifar_pixel(int number, int at)
{
    return (uint8_t)(31 * number + at + at / 256);
}

static void put_batch(const char *path, int first, size_t cut)
{
    qf_buffer file = {0};
    for (int i = first; i < first + CIFAR_COUNT; i++) {
        uint8_t record[1 + CIFAR_IMAGE] = {(uint8_t)cifar_label(i)};
        for (int k = 0; k < CIFAR_IMAGE; k++)
            record[1 + k] = cifar_pixel(i, k);
        qf_buffer_append(&file, record, sizeof record);
    }
    assert_ok(context, qf_file_write(context, path, file.data, file.size - cut, 0644));
    qf_buffer_release(&file);
}

static void expect_cifar(const char *path, qf_store_format format, int first, int count)
{
    qf_sample_store *store = open_store(path, format, (uint64_t)count);
    for (int i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%05d", i);
        Caffe__Datum *datum = next_datum(store, key);
        assert_int_equal(datum->channels, 3);
        assert_int_equal(datum->height, 32);
        assert_int_equal(datum->width, 32);
        assert_int_equal(datum->label, cifar_label(first + i));
        assert_false(datum->encoded);
        assert_int_equal(datum->data.len, CIFAR_IMAGE);
        for (int k = 0; k < CIFAR_IMAGE; k++)
            assert_int_equal(datum->data.data[k], cifar_pixel(first + i, k));
        qf_message_free(datum);
    }
    qf_sample_store_close(store);
}

static void cifar_becomes_databases(void **state)
{
    (void)state;
    static const char *const names[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                        "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"};
    assert_int_equal(mkdir("cifar", 0755), 0);
    assert_int_equal(mkdir("out", 0755), 0);
    assert_int_equal(chdir("cifar"), 0);
    for (int i = 0; i < 6; i++)
        put_batch(names[i], i * CIFAR_COUNT, 0);
    assert_int_equal(chdir(".."), 0);
    for (int format = 0; format < QF_STORE_FORMATS; format++) {
        const char *backend = qf_store_format_name((qf_store_format)format);
        char *line = test_format("examples/cifar10/convert_cifar_data.bin cifar out %s", backend);
        char *train = test_format("out/cifar10_train_%s", backend);
        char *test = test_format("out/cifar10_test_%s", backend);
        test_tool(0, "] Training Batch 5\n", line);
        assert_non_null(strstr(test_output, "] Writing Testing data\n"));
        expect_cifar(train, (qf_store_format)format, 0, 5 * CIFAR_COUNT);
        expect_cifar(test, (qf_store_format)format, 5 * CIFAR_COUNT, CIFAR_COUNT);
        test_tool(1, "exists", line); /* what is there stays */
        expect_cifar(train, (qf_store_format)format, 0, 5 * CIFAR_COUNT);
        qf_free(line);
        qf_free(train);
        qf_free(test);
    }
}

static void cifar_that_is_none(void **state)
{
    (void)state;
    test_tool(1, "input_folder output_folder db_type", "examples/cifar10/convert_cifar_data.bin");
    test_tool(1, "rocksdb", "examples/cifar10/convert_cifar_data.bin cifar none rocksdb");
    test_tool(1, "nowhere/data_batch_1.bin",
              "examples/cifar10/convert_cifar_data.bin nowhere out2 lmdb");
    assert_int_equal(mkdir("out3", 0755), 0);
    put_batch("cifar/data_batch_3.bin", 0, 1);
    test_tool(1, "data_batch_3.bin has 12291 bytes, expected a multiple of 3073",
              "examples/cifar10/convert_cifar_data.bin cifar out3 lmdb");
    assert_false(qf_file_exists("out3/cifar10_train_lmdb")); /* complete or absent */
}

/* ---- MNIST ---- */

enum { DIGITS = 60, ROWS = 3, COLUMNS = 5 };

static int digit_label(int number)
{
    return number * 3 % 10;
}

/* Every pixel tells the image's number. */
static void put_mnist(void)
{
    uint8_t images[16 + DIGITS * ROWS * COLUMNS] = {0, 0, 8, 3,    0, 0, 0, DIGITS,
                                                    0, 0, 0, ROWS, 0, 0, 0, COLUMNS};
    uint8_t labels[8 + DIGITS] = {0, 0, 8, 1, 0, 0, 0, DIGITS};
    for (int i = 0; i < DIGITS; i++) {
        memset(images + 16 + i * ROWS * COLUMNS, 4 * i, ROWS * COLUMNS);
        labels[8 + i] = (uint8_t)digit_label(i);
    }
    assert_ok(context, qf_file_write(context, "images", images, sizeof images, 0644));
    assert_ok(context, qf_file_write(context, "labels", labels, sizeof labels, 0644));
    gzFile packed = gzopen("images.gz", "wb");
    assert_int_equal(gzwrite(packed, images, sizeof images), sizeof images);
    assert_int_equal(gzclose(packed), Z_OK);
}

static void mnist_becomes_a_database(void **state)
{
    (void)state;
    put_mnist();
    test_tool(0, "] A total of 60 items.",
              "examples/mnist/convert_mnist_data.bin images labels mnist_lmdb --backend=lmdb");
    test_tool(
        0, "] Rows: 3 Cols: 5",
        "examples/mnist/convert_mnist_data.bin -backend leveldb images.gz labels mnist_level");
    for (int format = 0; format < 2; format++) {
        qf_sample_store *store = open_store(format ? "mnist_level" : "mnist_lmdb",
                                            format ? QF_STORE_LEVELDB : QF_STORE_LMDB, DIGITS);
        for (int i = 0; i < DIGITS; i++) {
            char key[16];
            snprintf(key, sizeof key, "%08d", i);
            Caffe__Datum *datum = next_datum(store, key);
            assert_int_equal(datum->channels, 1);
            assert_int_equal(datum->height, ROWS);
            assert_int_equal(datum->width, COLUMNS);
            assert_int_equal(datum->label, digit_label(i));
            assert_int_equal(datum->data.len, ROWS * COLUMNS);
            for (int k = 0; k < ROWS * COLUMNS; k++)
                assert_int_equal(datum->data.data[k], 4 * i);
            qf_message_free(datum);
        }
        qf_sample_store_close(store);
    }
    static const uint8_t two[] = {0, 0, 8, 1, 0, 0, 0, 2, 5, 6};
    assert_ok(context, qf_file_write(context, "two", two, sizeof two, 0644));
    test_tool(1, "images has 60 images, but two has 2 labels",
              "examples/mnist/convert_mnist_data.bin images two none");
    test_tool(1, "labels holds labels, but images are expected",
              "examples/mnist/convert_mnist_data.bin labels labels none");
}

/* As many pairs as images: two channels, label 1 exactly where both show the same digit. */
static void mnist_becomes_pairs(void **state)
{
    (void)state;
    static const char line[] =
        "examples/siamese/convert_mnist_siamese_data.bin images labels pairs";
    bool seen[DIGITS] = {false};
    int same = 0, different = 0, first_images = 0;
    test_tool(0, "] A total of 60 items.", line);
    qf_sample_store *store = open_store("pairs", QF_STORE_LEVELDB, DIGITS);
    for (int i = 0; i < DIGITS; i++) {
        char key[16];
        snprintf(key, sizeof key, "%08d", i);
        Caffe__Datum *datum = next_datum(store, key);
        assert_int_equal(datum->channels, 2);
        assert_int_equal(datum->height, ROWS);
        assert_int_equal(datum->width, COLUMNS);
        assert_int_equal(datum->data.len, 2 * ROWS * COLUMNS);
        int shown[2];
        for (int c = 0; c < 2; c++) {
            const uint8_t *pixels = datum->data.data + c * ROWS * COLUMNS;
            for (int k = 0; k < ROWS * COLUMNS; k++)
                assert_int_equal(pixels[k], pixels[0]);
            shown[c] = pixels[0] / 4;
            assert_true(pixels[0] % 4 == 0 && shown[c] < DIGITS);
        }
        assert_int_equal(datum->label, digit_label(shown[0]) == digit_label(shown[1]));
        same += datum->label == 1;
        different += datum->label == 0;
        first_images += !seen[shown[0]];
        seen[shown[0]] = true;
        qf_message_free(datum);
    }
    qf_sample_store_close(store);
    /* One pair in ten shows the same digit; each image is drawn with the same chance. Bounds that
     * an honest draw passes but once in a million runs. */
    assert_true(different > 30 && same < 25);
    assert_true(first_images > 20);
    test_tool(1, "exists", line);
    test_tool(1, "input_image_file input_label_file output_db_file",
              "examples/siamese/convert_mnist_siamese_data.bin images");
}

/* ---- conversions that are broken off ---- */

/* The one name that ends so; NULL: none. For qf_free(). */
static char *find_partial(void)
{
    char *found = NULL;
    DIR *open = opendir(".");
    for (struct dirent *entry; (entry = readdir(open));)
        if (strstr(entry->d_name, ".partial"))
            found = found ? found : qf_strdup(entry->d_name);
    closedir(open);
    return found;
}

/* A conversion that stands still, since its second image is a pipe into which nobody writes. */
static pid_t start_endless(const char *arguments)
{
    const pid_t child = fork();
    if (child == 0) {
        char *line = test_format("exec " QAFFE_CAFFE_HOME "/build/tools/convert_imageset %s ./ "
                                 "endless.txt endless_db 2>/dev/null",
                                 arguments);
        execl("/bin/sh", "sh", "-c", line, NULL);
        _exit(127);
    }
    char *partial;
    while (!(partial = find_partial())) {
        assert_int_equal(waitpid(child, NULL, WNOHANG), 0); /* it is still there */
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    qf_free(partial);
    return child;
}

static void broken_off_conversions_leave_nothing(void **state)
{
    (void)state;
    static const char *const formats[] = {"--backend=lmdb --encoded",
                                          "--backend=leveldb --encoded"};
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGKILL};
    assert_int_equal(mkfifo("pipe.png", 0600), 0);
    test_write_text(context, "endless.txt", "pipe.png 1\n");
    test_write_text(context, "none.txt", "absent.png 1\n");
    for (size_t f = 0; f < 2; f++) {
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
            int how;
            const pid_t child = start_endless(formats[f]);
            kill(child, numbers[i]);
            assert_int_equal(waitpid(child, &how, 0), child);
            assert_true(WIFSIGNALED(how) && WTERMSIG(how) == numbers[i]);
            char *left = find_partial();
            assert_true(!left == (numbers[i] != SIGKILL));
            qf_free(left);
        }
        /* What kill -9 left, the next conversion to the same name removes. */
        char *line = test_format("tools/convert_imageset %s ./ none.txt endless_db", formats[f]);
        test_tool(0, "Could not open or find file", line);
        assert_null(find_partial());
        test_remove_directory("endless_db");
        qf_free(line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cifar_becomes_databases),
        cmocka_unit_test(cifar_that_is_none),
        cmocka_unit_test(mnist_becomes_a_database),
        cmocka_unit_test(mnist_becomes_pairs),
        cmocka_unit_test(broken_off_conversions_leave_nothing),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
