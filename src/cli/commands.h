/* Every command there is; main.c lists them in the order of the help. */
#ifndef QF_CLI_COMMANDS_H
#define QF_CLI_COMMANDS_H

#include "cli/command.h"

extern const command command_qat_config, command_qat_prepare, command_qat_export, command_qat_run,
    command_qat_bits;
extern const command command_ptq_run, command_ptq_auto, command_ptq_config, command_ptq_plan,
    command_ptq_prepare, command_ptq_calibrate, command_ptq_export, command_ptq_convert,
    command_ptq_nuq;
extern const command command_decompose, command_equalise;
extern const command command_verify, command_export_onnx, command_import_onnx;
extern const command command_train, command_test, command_time;
extern const command command_digits, command_convert_idx, command_convert_images;
extern const command command_layers, command_caffe_home, command_version;
extern const command command_inspect, command_report, command_sensitivity;
extern const command command_document;
/* Caffe's programs */
extern const command command_caffe, command_device_query;
extern const command command_convert_annoset, command_create_annoset, command_get_image_size;
extern const command command_convert_imageset, command_compute_image_mean, command_extract_features;
extern const command command_upgrade_net_proto_text, command_upgrade_net_proto_binary;
extern const command command_upgrade_solver_proto_text;
extern const command command_convert_mnist_data, command_convert_mnist_siamese_data;
extern const command command_convert_cifar_data;

#endif
