#!/usr/bin/env bash
# Submit a night to Dataflow, wait for its end, judge it. Exit codes are those of docs/running.md.
#
#   PROJECT=maps REGION=europe-west4 BUCKET=maps-europe-west4 IMAGE=... \
#       examples/dataflow/nightly.sh examples/dataflow/nightly_l4.yaml gs://maps-europe-west4/night
#
# It needs credentials of Google (application default), and the Python and Beam of the image.
set -euo pipefail
config=$1 output=$2

# Four threads share one process, one CUDA context and one copy of each network: while one tile is
# on the GPU, the next are read and the last are measured.
aerial-deblur run "$config" --output "$output" -- \
    --project="$PROJECT" \
    --region="$REGION" \
    --temp_location="gs://$BUCKET/tmp" \
    --sdk_container_image="$IMAGE" \
    --number_of_worker_harness_threads=4 \
    --disk_size_gb=100 \
    --job_name="aerial-deblur-$(date -u +%Y%m%d-%H%M%S)" \
    --labels=job=aerial-deblur
aerial-deblur gate "$output" --against "gs://$BUCKET/runs.parquet"
