#!/usr/bin/env python3
"""noise_vectors.py NOISE-VECTORS: exit codes and last line of the program, with damaged,
malformed and unknown input. LINNET_TESTS names the folder of the tests."""
import copy
import json
import os
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
VECTORS = os.path.join(os.environ["LINNET_TESTS"], "vectors")
GOOD = os.path.join(VECTORS, "noise_noisec_25519_chachapoly_blake2b.json")


def run(code, *files):
    got = subprocess.run([PROGRAM, *files], capture_output=True, text=True, timeout=60)
    assert got.returncode == code, (code, got)
    return got.stdout.splitlines(), got.stderr


def flip(text):
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def main():
    with open(GOOD, encoding="ascii") as f:
        good = json.load(f)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "v.json")

        def check(code, content, last=None):
            with open(path, "w", encoding="ascii") as f:
                f.write(content if isinstance(content, str) else json.dumps(content))
            out, err = run(code, path)
            assert last is None or out[-1] == last, out
            assert code != 2 or path in err, err
            return out

        def edited(change):
            j = copy.deepcopy(good)
            change(j["vectors"][0])
            return j

        check(0, good, "15 passed, 0 failed, 0 skipped")
        # A vector that is wrong in any of its parts fails, and is named.
        name = good["vectors"][0]["protocol_name"]
        last = "14 passed, 1 failed, 0 skipped"

        def message(n, key):
            return edited(lambda v: v["messages"][n].update(
                {key: flip(v["messages"][n][key])}))

        for wrong in [message(n, key) for n in (0, 1, 5) for key in ("payload", "ciphertext")] + [
                edited(lambda v: v.update(handshake_hash=flip(v["handshake_hash"]))),
                edited(lambda v: v.update(resp_prologue="00")),
                edited(lambda v: v.update(init_psks=["00" * 32])),
                edited(lambda v: v.pop("init_remote_static")),
                edited(lambda v: v["messages"][1].update({"from": "resp"})),
                edited(lambda v: v["messages"][3].update(rekey_before=True))]:
            out = check(1, wrong, last)
            assert any(line.startswith(f"failed: {name}: ") for line in out), out
        # Unknown suites, patterns and protocols are skipped by name.
        for name in ("Noise_N_448_ChaChaPoly_BLAKE2b", "Noise_XXfallback_25519_ChaChaPoly_BLAKE2b",
                     "Noise_XXpsk4_25519_ChaChaPoly_BLAKE2b", "Signal", "Noise_N",
                     "Noise_" + "N" * 1000 + "_25519_ChaChaPoly_BLAKE2b"):
            out = check(0, edited(lambda v: v.update(protocol_name=name)),
                        "14 passed, 0 failed, 1 skipped")
            assert out[0].startswith("skipped: " + name[:100]), out
        # Malformed files.
        for bad in ("", "{", "[]", "{}", '{"vectors": {}}', '{"vectors": [1]}',
                    '{"vectors": [{}]}', "[" * 100000, "\x00", '{"vectors": [], "vectors": []}',
                    edited(lambda v: v.update(messages=[])),
                    edited(lambda v: v.update(messages=7)),
                    edited(lambda v: v.update(messages=[{}])),
                    edited(lambda v: v.update(init_static="00")),
                    edited(lambda v: v.update(init_static=5)),
                    edited(lambda v: v.update(init_prologue="0")),
                    edited(lambda v: v.update(init_prologue="zz")),
                    edited(lambda v: v.update(init_psks="00")),
                    edited(lambda v: v.update(init_psks=["00"])),
                    edited(lambda v: v["messages"][0].update({"from": "me"})),
                    edited(lambda v: v["messages"][0].pop("ciphertext"))):
            check(2, bad)
        run(2)
        out, err = run(2, os.path.join(folder, "none.json"), GOOD)
        assert out[-1].startswith("15 passed") and "none.json" in err, (out, err)
        run(2, folder)
    print("ok")


if __name__ == "__main__":
    main()
