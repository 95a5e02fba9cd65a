"""Opens one sealed secret, with nothing of the product but its documented format (shared/src/seal.rs).

Reads from standard input
    {"key": hex, "sealed": hex, "place": {"tenant": …, "profile": …, "token": …, "field": …, "generation": …}}
and writes the plaintext, as it is, to standard output. What does not open ends it with status 1.
"""

import hmac
import json
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PREAMBLE = b"TKWD\x01\x01"
HEADER_LENGTH = 86


def length_prefixed(part: bytes) -> bytes:
    return len(part).to_bytes(8, "big") + part


def associated_data(header: bytes, place: dict) -> bytes:
    names = [place[name].encode() for name in ("tenant", "profile", "token", "field")]
    generation = place["generation"].to_bytes(8, "big")
    return header + b"".join(map(length_prefixed, [*names, generation]))


def derive(key: bytes, salt: bytes, label: bytes) -> bytes:
    return HKDF(SHA512(), 32, salt, label).derive(key)


def unseal(key: bytes, place: dict, sealed: bytes) -> bytes:
    header, body = sealed[:HEADER_LENGTH], sealed[HEADER_LENGTH:]
    if len(header) != HEADER_LENGTH or not header.startswith(PREAMBLE):
        raise ValueError("no envelope of this format")
    salt, commitment, iv = header[10:42], header[42:74], header[74:86]
    if not hmac.compare_digest(commitment, derive(key, salt, b"tokenward/1/commitment")):
        raise ValueError("sealed under another key")
    message_key = derive(key, salt, b"tokenward/1/message-key")
    return AESGCM(message_key).decrypt(iv, body, associated_data(header, place))


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    try:
        plaintext = unseal(bytes.fromhex(asked["key"]), asked["place"], bytes.fromhex(asked["sealed"]))
    except (ValueError, InvalidTag) as refused:
        sys.exit(f"cannot be opened: {refused!r}")
    sys.stdout.buffer.write(plaintext)
