"""Programs end with their own exit code, whatever their threads are in the middle of."""

import subprocess
import sys

import pytest

MIDDLE_OF_COMPILED_CODE = """
import sys, threading, time
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from diskyard import ending

inside = threading.Event()

class Endless(x509.Name):
    @property
    def rdns(self):
        inside.set()
        while True:
            pass

class Lingering:
    def __del__(self, wait=time.sleep):
        wait(0.3)

def sign():
    request = x509.CertificateSigningRequestBuilder().subject_name(Endless([]))
    request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())

threading.Thread(target=sign, daemon=True).start()
inside.wait()
kept = Lingering()
"""
"""A thread stands in Python, called by Rust, while the interpreter takes its time to go down."""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("ending.at_once(lambda: 3)()", 3),
        ("ending.at_once(lambda: sys.exit(3))()", 3),
        ("ending.at_once(lambda: None)()", 0),
        ("sys.exit(3)", -6),
    ],
)
def test_a_thread_in_compiled_code_does_not_change_how_a_program_ends(end: str, code: int) -> None:
    if code < 0 and sys.version_info >= (3, 14):
        pytest.skip("this Python lets such threads be")
    program = f"{MIDDLE_OF_COMPILED_CODE}\nprint('said', end='')\n{end}\n"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (code, "said") if code >= 0 else ended.returncode == code


def test_an_error_that_nobody_expects_is_shown() -> None:
    program = "from diskyard import ending\nending.at_once(lambda: 1 / 0)()"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr
