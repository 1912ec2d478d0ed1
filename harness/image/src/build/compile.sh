# Run by mmdebstrap beside a root ("$1") that has Debian's compiler for amd64, unpacked and not configured, and our
# sources in /sanlab/source. Set before this text: libraries (packages that programs are linked with, needed for i386 as
# well), epoch. Leaves in /sanlab/out a tar file of programs for each architecture, and the list of packages.

set -eu
root=$1
here=$root/sanlab
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

# Unpacked without what they depend on: the compiler itself and its libraries are needed for amd64 alone.
mkdir -p "$here/out" "$here/i386"
cd "$here/i386"
foreign=$(printf '%s:i386 ' $libraries)
apt-get --quiet --quiet download $foreign
for package in *.deb; do
    dpkg-deb --extract "$package" "$root"
done
for package in *.deb "$root"/var/cache/apt/archives/*.deb; do
    dpkg-deb --show --showformat '${Package}:${Architecture}=${Version}\n' "$package"
done | sed 's/:all=/=/' | xargs apt-cache show > "$here/out/packages"

echo "sanlab-phase: compile" >&2
objects=$(cd "$root" && ls -d usr/lib/gcc/i686-linux-gnu/*)
cat > "$here/cargo.toml" <<END
[build]
target-dir = "/sanlab/target"
[source.crates-io]
replace-with = "vendor"
[source.vendor]
directory = "/sanlab/source/vendor"
[target.'cfg(target_env = "gnu")']
linker = "gcc"
[target.x86_64-unknown-linux-gnu]
rustflags = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"]
[target.i686-unknown-linux-gnu]
rustflags = [
    "-Ctarget-feature=+crt-static", "-Crelocation-model=static",
    "-Clink-arg=-m32", "-Clink-arg=-B/$objects",
]
END
cd /
# Nothing of the host's own cargo reaches it.
env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/tmp CARGO_HOME=/sanlab/cargo CARGO_TERM_COLOR=never \
    chroot "$root" cargo --config /sanlab/cargo.toml build --manifest-path /sanlab/source/Cargo.toml \
    --release --offline --locked --bins \
    --target x86_64-unknown-linux-gnu --target i686-unknown-linux-gnu

pack() {
    (cd "$here/target/$2/release" && find . -maxdepth 1 -type f -perm -100 -printf '%P\n') | sort > "$here/programs"
    tar --create --file "$here/out/$1.tar" --directory "$here/target/$2/release" --files-from "$here/programs" \
        --owner=0:0 --group=0:0 --numeric-owner --mode=755 --mtime="@$epoch" --format=ustar
}
pack x86_64 x86_64-unknown-linux-gnu
pack x86 i686-unknown-linux-gnu
