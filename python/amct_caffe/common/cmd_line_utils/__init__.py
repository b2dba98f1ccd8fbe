"""The program `amct_caffe calibration`: its arguments, its data, its steps."""
