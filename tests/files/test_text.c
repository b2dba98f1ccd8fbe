/* Text and wire format against protoc as an oracle, in both directions; and damaged files, which
 * must be refused or read but never crash. */
#include "harness/fixture.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the grammar allows, in one net. */
static const char tricky[] =
    "# a comment\n"
    "name: \"a\" 'b' \"\\x41\\101\\n\\t\\\"\" # strings join\n"
    "layer < name: 'one' type: \"Input\"; top: 'x', top: 'y'\n"
    "  input_param: { shape: { dim: [1, 0x10, 017] } shape { dim: 3 } } >\n"
    "layer { name: 'two' type: 'Convolution' bottom: 'x' top: 'z' phase: 1\n"
    "  include { phase: TEST stage: 'a' stage: ['b', 'c'] } loss_weight: [1, -2.5e-3, inf, 1.e2f]\n"
    "  convolution_param { num_output: 4 kernel_size: [3, 3] engine: CAFFE pad: 1,\n"
    "    weight_filler { type: 'constant' value: -inf } bias_filler { value: .5 } } }\n"
    "layer { name: '\\303\\274' type: 'Power' power_param { power: 3 scale: 1e30 shift: -0 } }\n";

static void run(const char *format, const char *a, const char *b)
{
    char *command = test_format(format, QAFFE_PROTOC, QAFFE_SOURCE_DIR "/src/model", a, b);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
    qf_free(command);
}

static void encode(const char *text, const char *wire)
{
    run("%s -I%s --encode=caffe.NetParameter caffe.proto < %s > %s 2>/dev/null", text, wire);
}

static void assert_same_message(const char *wire, const char *expected)
{
    qf_buffer a = {0}, b = {0};
    run("%s -I%s --decode=caffe.NetParameter caffe.proto < %s > %s", wire, "a.txt");
    run("%s -I%s --decode=caffe.NetParameter caffe.proto < %s > %s", expected, "b.txt");
    assert_ok(context, qf_file_read(context, "a.txt", &a));
    assert_ok(context, qf_file_read(context, "b.txt", &b));
    assert_string_equal(qf_buffer_text(&a), qf_buffer_text(&b));
    assert_true(a.size > 100);
    qf_buffer_release(&a);
    qf_buffer_release(&b);
}

static void check_file(const char *path)
{
    void *net;
    encode(path, "protoc.bin");
    assert_ok(context, qf_text_read(context, path, &caffe__net_parameter__descriptor, &net));
    assert_ok(context, qf_wire_write(context, "ours.bin", net, 0640));
    assert_same_message("ours.bin", "protoc.bin"); /* text read */
    assert_ok(context, qf_text_write(context, "ours.txt", net, 0640));
    encode("ours.txt", "again.bin");
    assert_same_message("again.bin", "protoc.bin"); /* text written */
    qf_message_free(net);
    assert_ok(context,
              qf_wire_read(context, "protoc.bin", &caffe__net_parameter__descriptor, &net));
    assert_ok(context, qf_wire_write(context, "wire.bin", net, 0640));
    assert_same_message("wire.bin", "protoc.bin"); /* wire read */
    qf_message_free(net);
}

static void agrees_with_protoc(void **state)
{
    (void)state;
    if (!*QAFFE_PROTOC || access(QAFFE_PROTOC, X_OK) != 0)
        skip();
    assert_ok(context, qf_file_write(context, "tricky.prototxt", tricky, sizeof tricky - 1, 0640));
    check_file("tricky.prototxt");
    check_file(QAFFE_SOURCE_DIR "/examples/lenet/lenet_train_test.prototxt");
}

static void text_fails(const char *text, const char *part)
{
    void *net;
    assert_ok(context, qf_file_write(context, "bad.prototxt", text, strlen(text), 0640));
    assert_fails(context,
                 qf_text_read(context, "bad.prototxt", &caffe__net_parameter__descriptor, &net),
                 part);
}

static void errors_say_where(void **state)
{
    (void)state;
    text_fails("name: 'a'\nlayer { nmae: 'b' }\n", "bad.prototxt:2:");
    text_fails("layer { nmae: 'b' }", "name");
    text_fails("name: 'a' name: 'b'", "name");
    text_fails("layer { phase: 7 }", "7");
    text_fails("layer { name: 'a' ", "bad.prototxt:1");
    text_fails("layer { convolution_param { num_output: -1 } }", "expected an integer");
    text_fails("name: 'open", "inside a string");
}

/* The same damage at every run. */
static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void damage_never_crashes(void **state)
{
    (void)state;
    static const char pieces[] = "{}<>[]:;,\"'#\\-0x9einf\n \0\xff";
    const ProtobufCMessageDescriptor *type = &caffe__net_parameter__descriptor;
    void *net;
    uint32_t seed = 1;
    char text[sizeof tricky];
    assert_ok(context, qf_text_parse(context, "good", tricky, sizeof tricky - 1, type, &net));
    assert_ok(context, qf_wire_write(context, "good.bin", net, 0640));
    qf_message_free(net);
    qf_buffer wire = {0};
    assert_ok(context, qf_file_read(context, "good.bin", &wire));
    for (int i = 0; i < 1500; i++) {
        memcpy(text, tricky, sizeof tricky);
        for (int k = 0; k < 3; k++)
            text[next(&seed) % (sizeof tricky - 1)] = pieces[next(&seed) % (sizeof pieces - 1)];
        if (qf_text_parse(context, "bad", text, next(&seed) % sizeof text, type, &net) == QF_OK)
            qf_message_free(net);
        size_t at = next(&seed) % wire.size;
        const char kept = wire.data[at];
        wire.data[at] = (char)next(&seed);
        if (qf_wire_parse(context, "bad", wire.data, wire.size - next(&seed) % 4, type, &net) ==
            QF_OK)
            qf_message_free(net);
        wire.data[at] = kept;
    }
    qf_buffer_release(&wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_protoc),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(damage_never_crashes),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
