/* Recorded files: prototxt that protoc accepts or rejects, and old nets with what Caffe's upgrade
 * tools make of them. Walks the folders; a new case needs no code. */
#include "harness/harness.h"
#include "model/model.h"

#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *golden;

/* ---- messages by name ---- */

static const ProtobufCMessageDescriptor *search(const ProtobufCMessageDescriptor *type,
                                                const char *name, int depth)
{
    if (strcmp(type->name, name) == 0)
        return type;
    for (unsigned i = 0; depth > 0 && i < type->n_fields; i++)
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            const ProtobufCMessageDescriptor *found =
                search(type->fields[i].descriptor, name, depth - 1);
            if (found)
                return found;
        }
    return NULL;
}

static const ProtobufCMessageDescriptor *message_type(const char *name)
{
    static const ProtobufCMessageDescriptor *const roots[] = {
        &caffe__net_parameter__descriptor, &caffe__solver_parameter__descriptor,
        &caffe__solver_state__descriptor, &caffe__datum__descriptor,
        &caffe__blob_proto_vector__descriptor};
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        const ProtobufCMessageDescriptor *found = search(roots[i], name, 4);
        if (found)
            return found;
    }
    fail_msg("no message is called %s", name);
    return NULL;
}

static json_t *load_json(const char *path)
{
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (!json)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    return json;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static qf_buffer load(qf_context *context, const char *folder, const char *name)
{
    qf_buffer file = {0};
    char *path = test_format("%s/%s", folder, name);
    assert_ok(context, qf_file_read(context, path, &file));
    qf_free(path);
    return file;
}

static void assert_encodes_as(const ProtobufCMessage *message, const qf_buffer *expected,
                              const char *name)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(size + 1);
    protobuf_c_message_pack(message, bytes);
    if (size != expected->size || memcmp(bytes, qf_buffer_text(expected), size) != 0)
        fail_msg("%s: encodes to other bytes (%zu, expected %zu)", name, size, expected->size);
    free(bytes);
}

static void check_accepted(qf_context *context, const char *folder, const json_t *entry)
{
    const char *name = text_of(entry, "name");
    const ProtobufCMessageDescriptor *type = message_type(text_of(entry, "message"));
    qf_buffer text = load(context, folder, text_of(entry, "file"));
    qf_buffer binary = load(context, folder, text_of(entry, "binary"));
    qf_buffer canonical = load(context, folder, text_of(entry, "canonical")), printed = {0};
    ProtobufCMessage *message;
    /* protoc warns about these; Caffe and we refuse them. */
    const char *warning = text_of(json_array_get(json_object_get(entry, "warnings"), 0), "text");
    bool missing_required = warning && strstr(warning, "missing required");
    qf_status status =
        qf_text_parse(context, name, qf_buffer_text(&text), text.size, type, &message);
    if (missing_required) {
        assert_int_not_equal(status, QF_OK);
    } else if (status != QF_OK && strstr(qf_error_text(context), "NUL byte")) {
        print_message("%s: strings with NUL bytes are refused here\n", name);
    } else {
        if (status != QF_OK)
            fail_msg("%s: %s", name, qf_error_text(context));
        assert_encodes_as(message, &binary, name);
        qf_message_free(message);
        assert_ok(context, qf_wire_parse(context, name, qf_buffer_text(&binary), binary.size, type,
                                         &message));
        qf_text_print(message, &printed);
        if (strcmp(qf_buffer_text(&printed), qf_buffer_text(&canonical)) != 0)
            fail_msg("%s prints as\n%s\nexpected\n%s", name, qf_buffer_text(&printed),
                     qf_buffer_text(&canonical));
        qf_message_free(message);
    }
    qf_buffer_release(&text);
    qf_buffer_release(&binary);
    qf_buffer_release(&canonical);
    qf_buffer_release(&printed);
}

static void check_rejected(qf_context *context, const char *folder, const json_t *entry)
{
    const char *name = text_of(entry, "name");
    qf_buffer text = load(context, folder, text_of(entry, "file"));
    ProtobufCMessage *message;
    if (qf_text_parse(context, name, qf_buffer_text(&text), text.size,
                      message_type(text_of(entry, "message")), &message) == QF_OK)
        fail_msg("%s was accepted", name);
    assert_null(message);
    const json_t *first = json_array_get(json_object_get(entry, "errors"), 0);
    if (json_object_get(first, "line")) {
        char *place =
            test_format("%s:%d:%d: ", name, (int)json_integer_value(json_object_get(first, "line")),
                        (int)json_integer_value(json_object_get(first, "column")));
        if (strncmp(qf_error_text(context), place, strlen(place)) != 0)
            fail_msg("expected %s%s\ngot      %s", place, text_of(first, "text"),
                     qf_error_text(context));
        qf_free(place);
    }
    qf_buffer_release(&text);
}

static void text_format_agrees_with_protoc(void **unused)
{
    (void)unused;
    qf_context *context = test_context();
    char *folder = test_format("%s/caffe/text_format", golden);
    char *path = test_format("%s/index.json", folder);
    json_t *index = load_json(path), *entry;
    size_t i;
    json_array_foreach(json_object_get(index, "accepted"), i, entry)
        check_accepted(context, folder, entry);
    json_array_foreach(json_object_get(index, "rejected"), i, entry)
        check_rejected(context, folder, entry);
    print_message("%zu accepted, %zu rejected\n",
                  json_array_size(json_object_get(index, "accepted")),
                  json_array_size(json_object_get(index, "rejected")));
    json_decref(index);
    qf_free(path);
    qf_free(folder);
    qf_context_destroy(context);
}

/* ---- upgrade ---- */

static void collect(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)file;
    (void)line;
    qf_buffer_print(user, "%c %s\n", "DIWE"[level], text);
}

/* Lines that the library owes, not the tool around it. */
static bool is_library_line(const char *text)
{
    static const char *const of_the_tool[] = {"Wrote upgraded", "File already in latest",
                                              "Encountered error(s)", "Error parsing",
                                              "Failed to parse"};
    for (size_t i = 0; i < sizeof of_the_tool / sizeof *of_the_tool; i++)
        if (strncmp(text, of_the_tool[i], strlen(of_the_tool[i])) == 0)
            return false;
    return true;
}

static qf_status upgrade(qf_context *context, const char *kind, const char *input, void *out)
{
    bool changed;
    Caffe__SolverParameter *solver = NULL;
    if (strcmp(kind, "net") == 0)
        return qf_net_param_read(context, input, out);
    if (strcmp(kind, "net_binary") == 0)
        return qf_net_param_read_binary(context, input, out);
    assert_string_equal(kind, "solver");
    qf_status status = qf_text_read(context, input, &caffe__solver_parameter__descriptor, &solver);
    if (status == QF_OK)
        status = qf_solver_param_upgrade(context, input, solver, &changed);
    if (status != QF_OK) {
        qf_message_free(solver);
        solver = NULL;
    }
    memcpy(out, &solver, sizeof solver);
    return status;
}

static void check_upgrade(const char *name)
{
    qf_context *context = test_context();
    qf_buffer log = {0}, expected_log = {0}, printed = {0}, expected_text = {0};
    qf_context_set_log(context, collect, &log, QF_INFO);
    json_t *test = load_json("case.json"), *message;
    const char *kind = text_of(test, "kind"), *expected = text_of(test, "expected");
    ProtobufCMessage *result, *wanted;
    qf_status status = upgrade(context, kind, text_of(test, "input"), &result);
    size_t i;
    bool fatal = false;
    json_array_foreach(json_object_get(test, "messages"), i, message)
    {
        fatal = fatal || *text_of(message, "severity") == 'F';
        if (!fatal && is_library_line(text_of(message, "text")))
            qf_buffer_print(&expected_log, "%s %s\n", text_of(message, "severity"),
                            text_of(message, "text"));
    }
    if (!expected) {
        if (status == QF_OK)
            fail_msg("upgrade/%s was accepted", name);
    } else {
        if (status != QF_OK)
            fail_msg("upgrade/%s: %s", name, qf_error_text(context));
        if (strcmp(kind, "net_binary") == 0) {
            assert_ok(context,
                      qf_wire_read(context, expected, &caffe__net_parameter__descriptor, &wanted));
            qf_text_print(wanted, &expected_text);
            qf_message_free(wanted);
        } else {
            assert_ok(context, qf_file_read(context, expected, &expected_text));
        }
        qf_text_print(result, &printed);
        if (strcmp(qf_buffer_text(&printed), qf_buffer_text(&expected_text)) != 0)
            fail_msg("upgrade/%s gives\n%s\nexpected\n%s", name, qf_buffer_text(&printed),
                     qf_buffer_text(&expected_text));
        qf_message_free(result);
    }
    if (strcmp(qf_buffer_text(&log), qf_buffer_text(&expected_log)) != 0)
        fail_msg("upgrade/%s logs\n%s\nexpected\n%s", name, qf_buffer_text(&log),
                 qf_buffer_text(&expected_log));
    json_decref(test);
    qf_buffer_release(&log);
    qf_buffer_release(&expected_log);
    qf_buffer_release(&printed);
    qf_buffer_release(&expected_text);
    qf_context_destroy(context);
}

static void old_files_upgrade_as_in_caffe(void **unused)
{
    (void)unused;
    char *root = test_format("%s/caffe/upgrade", golden), before[4096];
    DIR *folder = opendir(root);
    assert_non_null(folder);
    assert_non_null(getcwd(before, sizeof before));
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        char *path = test_format("%s/%s", root, entry->d_name);
        char *file = test_format("%s/case.json", path);
        if (entry->d_name[0] != '.' && access(file, R_OK) == 0) {
            assert_int_equal(chdir(path), 0); /* messages name files as given */
            check_upgrade(entry->d_name);
            assert_int_equal(chdir(before), 0);
            count++;
        }
        qf_free(path);
        qf_free(file);
    }
    print_message("%d cases\n", count);
    assert_true(count > 0);
    closedir(folder);
    qf_free(root);
}

int main(void)
{
    golden = test_golden_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_format_agrees_with_protoc),
        cmocka_unit_test(old_files_upgrade_as_in_caffe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
