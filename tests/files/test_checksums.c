/* NAME.sha256: what is read in one, who looks at it, and what `qaffe inspect --check` says of files
 * and of the numbers in them. */
#include "harness/command.h"
#include "harness/fixture.h"

#include "base/checksum.h"
#include "data/stores/hdf5_writer.h"
#include "model/model.h"
#include "net/net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NET                                                                                        \
    "layer { name: 'd' type: 'DummyData' top: 'x' top: 'label' dummy_data_param { shape { dim: 2 " \
    "dim: 6 } shape { dim: 2 } data_filler { type: 'gaussian' } data_filler { type: 'constant' } " \
    "} }"                                                                                          \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { "         \
    "num_output: 200 weight_filler { type: 'xavier' } } }"                                         \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }"
#define SOLVER                                                                                     \
    "net: 'net.prototxt' base_lr: 0.01 lr_policy: 'fixed' max_iter: 2 momentum: 0.9 random_seed: " \
    "1 "

static int set_up(void **state)
{
    assert_int_equal(test_start_in_folder(state), 0);
    test_write_text(context, "net.prototxt", NET);
    test_write_text(context, "run.prototxt", SOLVER "snapshot_prefix: 'run'");
    test_write_text(context, "h5.prototxt", SOLVER "snapshot_prefix: 'h5' snapshot_format: HDF5");
    test_command(0, "", "", "train --solver run.prototxt --checksum");
    test_command(0, "", "", "train --solver h5.prototxt --checksum");
    return 0;
}

static void copy(const char *from, const char *to)
{
    qf_buffer file = {0};
    assert_ok(context, qf_file_read(context, from, &file));
    assert_ok(context, qf_file_write(context, to, file.data, file.size, 0644));
    qf_buffer_release(&file);
}

/* As a disk does it: nobody is told. */
static void flip_a_bit(const char *path)
{
    struct stat info;
    char byte;
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &info), 0);
    assert_int_equal(fseek(file, info.st_size / 2, SEEK_SET), 0);
    assert_int_equal(fread(&byte, 1, 1, file), 1);
    byte ^= 0x10;
    assert_int_equal(fseek(file, info.st_size / 2, SEEK_SET), 0);
    assert_int_equal(fwrite(&byte, 1, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

/* ---- NAME.sha256 ---- */

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OTHER "aa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void what_a_checksum_may_look_like(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part; /* of the sentence; NULL: it agrees */
    } rows[] = {
        {ABC "  abc\n", NULL},
        {ABC " *abc", NULL},                    /* --binary */
        {ABC "\n", NULL},                       /* only the digest */
        {ABC "  old_name\r\n", NULL},           /* renamed, from another system */
        {"SHA256 (abc) = " ABC "\n", NULL},     /* --tag */
        {"SHA256 (a/b/abc) = " ABC "\n", NULL}, /* of another place */
        {"\\" ABC "  na\\\\me\n", NULL},        /* escaped */
        {"# a comment\n" ABC "  abc\n", NULL},  /* by other hands */
        {OTHER "  x\n" ABC "  abc\n", NULL},    /* a list */
        {OTHER "  abcd\n" ABC "  abc\n", NULL}, /* not the first that begins so */
        {OTHER "  abc\n", "abc does not agree with its checksum: its SHA-256 is ba7816bf8f01..., "
                          "abc.sha256 says aa7816bf8f01...; it was changed or damaged since: "
                          "restore it, or delete abc.sha256 if the change was meant"},
        {"SHA256 (abc) = " OTHER, "does not agree"},
        {ABC "  abcd\n" OTHER "  abc\n", "does not agree"},
        {"", "abc.sha256 has no checksum of abc as sha256sum writes it"},
        {"ba7816bf\n", "has no checksum"},
        {ABC "0  abc\n", "has no checksum"},
        {ABC "  x\n" ABC "  y\n", "has no checksum of abc"},
        {"SHA256 (abc", "has no checksum"},
        {"\\", "has no checksum"},
    };
    test_write_text(context, "abc", "abc");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool found = false;
        test_write_text(context, "abc.sha256", rows[i].text);
        if (rows[i].part)
            assert_fails(context, qf_checksum_check(context, "abc", &found), rows[i].part);
        else
            assert_ok(context, qf_checksum_check(context, "abc", &found));
        assert_true(found);
    }
    /* In capitals, through a link, and where there is none. */
    char capitals[] = ABC "  abc\n";
    for (char *c = capitals; *c != ' '; c++)
        *c = *c >= 'a' ? (char)(*c - 'a' + 'A') : *c;
    bool found = true;
    test_write_text(context, "abc.sha256", capitals);
    assert_int_equal(symlink("abc", "link"), 0);
    assert_ok(context, qf_checksum_check(context, "link", &found));
    assert_true(found);
    assert_int_equal(unlink("abc.sha256"), 0);
    assert_ok(context, qf_checksum_check(context, "link", &found));
    assert_false(found);
    assert_int_equal(unlink("abc") + unlink("link"), 0);
}

static void names_are_escaped_as_sha256sum_does(void **state)
{
    (void)state;
    static const char *const names[] = {"with blank", "back\\slash", "two\nlines", "(tag) = x"};
    qf_context_write_checksums(context, true);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool found = false;
        char *sum = qf_checksum_name(names[i]);
        test_write_text(context, names[i], "abc");
        assert_ok(context, qf_checksum_check(context, names[i], &found));
        assert_true(found);
        assert_int_equal(setenv("SUM", sum, 1), 0);
        assert_int_equal(system("sha256sum -c --status \"$SUM\""), 0);
        assert_int_equal(unlink(names[i]) + unlink(sum), 0);
        qf_free(sum);
    }
    qf_context_write_checksums(context, false);
}

/* ---- who looks ---- */

static const char *const disagrees = " does not agree with its checksum: its SHA-256 is ";

static void a_flipped_bit_is_found_wherever_weights_are_read(void **state)
{
    (void)state;
    static const char *const commands[] = {
        "test --model net.prototxt --iterations 1 --weights bad.caffemodel",
        "test --model net.prototxt --iterations 1 --weights bad.caffemodel.h5",
        "time --model net.prototxt --iterations 1 --weights bad.caffemodel",
        "inspect --model net.prototxt --weights bad.caffemodel",
        "train --solver run.prototxt --weights bad.caffemodel",
        "train --solver h5.prototxt --weights bad.caffemodel.h5",
        "train --solver run.prototxt --snapshot bad.solverstate",
        "train --solver run.prototxt --snapshot bad.solverstate.h5",
        "qat config --model net.prototxt --weights bad.caffemodel --out c.json",
        "qat run --model net.prototxt --weights bad.caffemodel --iterations 1 --out r/m",
        "upgrade_net_proto_binary bad.caffemodel new.caffemodel",
        "inspect --check bad.caffemodel",
        "inspect --check bad.caffemodel.h5",
        "inspect --check bad.solverstate",
        "inspect --check bad.solverstate.h5",
    };
    static const char *const endings[][2] = {{"run_iter_2", ".caffemodel"},
                                             {"run_iter_2", ".solverstate"},
                                             {"h5_iter_2", ".caffemodel.h5"},
                                             {"h5_iter_2", ".solverstate.h5"}};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char *from = test_format("%s%s", endings[i][0], endings[i][1]),
             *to = test_format("bad%s", endings[i][1]), *sum = qf_checksum_name(from),
             *bad_sum = qf_checksum_name(to);
        copy(from, to);
        copy(sum, bad_sum);
        flip_a_bit(to);
        qf_free(from), qf_free(to), qf_free(sum), qf_free(bad_sum);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        test_command(strncmp(commands[i], "upgrade", 7) == 0 ? 2 : 1, disagrees, "", commands[i]);
    assert_false(qf_file_exists("c.json") || qf_file_exists("new.caffemodel"));
    /* A state whose own bits are right, but not those of the weights that it names. */
    copy("run_iter_2.caffemodel", "kept");
    flip_a_bit("run_iter_2.caffemodel");
    test_command(1, "run_iter_2.solverstate: run_iter_2.caffemodel does not agree", "",
                 "train --solver run.prototxt --snapshot run_iter_2.solverstate");
    assert_int_equal(rename("kept", "run_iter_2.caffemodel"), 0);
    test_command(0, "Optimization Done", "",
                 "train --solver run.prototxt --snapshot run_iter_2.solverstate --checksum");
}

static void steps_of_the_flow(void **state)
{
    (void)state;
    test_command(0, "", "",
                 "qat config --model net.prototxt --weights run_iter_2.caffemodel --out c.json");
    assert_false(qf_file_exists("c.json.sha256"));
    test_command(0, "", "",
                 "qat prepare --model net.prototxt --weights run_iter_2.caffemodel --config c.json "
                 "--out-model m.prototxt --out-weights m.caffemodel --record r.txt --checksum");
    assert_int_equal(system("sha256sum -c --status m.prototxt.sha256 m.caffemodel.sha256 "
                            "r.txt.sha256"),
                     0);
    /* The record is filled by testing: with a new checksum, or none. */
    test_command(0, "", "",
                 "test --model m.prototxt --weights m.caffemodel --iterations 1 --checksum");
    assert_int_equal(system("sha256sum -c --status r.txt.sha256"), 0);
    test_command(0, "values in", "", "inspect --check r.txt");
    flip_a_bit("r.txt");
    test_command(1, disagrees, "",
                 "qat export --model m.prototxt --weights m.caffemodel --record r.txt --out e");
    flip_a_bit("r.txt");
    test_command(0, "", "",
                 "qat export --model m.prototxt --weights m.caffemodel --record r.txt --out e "
                 "--checksum");
    assert_int_equal(system("sha256sum -c --status e_deploy_weights.caffemodel.sha256 "
                            "e_fake_quant_model.prototxt.sha256"),
                     0);
    flip_a_bit("e_deploy_weights.caffemodel");
    test_command(1, disagrees, "", "verify --model e --iterations 1");
    test_command(0, "", "", "test --model m.prototxt --weights m.caffemodel --iterations 1");
    assert_false(qf_file_exists("r.txt.sha256"));
}

/* ---- numbers ---- */

static void poison(const char *weights, const char *state_file)
{
    Caffe__NetParameter *net;
    Caffe__SolverState *solver;
    assert_ok(context, qf_net_param_read_binary(context, "run_iter_2.caffemodel", &net));
    Caffe__BlobProto *blob = qf_find_layer(net, "ip")->blobs[0];
    blob->data[3] = -INFINITY;
    blob->data[9] = NAN;
    blob->data[10] = NAN;
    blob->data[11] = 1e-40f;
    assert_ok(context, qf_wire_write(context, weights, net, 0644));
    qf_message_free(net);
    assert_ok(context, qf_wire_read(context, "run_iter_2.solverstate",
                                    &caffe__solver_state__descriptor, &solver));
    solver->history[1]->data[7] = NAN;
    assert_ok(context, qf_wire_write(context, state_file, solver, 0644));
    qf_message_free(solver);
}

static void values_that_are_no_numbers(void **state)
{
    (void)state;
    poison("odd.caffemodel", "odd.solverstate");
    static const char found[] =
        "odd.caffemodel: layer ip, blob 0: 2 NaN, 1 infinite of 1200 values, the first at 3";
    test_command(0, found, "", "test --model net.prototxt --weights odd.caffemodel --iterations 1");
    assert_non_null(strstr(test_output, "odd.caffemodel: 1 blob with 2 NaN and 1 infinite values"));
    test_command(0, found, "", "inspect --model net.prototxt --weights odd.caffemodel");
    test_command(1, found, "",
                 "qat config --model net.prototxt --weights odd.caffemodel --out c.json");
    test_command(
        1,
        "Exist NaN in input data, cannot do ARQ quantize. (weight 3 of layer ip) odd.caffemodel: ",
        "", "qat config --model net.prototxt --weights odd.caffemodel --out c.json");
    test_command(1,
                 "layer ip, blob 0: 2 NaN, 1 infinite, 1 denormal of 1200 values, the first at 3",
                 "", "inspect --check odd.caffemodel");
    assert_non_null(strstr(test_output, "odd.caffemodel: 1400 values in 2 blobs; no checksum"));
    test_command(1, "odd.solverstate: history blob 1: 1 NaN of 200 values, the first at 7", "",
                 "inspect --check odd.solverstate");
    test_command(1,
                 "history blob 1: 1 NaN of 200 values, the first at 7; the training had "
                 "diverged, or the file is damaged: go on from an earlier snapshot",
                 "", "train --solver run.prototxt --snapshot odd.solverstate");

    /* The same in HDF5, and in files of numbers of other kinds. */
    qf_hdf5_writer writer;
    float values[4] = {1, NAN, 2, 1e-42f};
    assert_ok(context, qf_hdf5_create(context, "odd.h5", &writer));
    assert_ok(context, qf_hdf5_put_floats(&writer, "/data/a/b/0", (int[]){2, 2}, 2, values));
    assert_ok(context, qf_hdf5_put_floats(&writer, "/history/0", (int[]){1}, 1, values));
    assert_ok(context, qf_hdf5_put_text(&writer, "/words", "no numbers"));
    assert_ok(context, qf_hdf5_finish(&writer, QF_OK));
    test_command(1, "odd.h5: layer a/b, blob 0: 1 NaN of 4 values, the first at 1", "",
                 "inspect --check odd.h5");
    test_write_text(context, "odd.txt",
                    "record { key: 'ip' value { scale_d: 0.5 offset_d: 1 scale_w: 1 scale_w: inf "
                    "offset_w: 0 offset_w: 0 } }");
    test_command(1, "odd.txt: layer ip, scale_w: 1 infinite of 2 values, the first at 1", "",
                 "inspect --check odd.txt");
    Caffe__BlobProto mean = CAFFE__BLOB_PROTO__INIT;
    double doubles[300] = {[299] = INFINITY};
    mean.has_num = mean.has_channels = mean.has_height = mean.has_width = true;
    mean.num = mean.channels = mean.height = 1;
    mean.width = 300;
    mean.n_double_data = 300;
    mean.double_data = doubles;
    assert_ok(context, qf_wire_write(context, "mean.binaryproto", &mean, 0644));
    test_command(1, "the blob: 1 infinite of 300 values, the first at 299", "",
                 "inspect --check mean.binaryproto");
}

static void whole_lists_are_checked(void **state)
{
    (void)state;
    test_command(0, "run_iter_2.caffemodel: 1400 values in 2 blobs; the checksum agrees", "",
                 "inspect --check run_iter_2.caffemodel run_iter_2.solverstate "
                 "h5_iter_2.caffemodel.h5 h5_iter_2.solverstate.h5");
    assert_non_null(strstr(test_output, "h5_iter_2.solverstate.h5: 1402 values in 4 blobs; the "
                                        "checksum agrees"));
    copy("run_iter_2.caffemodel", "cut.caffemodel");
    assert_int_equal(truncate("cut.caffemodel", 1000), 0);
    test_command(1, "inspect: 3 of 4 files are not in order", "",
                 "inspect --check cut.caffemodel absent run_iter_2.caffemodel net.prototxt");
    assert_non_null(strstr(test_output, "cannot open absent: No such file"));
    assert_non_null(strstr(test_output, "net.prototxt: there is nothing to check"));
    copy("run_iter_2.caffemodel.sha256", "cut.caffemodel.sha256");
    test_command(1, disagrees, "", "inspect --check cut.caffemodel");
    test_command(2, "--check needs files", "", "inspect --check");
    test_command(2, "files to check need --check", "", "inspect net.prototxt");
    test_command(2, "--model FILE is missing", "", "inspect");
}

/* What the command prints, for programs. */
static void the_function_of_the_library(void **state)
{
    (void)state;
    qf_file_check *found;
    assert_ok(context, qf_check_file(context, "run_iter_2.caffemodel", &found));
    assert_true(found->has_checksum);
    assert_int_equal(found->blobs, 2);
    assert_int_equal(found->values, 1400);
    assert_int_equal(found->odd, 0);
    qf_file_check_destroy(found);
    poison("odd.caffemodel", "odd.solverstate");
    assert_int_equal(qf_check_file(context, "odd.caffemodel", &found), QF_E_VALUE);
    assert_int_equal(found->odd, 1);
    assert_string_equal(found->odd_blob[0]->name, "layer ip, blob 0");
    assert_int_equal(found->odd_blob[0]->nan, 2);
    assert_int_equal(found->odd_blob[0]->infinite, 1);
    assert_int_equal(found->odd_blob[0]->denormal, 1);
    assert_int_equal(found->odd_blob[0]->first, 3);
    qf_file_check_destroy(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_checksum_may_look_like),
        cmocka_unit_test(names_are_escaped_as_sha256sum_does),
        cmocka_unit_test(a_flipped_bit_is_found_wherever_weights_are_read),
        cmocka_unit_test(steps_of_the_flow),
        cmocka_unit_test(values_that_are_no_numbers),
        cmocka_unit_test(whole_lists_are_checked),
        cmocka_unit_test(the_function_of_the_library),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
