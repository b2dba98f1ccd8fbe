/* Files in one another's place: every reader of a message says what it got and what it wants. */
#include "data/images/image.h"
#include "data/stores/sample_store.h"
#include "harness/fixture.h"
#include "model/file_type.h"
#include "model/record.h"
#include "toolkit/config/config.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES(literal) literal, sizeof(literal) - 1
static const struct {
    const char *name, *bytes;
    size_t size;
    qf_file_type type;
    const char *said;
} files[] = {
    {"net", BYTES("# a net\nname: 'n' layer { name: 'a' type: \"ReLU\" }"), QF_FILE_NET, "a net"},
    {"solver", BYTES("net: \"E:\\\\a{\" base_lr: 1\nmax_iter: 3"), QF_FILE_SOLVER, "a solver"},
    {"text_weights", BYTES("layer { name: 'a' blobs { data: 1 } }"), QF_FILE_WEIGHTS_TEXT, "a net"},
    {"weights",
     BYTES("\x0a\x01n\xa2\x06\x03\x0a\x01"
           "a"),
     QF_FILE_WEIGHTS, "a weights file"},
    {"state", BYTES("\x08\x05\x12\x03net\x20\x01"), QF_FILE_STATE, "a solver's state"},
    {"mean", BYTES("\x08\x01\x10\x01\x18\x01\x20\x01\x2a\x04\0\0\x80\x3f"), QF_FILE_BLOB, "a blob"},
    {"record", BYTES("record { key: 'a' value { scale_d: 1 } }"), QF_FILE_RECORD, "a record of"},
    {"cfg", BYTES("batch_num: 2 skip_layers: 'a'"), QF_FILE_CONFIG_DEFINITION, "simplified"},
    {"json", BYTES("{\"a\": {\"retrain_enable\": true}}"), QF_FILE_CONFIG, "configuration"},
    {"after", BYTES("{\"a\": {\"quant_enable\": true}}"), QF_FILE_POST_TRAINING_CONFIG,
     "after training"},
    {"labels",
     BYTES("# VOC\nitem {\n  name: \"none_of_the_above\"\n  label: 0\n  display_name: 'n'\n}\n"
           "item {\n  name: \"aeroplane\"\n  label: 1\n  display_name: 'a'\n}\n"),
     QF_FILE_LABEL_MAP, "a label map of SSD"},
    {"quant", BYTES("{\"name\": \"n\", \"graph\": []}"), QF_FILE_QUANT_JSON, "quant.json"},
    {"array", BYTES("[1, 2]\n"), QF_FILE_JSON, "a JSON text"},
    {"hdf5", BYTES("\x89HDF\r\n\x1a\n data"), QF_FILE_HDF5, "an HDF5 file"},
    {"state5", BYTES("\x89HDF\r\n\x1a\n learned_net"), QF_FILE_HDF5_STATE, "in HDF5"},
    {"data.mdb", BYTES("\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\0\0\xde\xc0\xef\xbe"), QF_FILE_LMDB_DATA,
     "data.mdb"},
    {"jpeg", BYTES("\xff\xd8\xff\xe0 JFIF"), QF_FILE_IMAGE, "an image"},
    {"gif", BYTES("GIF89a"), QF_FILE_OTHER_IMAGE, "convert it to PNG"},
    {"list", BYTES("a b.png 3\nc.png\t4\r\n"), QF_FILE_IMAGE_LIST, "a list of images"},
    {"brackets", BYTES("[a] b.png 3\n[a] c.png 4\n"), QF_FILE_IMAGE_LIST, "a list of images"},
    {"list5", BYTES("a.h5\nb.hdf5\n"), QF_FILE_HDF5_LIST, "a list of HDF5"},
    {"windows", BYTES("# 0\na.png\n3\n4\n4\n0\n"), QF_FILE_WINDOW_LIST, "windows"},
    {"npy", BYTES("\x93NUMPY\x01\0"), QF_FILE_NPY, "NumPy"},
    {"torch", BYTES("PK\x03\x04 archive/data.pkl"), QF_FILE_PYTORCH, "PyTorch"},
    {"pickle", BYTES("\x80\x02}q"), QF_FILE_PICKLE, "pickle"},
    {"onnx", BYTES("\x08\x07\x12\x02pt\x3a\x02\x0a\0\x42\x02\x10\x0b"), QF_FILE_ONNX, "ONNX"},
    {"tensorflow", BYTES("\x0a\x03\x0a\x01x\x0a\x03\x0a\x01y"), QF_FILE_TENSORFLOW, "TensorFlow"},
    {"lfs", BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 23\n"),
     QF_FILE_LFS_POINTER, "git lfs pull"},
    {"page", BYTES("\n <!DOCTYPE HTML><html>"), QF_FILE_HTML, "a web page"},
    {"gzip", BYTES("\x1f\x8b\x08\0"), QF_FILE_GZIP, "gunzip"},
    {"zip", BYTES("PK\x03\x04\x14\0"), QF_FILE_ZIP, "a zip archive"},
    {"zeros", BYTES("\0\0\0\0\0\0\0\0"), QF_FILE_ZEROS, "zero bytes"},
    {"wide", BYTES("\xff\xfen\0a\0m\0e\0"), QF_FILE_UTF16, "UTF-16"},
    {"wide_bare", BYTES("n\0a\0m\0e\0:\0 \0'\0"), QF_FILE_UTF16, "UTF-16"},
    {"v1_weights", BYTES("\x12\x04\x22\x02\x61\x62"), QF_FILE_WEIGHTS, "a weights file"},
    {"idx", BYTES("\0\0\x08\x01\0\0\0\x02\x01\x02"), QF_FILE_IDX, "MNIST"},
    {"prose", BYTES("Not found. Try again later.\n"), QF_FILE_TEXT, "a text file"},
};
enum { FILES = sizeof files / sizeof *files };

static void put_database(const char *path, qf_store_format format)
{
    qf_sample_writer *writer;
    assert_ok(context, qf_sample_writer_create(context, path, format, &writer));
    assert_ok(context, qf_sample_writer_put(context, writer, "0", "", 0));
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
}

static void types_are_recognised(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++) {
        assert_ok(context,
                  qf_file_write(context, files[i].name, files[i].bytes, files[i].size, 0644));
        if (qf_file_type_of(files[i].name) != files[i].type)
            fail_msg("%s: type %d", files[i].name, qf_file_type_of(files[i].name));
    }
    assert_int_equal(qf_file_type_of("nowhere"), QF_FILE_UNKNOWN);
    assert_int_equal(qf_file_type_of("/dev/null"), QF_FILE_UNKNOWN);
    assert_int_equal(qf_file_type_of("."), QF_FILE_DATABASE); /* data.mdb is here */
    assert_int_equal(mkdir("folder", 0755), 0);
    assert_int_equal(qf_file_type_of("folder"), QF_FILE_FOLDER);
    put_database("lmdb", QF_STORE_LMDB);
    put_database("leveldb", QF_STORE_LEVELDB);
    assert_int_equal(qf_file_type_of("lmdb"), QF_FILE_DATABASE);
    assert_int_equal(qf_file_type_of("leveldb"), QF_FILE_DATABASE);
}

/* ---- every reader ---- */

/* Writes a .prototxt beside the files, where a reader is asked by a net. */
static qf_status build(const char *format, const char *path, qf_net **net)
{
    char *text = test_format(format, path);
    assert_ok(context, qf_file_write(context, "reader.prototxt", text, strlen(text), 0644));
    qf_free(text);
    return qf_net_create(context, "reader.prototxt", QF_TRAIN, 0, NULL, 0, net);
}

static qf_status build_and_drop(const char *format, const char *path)
{
    qf_net *net;
    QF_TRY(build(format, path, &net));
    qf_net_destroy(net);
    return QF_OK;
}

static qf_status read_message(const char *path, const ProtobufCMessageDescriptor *type, bool text)
{
    void *message = NULL;
    qf_status status = (text ? qf_text_read : qf_wire_read)(context, path, type, &message);
    qf_message_free(message);
    return status;
}

static qf_status read_net(const char *path)
{
    return read_message(path, &caffe__net_parameter__descriptor, true);
}

static qf_status read_solver(const char *path)
{
    return read_message(path, &caffe__solver_parameter__descriptor, true);
}

static qf_status read_record(const char *path)
{
    return read_message(path, &amct__scale_offset_record__descriptor, true);
}

static qf_status read_definition(const char *path)
{
    return read_message(path, &amct__amctretrain_config__descriptor, true);
}

static qf_status read_weights(const char *path)
{
    return read_message(path, &caffe__net_parameter__descriptor, false);
}

static qf_status read_mean(const char *path)
{
    return read_message(path, &caffe__blob_proto__descriptor, false);
}

static qf_status read_config(const char *path)
{
    static const char text[] = "layer { name: 'a' type: 'InnerProduct' bottom: 'x' top: 'a' "
                               "inner_product_param { num_output: 1 } blobs { data: 1 } }";
    Caffe__NetParameter *net;
    qf_config config;
    assert_ok(context, qf_text_parse(context, "net", text, strlen(text),
                                     &caffe__net_parameter__descriptor, &net));
    assert_ok(context, qf_config_defaults(context, net, net, &config));
    qf_status status = qf_config_read(context, net, path, &config);
    qf_config_release(&config);
    qf_message_free(net);
    return status;
}

static const char with_weights[] =
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 1 } } }"
    "layer { name: 'a' type: 'InnerProduct' bottom: 'x' top: 'a' inner_product_param { "
    "num_output: 1 } }%.0s";

static qf_status load_weights(const char *path)
{
    qf_net *net;
    assert_ok(context, build(with_weights, "", &net));
    qf_status status = qf_net_load_weights(net, path);
    qf_net_destroy(net);
    return status;
}

static const char solver[] = "net: 'reader.prototxt' base_lr: 0.1 lr_policy: 'fixed' max_iter: 2 "
                             "snapshot_prefix: 'run' %s";

static qf_solver *make_solver(const char *more)
{
    qf_solver *made;
    qf_net *net;
    char *text = test_format(solver, more);
    assert_ok(context, build(with_weights, "", &net));
    qf_net_destroy(net);
    assert_ok(context, qf_file_write(context, "solver.prototxt", text, strlen(text), 0644));
    assert_ok(context, qf_solver_create(context, "solver.prototxt", &made));
    qf_free(text);
    return made;
}

static qf_status restore(const char *path)
{
    qf_solver *made = make_solver("");
    qf_status status = qf_solver_restore(made, path);
    qf_solver_destroy(made);
    return status;
}

static qf_status open_database(const char *path)
{
    qf_sample_store *store;
    QF_TRY(qf_sample_store_open(context, path, &store));
    qf_sample_store_close(store);
    return QF_OK;
}

static qf_status compute_mean(const char *path)
{
    return qf_compute_image_mean(context, path, NULL);
}

static qf_status read_image(const char *path)
{
    qf_image image;
    QF_TRY(qf_image_read(context, path, QF_COLOR_FORCED, &image));
    qf_image_release(&image);
    return QF_OK;
}

/* As an entry of a list. */
static qf_status read_listed(const char *path)
{
    char *line = test_format("%s 1", path);
    assert_ok(context, qf_file_write(context, "one.txt", line, strlen(line), 0644));
    qf_free(line);
    return build_and_drop(
        "layer { name: 'd' type: 'ImageData' top: 'd' top: 'l' image_data_param { "
        "source: 'one.txt' } }%.0s",
        "");
}

static qf_status read_list(const char *path)
{
    return build_and_drop(
        "layer { name: 'd' type: 'ImageData' top: 'd' top: 'l' image_data_param { "
        "source: '%s' } }",
        path);
}

static qf_status convert_list(const char *path)
{
    const qf_imageset_options options = {
        .size = sizeof options, .backend = "lmdb", .skip_unreadable = true};
    return qf_convert_imageset(context, path, "", "never", &options);
}

static qf_status read_windows(const char *path)
{
    return build_and_drop("layer { name: 'd' type: 'WindowData' top: 'd' top: 'l' "
                          "transform_param { crop_size: 2 } window_data_param { source: '%s' "
                          "batch_size: 1 } }",
                          path);
}

static qf_status read_arrays(const char *path)
{
    return build_and_drop("layer { name: 'd' type: 'HDF5Data' top: 'd' hdf5_data_param { "
                          "source: '%s' batch_size: 1 } }",
                          path);
}

static qf_status read_listed_array(const char *path)
{
    assert_ok(context, qf_file_write(context, "one.txt", path, strlen(path), 0644));
    return read_arrays("one.txt");
}

static qf_status read_infogain(const char *path)
{
    return build_and_drop("layer { name: 'in' type: 'Input' top: 'x' top: 'l' input_param { shape "
                          "{ dim: 1 dim: 2 } shape { dim: 1 } } }"
                          "layer { name: 'a' type: 'InfogainLoss' bottom: 'x' bottom: 'l' top: 'a' "
                          "infogain_loss_param { source: '%s' } }",
                          path);
}

static qf_status convert_mnist(const char *path)
{
    return qf_convert_mnist(context, path, path, "never", "lmdb");
}

static qf_status convert_cifar(const char *path)
{
    char *target = test_format("../%s", path);
    (void)mkdir("cifar", 0755);
    (void)unlink("cifar/data_batch_1.bin");
    assert_int_equal(symlink(target, "cifar/data_batch_1.bin"), 0);
    qf_free(target);
    return qf_convert_cifar(context, "cifar", "never", "lmdb");
}

/* `wants`: in every sentence, up to " is expected". `takes`: types that it reads, or refuses in
 * words of its own. */
static const struct {
    const char *name;
    qf_status (*read)(const char *path);
    const char *wants;
    qf_file_type takes[4];
} readers[] = {
    {"net", read_net, "a net (.prototxt)", {QF_FILE_NET, QF_FILE_WEIGHTS_TEXT, QF_FILE_TEXT}},
    {"solver", read_solver, "a solver (.prototxt)", {QF_FILE_SOLVER, QF_FILE_TEXT}},
    {"record", read_record, "a record of quantisation factors", {QF_FILE_RECORD, QF_FILE_TEXT}},
    {"definition",
     read_definition,
     "a simplified configuration (.cfg)",
     {QF_FILE_CONFIG_DEFINITION, QF_FILE_TEXT}},
    {"config",
     read_config,
     "a quantisation configuration (.json)",
     {QF_FILE_CONFIG, QF_FILE_JSON, QF_FILE_TEXT}},
    /* The nodes of a TensorFlow graph can be names of a net without layers. */
    {"weights",
     read_weights,
     "a weights file (binary .caffemodel)",
     {QF_FILE_WEIGHTS, QF_FILE_TENSORFLOW}},
    {"mean", read_mean, "a blob such as a mean image (.binaryproto)", {QF_FILE_BLOB}},
    {"load weights",
     load_weights,
     "a weights file ",
     {QF_FILE_WEIGHTS, QF_FILE_TENSORFLOW, QF_FILE_HDF5}},
    {"restore", restore, "a solver's state ", {QF_FILE_STATE, QF_FILE_HDF5, QF_FILE_HDF5_STATE}},
    {"database", open_database, "a folder with a database (LMDB or LevelDB)", {QF_FILE_DATABASE}},
    {"compute mean",
     compute_mean,
     "a folder with a database (LMDB or LevelDB)",
     {QF_FILE_DATABASE}},
    {"image", read_image, "an image (JPEG, PNG or BMP)", {QF_FILE_IMAGE}},
    {"listed image", read_listed, "an image (JPEG, PNG or BMP)", {QF_FILE_IMAGE}},
    {"list", read_list, "a list of images and labels", {QF_FILE_IMAGE_LIST, QF_FILE_TEXT}},
    {"converted list",
     convert_list,
     "a list of images and labels",
     {QF_FILE_IMAGE_LIST, QF_FILE_TEXT}},
    {"windows", read_windows, "a list of windows in images", {QF_FILE_WINDOW_LIST, QF_FILE_TEXT}},
    {"arrays", read_arrays, "a list of HDF5 files", {QF_FILE_HDF5_LIST, QF_FILE_TEXT}},
    {"listed array", read_listed_array, "an HDF5 file", {QF_FILE_HDF5, QF_FILE_HDF5_STATE}},
    {"infogain", read_infogain, "a blob such as a mean image (.binaryproto)", {QF_FILE_BLOB}},
    {"MNIST", convert_mnist, "one of MNIST's files", {QF_FILE_IDX, QF_FILE_GZIP}},
    {"CIFAR", convert_cifar, "one of CIFAR-10's binary batches", {QF_FILE_CIFAR}},
};

static bool takes(size_t reader, qf_file_type type)
{
    for (size_t i = 0; i < sizeof readers->takes / sizeof *readers->takes; i++)
        if (readers[reader].takes[i] == type && type != QF_FILE_UNKNOWN)
            return true;
    return false;
}

static void check_reader(size_t reader, const char *path, qf_file_type type, const char *said)
{
    if (takes(reader, type))
        return;
    if (readers[reader].read(path) == QF_OK)
        fail_msg("%s: %s was read", readers[reader].name, path);
    const char *text = qf_error_text(context), *expected = strstr(text, " is expected");
    const char *wants = strstr(text, readers[reader].wants);
    if (!strstr(text, said) || !wants || !expected || wants > expected)
        fail_msg("%s of %s: %s", readers[reader].name, path, text);
}

static void readers_name_what_they_got(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof readers / sizeof *readers; r++) {
        for (int i = 0; i < FILES; i++)
            check_reader(r, files[i].name, files[i].type, files[i].said);
        check_reader(r, "lmdb", QF_FILE_DATABASE, "a folder with a database");
        check_reader(r, "leveldb", QF_FILE_DATABASE, "a folder with a database");
        if (!strstr(readers[r].wants, "database"))
            check_reader(r, "folder", QF_FILE_FOLDER, "a directory");
        assert_int_not_equal(readers[r].read("nowhere"), QF_OK);
        if (!strstr(qf_error_text(context), "nowhere") &&
            !strstr(qf_error_text(context), "No such file"))
            fail_msg("%s of nothing: %s", readers[r].name, qf_error_text(context));
    }
}

/* What takes the file, or makes it good. */
static void sentences_say_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        qf_status (*read)(const char *path);
        const char *said;
    } cases[] = {
        {"weights", read_net, "this as --weights"},
        {"json", read_net, "configurations go to `qaffe qat prepare --config`"},
        {"record", read_net, "records go to --record"},
        {"state", read_net, "states go to `qaffe train --snapshot`"},
        {"mean", read_net, "mean images go to transform_param.mean_file"},
        {"labels", read_net, "label maps go to label_map_file of SSD's layers"},
        {"net", read_config, "`qaffe qat config` makes one of a net and its weights"},
        {"cfg", read_config, "`qaffe qat config --config-definition` makes the .json of it"},
        {"json", read_definition, "give it to `qaffe qat prepare` as --config"},
        {"after", read_config, "`qaffe qat config` makes one for retraining"},
        {"list", open_database, "convert_imageset"},
        {"hdf5", open_database, "HDF5Data"},
        {"data.mdb", open_database, "give the folder that it is in"},
        {"lmdb", read_list, "a layer of type Data reads databases"},
        {"windows", read_list, "a layer of type WindowData reads it"},
        {"lfs", read_list, "git lfs pull"},
        {"pickle", convert_cifar, "take the binary version"},
        {"solver", read_listed_array, "solvers go to `qaffe train --solver`"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(context, cases[i].read(cases[i].path), cases[i].said);
}

static void folders_that_are_no_database(void **state)
{
    (void)state;
    assert_fails(context, open_database("folder"), "'folder' is no database: expected a folder");
    assert_null(strstr(qf_error_text(context), "did you mean"));
    assert_int_equal(mkdir("above", 0755), 0);
    assert_int_equal(rename("lmdb", "above/b_lmdb"), 0);
    assert_fails(context, open_database("above"), "did you mean above/b_lmdb?");
    assert_int_equal(rename("above/b_lmdb", "lmdb"), 0);
}

/* A clone without `git lfs pull` has whole folders of pointers. */
static void databases_of_pointers(void **state)
{
    (void)state;
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n";
    assert_int_equal(mkdir("pointers", 0755), 0);
    assert_ok(context,
              qf_file_write(context, "pointers/data.mdb", pointer, sizeof pointer - 1, 0644));
    assert_fails(context, open_database("pointers"), "pointers/data.mdb is a Git LFS pointer");
    assert_fails(context, open_database("pointers"), "git lfs pull");
    assert_int_equal(unlink("pointers/data.mdb"), 0);
    assert_ok(context,
              qf_file_write(context, "pointers/CURRENT", pointer, sizeof pointer - 1, 0644));
    assert_ok(context,
              qf_file_write(context, "pointers/000005.ldb", pointer, sizeof pointer - 1, 0644));
    assert_fails(context, open_database("pointers"), "000005.ldb is a Git LFS pointer");
}

/* Weights and states in either format under the name of the other. */
static void names_do_not_decide(void **state)
{
    (void)state;
    static const struct {
        const char *format, *model, *state;
    } formats[] = {
        {"snapshot_format: BINARYPROTO", "run_iter_1.caffemodel", "run_iter_1.solverstate"},
        {"snapshot_format: HDF5", "run_iter_1.caffemodel.h5", "run_iter_1.solverstate.h5"},
    };
    static const char *const names[] = {"x.caffemodel", "x.caffemodel.h5", "x.solverstate",
                                        "x.solverstate.h5", "x"};
    for (int f = 0; f < 2; f++) {
        qf_solver *made = make_solver(formats[f].format);
        assert_ok(context, qf_solver_step(made, 1));
        assert_ok(context, qf_solver_snapshot(made));
        qf_solver_destroy(made);
        for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
            assert_int_equal(symlink(formats[f].model, names[n]), 0);
            assert_ok(context, load_weights(names[n]));
            assert_fails(context, restore(names[n]), "weights");
            assert_fails(context, restore(names[n]), "solver's state");
            assert_int_equal(unlink(names[n]), 0);
            assert_int_equal(symlink(formats[f].state, names[n]), 0);
            assert_ok(context, restore(names[n]));
            assert_fails(context, load_weights(names[n]), "solver's state");
            assert_int_equal(unlink(names[n]), 0);
        }
        assert_fails(context, restore(formats[f].model), formats[f].state);
    }
}

static void a_byte_order_mark_is_accepted(void **state)
{
    (void)state;
    Caffe__NetParameter *net;
    static const char text[] = "\xef\xbb\xbfname: 'marked'";
    assert_ok(context, qf_file_write(context, "marked", text, sizeof text - 1, 0644));
    assert_ok(context, qf_net_param_read(context, "marked", &net));
    assert_string_equal(net->name, "marked");
    qf_message_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_recognised),
        cmocka_unit_test(readers_name_what_they_got),
        cmocka_unit_test(sentences_say_what_to_do),
        cmocka_unit_test(folders_that_are_no_database),
        cmocka_unit_test(databases_of_pointers),
        cmocka_unit_test(names_do_not_decide),
        cmocka_unit_test(a_byte_order_mark_is_accepted),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
