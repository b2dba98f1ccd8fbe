"""Caffe's messages (caffe_pb2), made from the library's own schema by the build."""
