"""The schemas of simplified configurations that come with amct_caffe."""
import importlib
import pathlib
import shutil
import subprocess
import sys

import pytest
from google.protobuf import text_format

import amct_caffe

SCHEMAS = pathlib.Path(amct_caffe.__file__).parent / "proto"


@pytest.mark.parametrize("name, message, text", [
    ("calibration", "AMCTConfig", "batch_num: 2 common_config: { hfmg_quantize: { num_of_bins: 1024 } }"),
    ("retrain", "AMCTRetrainConfig", "retrain_data_quant_config: { ulq_quantize: { } } "
     "retrain_weight_quant_config: { arq_retrain: { dst_type: INT8 } }"),
    *(("retrain", "AMCTRetrainConfig", "retrain_data_quant_config: { %s: { num_bits: 4 } } "
       "retrain_weight_quant_config: { %s: { num_bits: 4 } }" % names)
      for names in (("lsq_quantize", "lsq_retrain"), ("lsq_plus_quantize", "lsq_retrain"), ("pact_quantize", "arq_retrain"),
                    ("tqt_quantize", "tqt_retrain"))),
])
def test_a_schema_reads_a_configuration(folder, monkeypatch, name, message, text):
    if not shutil.which("protoc"):
        pytest.skip("skipped: schemas: protoc is not installed")
    file = "%s_config_caffe" % name
    subprocess.run(["protoc", "-I%s" % SCHEMAS, "--python_out=.", "%s.proto" % file], check=True)
    monkeypatch.setattr(sys, "path", [str(folder)] + sys.path)
    read = text_format.Parse(text, getattr(importlib.import_module("%s_pb2" % file), message)())
    assert read.IsInitialized() and read.ByteSize() > 0
