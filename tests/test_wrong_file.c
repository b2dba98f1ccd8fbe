/* Files in one another's place: every reader of a message says what it got and what it wants. */
#include "harness/harness.h"
#include "model/file_type.h"
#include "model/record.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static qf_context *context;

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
    {"quant", BYTES("{\"name\": \"n\", \"graph\": []}"), QF_FILE_QUANT_JSON, "quant.json"},
    {"hdf5", BYTES("\x89HDF\r\n\x1a\n data"), QF_FILE_HDF5, "an HDF5 file"},
    {"state5", BYTES("\x89HDF\r\n\x1a\n learned_net"), QF_FILE_HDF5_STATE, "in HDF5"},
    {"data.mdb", BYTES("\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\0\0\xde\xc0\xef\xbe"), QF_FILE_LMDB_DATA,
     "data.mdb"},
    {"jpeg", BYTES("\xff\xd8\xff\xe0 JFIF"), QF_FILE_IMAGE, "an image"},
    {"gif", BYTES("GIF89a"), QF_FILE_OTHER_IMAGE, "convert it to PNG"},
    {"list", BYTES("a b.png 3\nc.png\t4\r\n"), QF_FILE_IMAGE_LIST, "a list of images"},
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
    {"prose", BYTES("Not found. Try again later.\n"), QF_FILE_TEXT, "a text file"},
};
enum { FILES = sizeof files / sizeof *files };

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
}

/* One reader of each message, text and binary. */
static const struct {
    const char *own; /* what it wants, among `files` */
    const ProtobufCMessageDescriptor *message;
    bool text;
    const char *wants;
} readers[] = {
    {"net", &caffe__net_parameter__descriptor, true, "a net (.prototxt) is expected"},
    {"solver", &caffe__solver_parameter__descriptor, true, "a solver (.prototxt) is expected"},
    {"record", &amct__scale_offset_record__descriptor, true, "a record of quantisation factors is"},
    {"cfg", &amct__amctretrain_config__descriptor, true, "a simplified configuration (.cfg) is"},
    {"weights", &caffe__net_parameter__descriptor, false, "a weights file (binary .caffemodel) is"},
    {"state", &caffe__solver_state__descriptor, false, "a solver's state (.solverstate) is"},
    {"mean", &caffe__blob_proto__descriptor, false, "a blob such as a mean image (.binaryproto)"},
};

static void readers_name_what_they_got(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof readers / sizeof *readers; r++)
        for (int i = 0; i < FILES; i++) {
            void *message = NULL;
            const bool own = strcmp(files[i].name, readers[r].own) == 0 ||
                             (readers[r].own[0] == 'n' && files[i].type == QF_FILE_WEIGHTS_TEXT);
            qf_status status = (readers[r].text ? qf_text_read : qf_wire_read)(
                context, files[i].name, readers[r].message, &message);
            qf_message_free(message);
            if (own || (readers[r].text && files[i].type == QF_FILE_TEXT))
                continue; /* read, or refused with line and column */
            if (files[i].type == QF_FILE_TENSORFLOW && strcmp(readers[r].own, "weights") == 0)
                continue; /* its nodes can be names of a net without layers */
            if (status == QF_OK)
                fail_msg("%s was read as %s", files[i].name, readers[r].own);
            if (!strstr(qf_error_text(context), files[i].said) ||
                !strstr(qf_error_text(context), readers[r].wants))
                fail_msg("%s for %s: %s", files[i].name, readers[r].own, qf_error_text(context));
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

static int enter(void **state)
{
    *state = test_make_directory();
    context = test_context();
    return chdir(*state);
}

static int leave(void **state)
{
    qf_context_destroy(context);
    assert_int_equal(chdir("/"), 0);
    test_remove_directory(*state);
    qf_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_recognised),
        cmocka_unit_test(readers_name_what_they_got),
        cmocka_unit_test(a_byte_order_mark_is_accepted),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
