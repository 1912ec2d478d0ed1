# Run by mmdebstrap beside a root ("$1") in which nothing is installed. Set before this text: package, that of the kernel's debug
# symbols with Debian's architecture and its version, and members, a line for each file of it that is wanted. Leaves these in /sanlab/out.

set -eu
here=$1/sanlab
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

mkdir -p "$here/package" "$here/out"
cd "$here/package"
apt-get --quiet --quiet download "$package"
# It unpacks to some gigabytes: what is not wanted never reaches the disk. Not every module has a file there, which is all that tar
# may complain of: a package that ends too early, or a full disk, is told here, too.
printf '%s\n' "$members" >"$here/members"
dpkg-deb --fsys-tarfile ./*.deb |
    LC_ALL=C tar --extract --directory "$here/out" --wildcards --files-from "$here/members" 2>"$here/said" || true
if grep -v 'Not found in archive$\|Exiting with failure status' "$here/said" >&2; then
    exit 1
fi
rm ./*.deb
