# Run by mmdebstrap beside a root ("$1") in which nothing is installed. Set before this text: kernels, a line for each: the
# lab's and Debian's name of its architecture, its release, the version of its packages. Leaves in /sanlab/out what the packages
# of their headers hold, and a link to each folder that modules are compiled with, called as the lab calls the architecture.

set -eu
root=$1
here=$root/sanlab
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

mkdir -p "$here/packages" "$here/out"
cd "$here/packages"
while read -r arch debian release version; do
    headers=linux-headers-$release
    wanted="$headers:$debian=$version"
    # Of what they depend on, the compiler and the kernel itself are not needed.
    depends=$(apt-cache show "$wanted" | sed -n 's/^Depends: //p')
    for name in $(printf '%s\n' "$depends" | tr ',' '\n' | sed 's/^ *//; s/[ :].*//'); do
        case $name in linux-headers-*-common | linux-kbuild-*) wanted="$wanted $name=$version" ;; esac
    done
    apt-get --quiet --quiet download $wanted
    ln -s "usr/src/$headers" "$here/out/$arch"
done <<END
$kernels
END
for package in *.deb; do
    dpkg-deb --extract "$package" "$here/out"
done
# The only absolute path in them.
sed -i 's|^include /usr/src/|include ../|' "$here"/out/usr/src/*/Makefile
rm -r "$here/out/usr/share"
