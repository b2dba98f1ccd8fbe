/* Nets of a test's own that qf_ptq_run() quantises: net.prototxt and net.caffemodel in the working
 * directory, its images in the folder raw (test_write_net(), test_write_images()). */
#ifndef QF_TESTS_CALIBRATED_H
#define QF_TESTS_CALIBRATED_H

#include "harness/harness.h"

extern const qf_data_options test_raw_data;

/* Nothing equalised or corrected, AMCT's settings. */
qf_ptq_options test_calibration(const char *prefix);
/* The same by few bits: in convolutions for each channel, in products for all. */
qf_ptq_options test_calibration_by_bits(const char *prefix, int batches, int bits);
/* Fake-quant and deploy models agree in every integer. */
void test_calibrate(const qf_ptq_options *options);

/* What blob `blob` of the float net and of the fake-quant model at `prefix` are, for each of
 * `batches` images of `size` values for their input "x". */
typedef void test_each_output(void *user, const float *plain, const float *fake, size_t count);
void test_compare_outputs(const char *prefix, const char *blob, const float *images, int batches,
                          size_t size, test_each_output *each, void *user);
void test_assert_same_files(const char *file, const char *other);

#endif
