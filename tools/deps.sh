# Sourced by ./run and ./test: the Debian packages linnet needs, in one place.

deps_build=(
    gcc
    libc6-dev
    libinih-dev
    libjansson-dev
    libqrencode-dev
    libsodium-dev
    libsqlite3-dev
    libutf8proc-dev
    libuv1-dev
    libzmq3-dev
    meson
    ninja-build
    pkg-config
)

deps_test=(
    aria2
    clang
    clang-format
    cppcheck
    iproute2
    libclang-rt-14-dev
    libcriterion-dev
    libfaketime
    nftables
    procps
    python3
    python3-cryptography
    python3-libtorrent
    python3-zmq
    rtorrent
    transmission-cli
)

# deps_install PACKAGE...: installs those that are missing; asks for nothing when none is.
deps_install() {
    local package missing=() as_root=()
    if ! command -v dpkg-query >/dev/null; then
        echo "This is no Debian: the packages of tools/deps.sh are taken for granted." >&2
        return 0
    fi
    for package; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null |
            grep -q '^install ok installed$' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "Installing ${missing[*]}" >&2
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Missing packages, and neither root nor sudo to install them." >&2
            echo "Run as root: apt-get install ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2 &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends "${missing[@]}" >&2
}
