/* Writes the seeds of all fuzz targets into the folders <out>/<target>/. Small, and all made here.
 */
#include "base/file.h"
#include "base/memory.h"
#include "data/stores/sample_store.h"
#include "fuzz.h"
#include "model/model.h"
#include "net.h"
#include "onnx/onnx_file.h"
#include "onnx/onnx_rows.h"

#include <dirent.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>
#include <unistd.h>

/* Of "abc". */
#define FUZZ_DIGEST "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static qf_context *context;

static void put(const char *target, const char *name, const void *bytes, size_t size)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", target, name);
    fuzz_require(qf_file_write(context, path, bytes, size, 0644) == QF_OK, qf_error_text(context));
}

static void put_text(const char *target, const char *name, const char *text)
{
    put(target, name, text, strlen(text));
}

/* With a byte in front that chooses what is read. */
static void put_choice(const char *target, const char *name, char choice, const void *bytes,
                       size_t size)
{
    qf_buffer all = {0};
    qf_buffer_append(&all, &choice, 1);
    qf_buffer_append(&all, bytes, size);
    put(target, name, qf_buffer_text(&all), all.size);
    qf_buffer_release(&all);
}

/* ---- images ---- */

enum { HEIGHT = 5, WIDTH = 7 };

/* As the image itself, and as the data of an encoded datum. */
static void put_image(const char *name, const void *bytes, size_t size)
{
    Caffe__Datum datum = CAFFE__DATUM__INIT;
    put("fuzz_image", name, bytes, size);
    datum.has_encoded = datum.encoded = datum.has_label = datum.has_data = true;
    datum.label = 3;
    datum.data.data = (uint8_t *)bytes;
    datum.data.len = size;
    uint8_t *packed = qf_alloc(caffe__datum__get_packed_size(&datum), 1);
    put("fuzz_datum", name, packed, caffe__datum__pack(&datum, packed));
    qf_free(packed);
}

static void put_jpeg(const char *name, const uint8_t *pixels, int format, int subsampling,
                     int flags)
{
    tjhandle encoder = tjInitCompress();
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    fuzz_require(tjCompress2(encoder, pixels, WIDTH, 0, HEIGHT, format, &bytes, &size, subsampling,
                             80, flags) == 0,
                 "no JPEG");
    put_image(name, bytes, size);
    if (strcmp(name, "color.jpg") == 0) { /* once more, lying on its side */
        static const uint8_t exif[] = "\xff\xe1\0\x22"
                                      "Exif\0\0"
                                      "II*\0\x8\0\0\0"
                                      "\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0";
        qf_buffer turned = {0};
        qf_buffer_append(&turned, bytes, 2);
        qf_buffer_append(&turned, exif, 0x24);
        qf_buffer_append(&turned, bytes + 2, size - 2);
        put_image("turned.jpg", turned.data, turned.size);
        qf_buffer_release(&turned);
    }
    tjFree(bytes);
    tjDestroy(encoder);
}

static void append_bytes(png_structp png, png_bytep bytes, size_t size)
{
    qf_buffer_append(png_get_io_ptr(png), bytes, size);
}

static void put_png(const char *name, const uint8_t *pixels, int kind, int depth, int interlace)
{
    static const png_color palette[4] = {{0, 0, 0}, {255, 0, 0}, {0, 255, 0}, {9, 9, 200}};
    static const png_byte alpha[2] = {0, 100};
    qf_buffer file = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    fuzz_require(setjmp(png_jmpbuf(png)) == 0, "no PNG");
    png_set_write_fn(png, &file, append_bytes, NULL);
    png_set_IHDR(png, info, WIDTH, HEIGHT, depth, kind, interlace, 0, 0);
    if (kind == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 4);
        png_set_tRNS(png, info, alpha, 2, NULL);
    }
    png_write_info(png, info);
    for (int pass = 0, passes = png_set_interlace_handling(png); pass < passes; pass++)
        for (int row = 0; row < HEIGHT; row++)
            png_write_row(png, (uint8_t *)pixels + row * 8);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    put_image(name, file.data, file.size);
    qf_buffer_release(&file);
}

static void put_bmp(const char *name, const uint8_t *pixels, uint8_t depth)
{
    uint8_t file[54 + 4 * 256 + HEIGHT * WIDTH * 4] = "BM";
    const int palette = depth <= 8 ? 4 << depth : 0, row = (WIDTH * depth + 31) / 32 * 4;
    file[10] = (uint8_t)((54 + palette) & 255);
    file[11] = (uint8_t)((54 + palette) >> 8);
    file[14] = 40;
    file[18] = WIDTH;
    file[22] = HEIGHT;
    file[26] = 1;
    file[28] = depth;
    for (int i = 0; i < palette + row * HEIGHT; i++)
        file[54 + i] = pixels[i % 64];
    put_image(name, file, (size_t)(54 + palette + row * HEIGHT));
}

static void put_raw_datum(void)
{
    Caffe__Datum datum = CAFFE__DATUM__INIT;
    uint8_t pixels[12] = {1, 2, 3}, packed[256];
    float values[12] = {1, -2, 1e9f};
    datum.has_channels = datum.has_height = datum.has_width = datum.has_data = true;
    datum.channels = 3;
    datum.height = datum.width = 2;
    datum.data.data = pixels;
    datum.data.len = sizeof pixels;
    put("fuzz_datum", "bytes", packed, caffe__datum__pack(&datum, packed));
    datum.has_data = false;
    datum.float_data = values;
    datum.n_float_data = 12;
    put("fuzz_datum", "floats", packed, caffe__datum__pack(&datum, packed));
}

/* Two boxes on a raw image of colours. */
static void put_annotated_datum(void)
{
    uint8_t pixels[3 * 8 * 12], bytes[1024];
    Caffe__AnnotatedDatum item = CAFFE__ANNOTATED_DATUM__INIT;
    Caffe__Datum image = CAFFE__DATUM__INIT;
    Caffe__AnnotationGroup group = CAFFE__ANNOTATION_GROUP__INIT, *groups[] = {&group};
    Caffe__Annotation boxes[] = {CAFFE__ANNOTATION__INIT, CAFFE__ANNOTATION__INIT},
                      *annotations[] = {&boxes[0], &boxes[1]};
    Caffe__NormalizedBBox box = CAFFE__NORMALIZED_BBOX__INIT;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 7);
    box.has_xmin = box.has_ymin = box.has_xmax = box.has_ymax = box.has_difficult = true;
    box.xmin = 0.2f;
    box.ymin = 0.1f;
    box.xmax = 0.9f;
    box.ymax = 0.8f;
    boxes[0].bbox = boxes[1].bbox = &box;
    group.has_group_label = true;
    group.group_label = 3;
    group.n_annotation = 2;
    group.annotation = annotations;
    image.has_channels = image.has_height = image.has_width = image.has_data = true;
    image.channels = 3;
    image.height = 8;
    image.width = 12;
    image.data.data = pixels;
    image.data.len = sizeof pixels;
    item.datum = &image;
    item.has_type = true;
    item.n_annotation_group = 1;
    item.annotation_group = groups;
    put("fuzz_annotated_datum", "raw", bytes, caffe__annotated_datum__pack(&item, bytes));
}

static void images(void)
{
    put_annotated_datum();
    uint8_t pixels[HEIGHT * WIDTH * 8];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(37 * i);
    put_jpeg("color.jpg", pixels, TJPF_BGR, TJSAMP_420, 0);
    put_jpeg("progressive.jpg", pixels, TJPF_BGR, TJSAMP_444, TJFLAG_PROGRESSIVE);
    put_jpeg("gray.jpg", pixels, TJPF_GRAY, TJSAMP_GRAY, 0);
    put_jpeg("cmyk.jpg", pixels, TJPF_CMYK, TJSAMP_444, 0);
    put_png("color.png", pixels, PNG_COLOR_TYPE_RGB, 8, 0);
    put_png("alpha.png", pixels, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1);
    put_png("gray16.png", pixels, PNG_COLOR_TYPE_GRAY, 16, 0);
    put_png("gray1.png", pixels, PNG_COLOR_TYPE_GRAY, 1, 0);
    put_png("palette.png", pixels, PNG_COLOR_TYPE_PALETTE, 2, 0);
    for (int i = 0; i < 6; i++) {
        static const uint8_t depths[] = {1, 4, 8, 16, 24, 32};
        char name[16];
        snprintf(name, sizeof name, "%u.bmp", depths[i]);
        put_bmp(name, pixels, depths[i]);
    }
    put_raw_datum();
}

/* ---- databases, nets, states ---- */

static void put_file_of(const char *target, const char *name, const char *path)
{
    qf_buffer file = {0};
    fuzz_require(qf_file_read(context, path, &file) == QF_OK, qf_error_text(context));
    put(target, name, file.data, file.size);
    qf_buffer_release(&file);
}

/* `count` items: more than one leaf, and values that need pages of their own. */
static void put_lmdb(const char *name, int count)
{
    qf_sample_writer *writer;
    char value[9000] = "value";
    bool good = qf_sample_writer_create(context, name, QF_STORE_LMDB, &writer) == QF_OK;
    for (int i = 0; good && i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%08d", i);
        good =
            qf_sample_writer_put(context, writer, key, value, i == 3 ? sizeof value : 40) == QF_OK;
    }
    good = good && qf_sample_writer_finish(context, writer, true) == QF_OK;
    fuzz_require(good, qf_error_text(context));
    char path[64];
    snprintf(path, sizeof path, "%s/data.mdb", name);
    put_file_of("fuzz_lmdb", name, path);
}

/* Each file of a database behind its number, in the order of names. */
static void put_leveldb(void)
{
    struct dirent **entries;
    char number = 0;
    fuzz_make_leveldb(context, "leveldb");
    const int found = scandir("leveldb", &entries, NULL, alphasort);
    for (int i = 0; i < found; i++) {
        char path[300];
        qf_buffer file = {0};
        snprintf(path, sizeof path, "leveldb/%.200s", entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && strncmp(entries[i]->d_name, "LO", 2) != 0) {
            fuzz_require(qf_file_read(context, path, &file) == QF_OK, qf_error_text(context));
            put_choice("fuzz_leveldb", entries[i]->d_name, number++, qf_buffer_text(&file),
                       file.size);
        }
        qf_buffer_release(&file);
        free(entries[i]);
    }
    free(entries);
}

static void databases(void)
{
    put_lmdb("two", 2);
    put_lmdb("many", 120);
    put_leveldb();
}

static void put_wire(const char *target, const char *name, const void *message)
{
    const size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = qf_alloc(size + 1, 1);
    protobuf_c_message_pack(message, bytes);
    put(target, name, bytes, size);
    qf_free(bytes);
}

static void models(void)
{
    static const char text[] = "name: 'n' " FUZZ_NET;
    static const char old[] = "name: 'old' input: 'data' input_dim: 1 input_dim: 1 input_dim: 4 "
                              "input_dim: 4 layers { name: 'ip' type: INNER_PRODUCT bottom: 'data' "
                              "top: 'ip' inner_product_param { num_output: 2 weight_filler { type: "
                              "'xavier' } } }";
    static const char forks[] =
        "layer { name: 'd' type: 'Input' top: 'd' top: 'l' input_param { shape { dim: 1 dim: 16 "
        "dim: 3 dim: 4 } shape { dim: 1 dim: 1 dim: 2 dim: 5 } } } layer { name: 'p' type: "
        "'MirrorPad' bottom: 'd' top: 'p' mirror_pad_param { paddings: [0, 0, 0, 0, 1, 0, 0, 2] "
        "mode: 'REFLECT' } } layer { name: 's' type: 'SpaceToBatchND' bottom: 'p' top: 's' "
        "space_to_batch_nd_param { block_shape: [1, 2, 2] paddings: [0, 0, 0, 0, 1, 1] } } layer { "
        "name: 'r' type: 'ResizeBilinear' bottom: 's' top: 'r' resize_bilinear_param { "
        "output_height: 2 output_width: 1 data_format: 'NCHW' } } layer { name: 'z' type: "
        "'Squeeze' bottom: 'r' top: 'z' squeeze_param { axis: -1 } } layer { name: 'm' type: 'Mul' "
        "bottom: 'z' top: 'm' mul_param { mul_shape: [16, 1] } } layer { name: 'y' type: 'Yolov3' "
        "bottom: 'd' bottom: 'l' top: 'y' yolov3_param { num_class: 3 num: 2 mask: [0, 1] biases: "
        "[9, 8, 7, 6] } } layer { name: 'o' type: 'Yolov3DetectionOutput' bottom: 'd' top: 'o' "
        "yolov3_detection_output_param { num_classes: 3 num_box: 2 mask: [0, 1] biases: [9, 8, 7, "
        "6] anchors_scale: 8 } }";
    static const char rpn[] = /* settings of layers in Python */
        "layer { name: 'm' type: 'Input' top: 'm' top: 'o' top: 's' input_param { shape { dim: 1 "
        "dim: "
        "4 dim: 3 dim: 2 } shape { dim: 1 dim: 5 } shape { dim: 1 dim: 3 } } } layer { name: 'a' "
        "type: "
        "'Python' bottom: 'm' bottom: 'o' bottom: 's' top: 'l' top: 't' top: 'i' top: 'w' "
        "python_param "
        "{ module: 'rpn.anchor_target_layer' layer: 'AnchorTargetLayer' param_str: "
        "\"{'feat_stride': "
        "8, 'scales': !!python/tuple [1, 2], ratios: (1)}\\nrpn_bbox_inside_weights:\\n - 1\\n - "
        "1\\n - 1\\n - 1\\n'rpn_clobber_positives': True # x\" } } layer { name: 'p' type: "
        "'Python' "
        "bottom: 'o' bottom: 'o' top: 'r' top: 'c' top: 'd' top: 'e' top: 'f' python_param { "
        "module: "
        "'rpn.proposal_target_layer' layer: 'ProposalTargetLayer' param_str: \"'num_classes': 2\" "
        "} }";
    Caffe__NetParameter *net;
    put_text("fuzz_text", "forks", forks);
    put_text("fuzz_net", "forks", forks);
    put_text("fuzz_text", "net", text);
    put_text("fuzz_text", "old", old);
    put_text("fuzz_net", "net", text);
    put_text("fuzz_net", "old", old);
    put_text("fuzz_net", "rpn", rpn);
    fuzz_require(qf_text_parse(context, "net", text, sizeof text - 1,
                               &caffe__net_parameter__descriptor, &net) == QF_OK,
                 qf_error_text(context));
    put_wire("fuzz_wire", "net", net);
    qf_message_free(net);
}

static void mean_file(void)
{
    Caffe__BlobProto blob = CAFFE__BLOB_PROTO__INIT;
    float values[12] = {1, 2, 3};
    blob.has_num = blob.has_channels = blob.has_height = blob.has_width = true;
    blob.num = 1;
    blob.channels = 3;
    blob.height = blob.width = 2;
    blob.data = values;
    blob.n_data = 12;
    put_wire("fuzz_mean", "mean", &blob);
}

static void states(void)
{
    static const char settings[] = "net: 'net' type: 'Adam' base_lr: 0.01 lr_policy: 'fixed' "
                                   "max_iter: 9 snapshot_prefix: 's' random_seed: 1";
    static const char net[] = FUZZ_NET;
    qf_solver *solver = NULL;
    fuzz_require(qf_file_write(context, "net", net, strlen(net), 0644) == QF_OK &&
                     qf_file_write(context, "solver", settings, strlen(settings), 0644) == QF_OK &&
                     qf_solver_create(context, "solver", &solver) == QF_OK &&
                     qf_solver_snapshot(solver) == QF_OK,
                 qf_error_text(context));
    qf_solver_destroy(solver);
    put_file_of("fuzz_solverstate", "state", "s_iter_0.solverstate");
    put_file_of("fuzz_wire", "weights", "s_iter_0.caffemodel");
}

static void texts(void)
{
    static const char json[] =
        "{\"version\":1, \"batch_num\":1, \"conv\":{\"retrain_enable\":true, "
        "\"retrain_data_config\":{\"algo\":\"ulq_quantize\",\"clip_max\":3.0,\"clip_min\":-3.0},"
        "\"retrain_weight_config\":{\"algo\":\"arq_retrain\",\"channel_wise\":true}}}";
    static const char definition[] =
        "version: 1 batch_num: 1 retrain_data_quant_config: { ulq_quantize: { clip_max_min: { "
        "clip_max: 3.0 clip_min: -3.0 } } } override_layer: { layer_name: \"conv\" }";
    static const char record[] = "record { key: \"conv\" value { scale_d: 0.1 offset_d: 3 scale_w: "
                                 "0.5 scale_w: 0.25 scale_w: 1 offset_w: 0 offset_w: 0 offset_w: 0 "
                                 "shift_bit: 1 shift_bit: 1 shift_bit: 2 } }";
    static const char calibration[] =
        "{\"version\":1, \"batch_num\":2, \"activation_offset\":true, \"skip_fusion_layers\":["
        "\"conv\"], \"conv\":{\"quant_enable\":true, \"activation_quant_params\":{"
        "\"max_percentile\":\"0.9\", \"search_range\":[0.7, 1.3], \"search_step\":0.01}, "
        "\"weight_quant_params\":{\"wts_algo\":\"arq_quantize\", \"channel_wise\":true}}, "
        "\"ip\":{\"activation_quant_params\":{\"num_of_bins\":4096}}}";
    static const char simplified[] =
        "batch_num: 2 skip_layers: 'ip' skip_layer_types: 'Pooling' common_config { ifmr_quantize "
        "{ search_step: 0.02 } hfmg_quantize { } } override_layer_types { layer_type: "
        "'Convolution' calibration_config { arq_quantize { channel_wise: false } } } "
        "fc_calibration_config { }";
    static const char annotation[] =
        "<annotation><size><width>40</width><height>30</height></size><object><name>cat</name>"
        "<difficult>1</difficult><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>25.5</"
        "ymax>"
        "</bndbox></object></annotation>";
    static const char coco[] = "{\"image\":{\"width\":40,\"height\":30},\"annotation\":[{"
                               "\"category_id\":18,\"bbox\":[1,2,30,20],\"iscrowd\":1}]}";
    put_choice("fuzz_config", "json", 0, json, sizeof json - 1);
    put_choice("fuzz_config", "cfg", 1, definition, sizeof definition - 1);
    put_choice("fuzz_config", "record", 2, record, sizeof record - 1);
    put_choice("fuzz_config", "calibration_json", 3, calibration, sizeof calibration - 1);
    put_choice("fuzz_config", "calibration_cfg", 4, simplified, sizeof simplified - 1);
    put_text("fuzz_lists", "images", "a.png 1\r\n\nb c.png 2\nno label\nx.png 99999999999");
    put_text("fuzz_lists", "label_maps",
             "a.png b.png\n\n c.png\td.png more\r\ne.png 17\nalone.png\n");
    put_text("fuzz_lists", "windows",
             "# 0\na.png\n3\n30\n40\n2\n3 0.9 4 5 20 24\n1 0.1 10 2 35 15\n# 1 b.png 3 4 5 0\n");
    put_text("fuzz_lists", "fields",
             "# 0\na.png\n3\n30\n40\n2\n3 0 4 5 20 24\n1 1 10 2 35 15\n1\n0 0 9 9\n"
             "# 1 b.png 3 4 5 0 0\n");
    put_choice("fuzz_annotation", "xml", 0, annotation, sizeof annotation - 1);
    put_choice("fuzz_annotation", "json", 1, coco, sizeof coco - 1);
    put_choice("fuzz_annotation", "txt", 2, "1 2 3 4 5\n2 0.5 1 9 8\n", 22);
    put_text("fuzz_checksum", "plain", FUZZ_DIGEST "  file\n");
    put_text("fuzz_checksum", "list", FUZZ_DIGEST " *other\r\n\\" FUZZ_DIGEST "  fi\\\\le\n");
    put_text("fuzz_checksum", "tag", "SHA256 (a/file) = " FUZZ_DIGEST "\n");
    put("fuzz_hdf5", "sets", "\0\4\2\3\1\1\2\0\2\2\3\3\7\0\1\0\x11\1\5\0\x16\1\1\1", 24);
}

/* One of each kind of mark. */
static void file_types(void)
{
    static const char target[] = "fuzz_file_type";
    static const char json[] = "{\"a\": {\"retrain_enable\": true}}";
    put_text(target, "net", "# a net\nname: 'n' layer { name: 'a' blobs { data: 1 } }");
    put_text(target, "solver", "net: \"a\\\"{\" base_lr: 1\nmax_iter: 3");
    put_text(target, "json", json);
    put_text(target, "list", "a b.png 3\nc.png\t4\r\n");
    put_text(target, "arrays", "a.h5\nb.hdf5\n");
    put_text(target, "lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n");
    put_text(target, "page", "\xef\xbb\xbf\n <!DOCTYPE HTML><html>");
    put(target, "wide", "n\0a\0m\0e\0:\0 \0", 12);
    put(target, "weights", "\x0a\x01n\xa2\x06\x03\x0a\x01\x61", 9);
    put(target, "state", "\x08\x05\x12\x03net\x20\x01", 9);
    put(target, "blob", "\x08\x01\x10\x01\x18\x01\x20\x01\x2a\x04\0\0\x80\x3f", 14);
    put(target, "onnx", "\x08\x07\x12\x02pt\x3a\x02\x0a\0\x42\x02\x10\x0b", 14);
    put(target, "hdf5", "\x89HDF\r\n\x1a\n learned_net", 20);
    put(target, "lmdb", "\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\0\0\xde\xc0\xef\xbe", 20);
    put(target, "bmp", "BM\x20\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0\1\0\1\0\1\0\x18\0\0\0\0\0\0\0",
        32);
}

/* ---- ONNX models: the graphs of the tests ---- */

static void put_onnx(int number, const onnx_row *row)
{
    qf_buffer text = {0};
    Onnx__Model *model;
    void *bytes;
    size_t size;
    char name[16];
    qf_buffer_print(&text,
                    "opset_import { version: %d } graph { %s input { name: 'x' type { "
                    "tensor_type { elem_type: 1 shape { ",
                    row->opset, row->graph);
    for (const char *at = row->shape; *at;
         at += strspn(at, "0123456789") + (strchr(at, ' ') != NULL))
        qf_buffer_print(&text, "dim { dim_value: %d } ", atoi(at));
    qf_buffer_print(&text, "} } } } output { name: 'y' } }");
    fuzz_require(qf_text_parse(context, row->name, qf_buffer_text(&text), text.size,
                               &onnx__model__descriptor, &model) == QF_OK &&
                     qf_wire_pack(context, row->name, model, &bytes, &size) == QF_OK,
                 qf_error_text(context));
    snprintf(name, sizeof name, "row%d", number);
    put("fuzz_onnx", name, bytes, size);
    qf_free(bytes);
    qf_message_free(model);
    qf_buffer_release(&text);
}

static void onnx_models(void)
{
    for (size_t i = 0; i < onnx_row_count; i++)
        put_onnx((int)i, &onnx_rows[i]);
}

int main(int count, char **arguments)
{
    fuzz_require(count == 2, "usage: make_seeds FOLDER");
    context = fuzz_context();
    qf_context_set_seed(context, 1);
    fuzz_enter_folder();
    images();
    databases();
    models();
    onnx_models();
    mean_file();
    file_types();
    states();
    texts();
    char command[512];
    snprintf(command, sizeof command, "mkdir -p '%s' && cp -r fuzz_* '%s'", arguments[1],
             arguments[1]);
    fuzz_require(system(command) == 0, "cannot copy the seeds");
    qf_context_destroy(context);
    return 0;
}
