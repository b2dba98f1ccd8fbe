/* convert_model: factors that somebody else found, on the net of the tests of calibration. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/ptq_net.h"

#include <string.h>

/* A record as convert_model wants it, or with shifts of 0, as calibration may leave it. */
static void rewrite_record(const char *from, const char *to, bool given, bool skip_fusion)
{
    static const int none[16];
    qf_record *record;
    assert_ok(context, qf_record_read(context, from, &record));
    for (size_t i = 0; i < record->n_record; i++) {
        qf_record_entry *entry = record->record[i]->value;
        const bool pool = strcmp(record->record[i]->key, "pool") == 0;
        assert_ok(context,
                  qf_record_set_shifts(context, entry, none, given || pool ? 0 : entry->n_scale_w));
        if (given && pool)
            entry->n_scale_w = entry->n_offset_w = 0;
        entry->has_skip_fusion = entry->skip_fusion = given && skip_fusion;
    }
    if (given &&
        skip_fusion) { /* an entry without factors: the layer stays float, with its BatchNorm */
        qf_record_entry *entry;
        assert_ok(context, qf_record_find_or_add(context, record, "c4", &entry));
        entry->has_skip_fusion = entry->skip_fusion = true;
    }
    assert_ok(context, qf_record_write(context, to, record));
    qf_message_free(record);
}

static void assert_same_files(const char *first, const char *second)
{
    qf_buffer a = {0}, b = {0};
    assert_ok(context, qf_file_read(context, first, &a));
    assert_ok(context, qf_file_read(context, second, &b));
    if (a.size != b.size || memcmp(a.data, b.data, a.size) != 0)
        fail_msg("%s and %s are not the same", first, second);
    qf_buffer_release(&a);
    qf_buffer_release(&b);
}

static void edit_config(const char *to, const char *from, const char *into)
{
    qf_buffer file = {0};
    assert_ok(context, qf_file_read(context, "config.json", &file));
    qf_buffer_append(&file, "", 1);
    char *text = test_replace(file.data, from, into);
    assert_string_not_equal(text, file.data);
    test_write_text(context, to, text);
    qf_free(text);
    qf_buffer_release(&file);
}

static void converting_gives_the_same_models(void **state)
{
    (void)state;
    static const char *const tails[] = {"fake_quant_model.prototxt",
                                        "fake_quant_weights.caffemodel", "deploy_model.prototxt",
                                        "deploy_weights.caffemodel", "quant.json"};
    qf_quant_graph *graph;
    edit_config("unfolded.json", "\"do_fusion\":true", "\"do_fusion\":false");
    test_ptq_prepare("unfolded.json");
    test_ptq_fill_record("full.txt", true);
    rewrite_record("full.txt", "unshifted.txt", false, false);
    rewrite_record("full.txt", "given.txt", true, true);
    assert_ok(context, qf_quant_open(context, "unfolded.json", "net.prototxt", "net.caffemodel",
                                     "unshifted.txt", &graph));
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, "saved/m"));
    qf_quant_graph_destroy(graph);
    assert_ok(context, qf_convert_model(context, "net.prototxt", "net.caffemodel", "given.txt",
                                        "converted/m"));
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        char *saved = test_format("saved/m_%s", tails[i]);
        char *converted = test_format("converted/m_%s", tails[i]);
        assert_same_files(saved, converted);
        qf_free(saved);
        qf_free(converted);
    }
}

/* Scales are those of the weights in the file; folding changes both. */
static void converting_folds_behind_convolutions(void **state)
{
    (void)state;
    static const char *const folded[] = {"c0_bn", "c0_sc", "c2_bn", "d_bn", "d_sc", "c5_bn"};
    static const char *const kept[] = {"c1_bn", "c1_sc", "c3_bn", "ip_bn", "ip_sc"};
    edit_config("unfolded.json", "\"do_fusion\":true", "\"do_fusion\":false");
    test_ptq_prepare("unfolded.json");
    test_ptq_fill_record("full.txt", true);
    rewrite_record("full.txt", "given.txt", true, false);
    assert_ok(context,
              qf_convert_model(context, "net.prototxt", "net.caffemodel", "given.txt", "folded/m"));
    Caffe__NetParameter *net = test_ptq_net("folded/m_deploy_model.prototxt", NULL);
    for (size_t i = 0; i < sizeof folded / sizeof *folded; i++)
        assert_false(test_ptq_has(net, folded[i]));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(test_ptq_has(net, kept[i]));
    qf_message_free(net);
    test_ptq_verify("folded/m");
    test_ptq_is_close("folded/m_fake_quant_model.prototxt",
                      "folded/m_fake_quant_weights.caffemodel", 0.05);
}

/* Its DeQuant has one scale for all. */
static void inner_products_have_one_scale(void **state)
{
    (void)state;
    test_write_text(context, "two.txt",
                    "record { key: 'ip' value { scale_d: 0.1 offset_d: 0 scale_w: 0.1 scale_w: 0.1 "
                    "offset_w: 0 offset_w: 0 } }");
    assert_fails(
        context, qf_convert_model(context, "net.prototxt", "net.caffemodel", "two.txt", "two/m"),
        "scale_w's length, offset_w's length(2) should be equal to the 1 when channel_wise "
        "be True. Cannot support to quantize ip");
    assert_false(qf_file_exists("two/m_quant.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(converting_gives_the_same_models),
        cmocka_unit_test(converting_folds_behind_convolutions),
        cmocka_unit_test(inner_products_have_one_scale),
    };
    return cmocka_run_group_tests(tests, test_ptq_start, test_stop_in_folder);
}
