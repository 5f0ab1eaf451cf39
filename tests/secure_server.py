"""A real https server on 127.0.0.1 that gives the files of a folder, whole or in ranges.

It is a process of its own, as `stores` says why. Its certificate is made for the test.
"""

import ipaddress
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest


@contextmanager
def serving_securely(folder: Path, keys: Path) -> Iterator[str]:
    """Yield the address of a server that GDAL trusts; key and certificate go to `keys`."""
    write_certificate(keys)
    command = [sys.executable, __file__, str(folder), str(keys)]
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
    ):
        patch.setenv("GDAL_CURL_CA_BUNDLE", str(keys / "certificate.pem"))
        patch.setenv("NO_PROXY", "127.0.0.1")
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(10)


def write_certificate(folder: Path) -> None:
    """Write `key.pem`, and `certificate.pem` for 127.0.0.1 that is valid for a day."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(here, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))


def serve(folder: str, keys: str) -> None:
    """Answer until killed, on a free port that is printed first."""
    import logging

    from werkzeug.exceptions import NotFound
    from werkzeug.serving import make_server
    from werkzeug.utils import send_from_directory

    def answer(environ, start):
        try:
            reply = send_from_directory(folder, environ["PATH_INFO"].lstrip("/"), environ)
        except NotFound as error:
            reply = error.get_response(environ)
        return reply(environ, start)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    pair = (f"{keys}/certificate.pem", f"{keys}/key.pem")
    server = make_server("127.0.0.1", 0, answer, threaded=True, ssl_context=pair)
    print(f"https://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])
