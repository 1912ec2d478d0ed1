# Run by mmdebstrap beside the finished guest root ("$1"), inside its namespaces, so that files keep their owners even
# when the host's user is not root. Set before this text: kernel_package (empty: the kernel is the user's own),
# kernel_modules (1: there are modules), modules, boot_modules, remove (patterns
# that begin with `./`), epoch. Leaves in /sanlab/out what the host takes away.

set -eu
root=$1
here=$root/sanlab
out=$here/out
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

echo "sanlab-phase: kernel" >&2
mkdir -p "$out/modules"
cd "$here"
dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Provides}\n' > "$out/provides"
installed=$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Package}=${Version}\n')
if [ -n "$kernel_package" ]; then
    # linux-image-amd64 is an empty package that depends on the newest kernel.
    real=$(apt-cache depends "$kernel_package" | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
    kernel=${real:-$kernel_package}
    apt-get --quiet --quiet download "$kernel"
    deb=$(echo "$kernel"_*.deb)
    dpkg-deb -x "$deb" kernel
    # Since Debian 13 a package has them below /usr.
    if [ -d kernel/usr/lib/modules ]; then mv kernel/usr/lib/modules/* kernel/lib/modules/; fi
    cp kernel/boot/vmlinuz-* "$out/vmlinuz"
    installed="$installed $kernel=$(dpkg-deb -f "$deb" Version)"
    rm "$deb"
fi
echo "$installed" | xargs apt-cache show > "$out/packages"

bytes() {
    du -sx --apparent-size --block-size=1 "$1" | cut -f 1
}
if [ -n "$kernel_modules" ]; then
    release=$(ls kernel/lib/modules)
    tree=kernel/lib/modules/$release
    modules_untrimmed=$(bytes "$tree")
else
    modules_untrimmed=0
fi
untrimmed=$(bytes "$root")

# Lists the files of modules and of all that they need, in the order in which they load.
closure() {
    chroot "$root" modprobe -d /sanlab/kernel -S "$release" --all --show-depends "$@" |
        sed -n 's|^insmod /sanlab/kernel/lib/modules/[^/]*/\([^ ]*\).*|\1|p' | awk '!seen[$0]++'
}
# Says no for a module that the kernel does not have, which only a user's own kernel may.
has() {
    chroot "$root" modprobe -d /sanlab/kernel -S "$release" --show-depends "$1" > /dev/null 2>&1 && return
    [ -z "$kernel_package" ] && return 1
    echo "E: the kernel has no module $1, which the manifest names" >&2
    exit 1
}
if [ -n "$kernel_modules" ]; then
    chroot "$root" depmod -b /sanlab/kernel "$release"
    wanted=
    for entry in $modules; do
        case $entry in
        */)
            if [ -d "$tree/kernel/$entry" ]; then
                wanted="$wanted $(find "$tree/kernel/$entry" -name '*.ko*' | sed 's|.*/||; s|\.ko.*||')"
            elif [ -n "$kernel_package" ]; then
                echo "E: the kernel has no modules in $entry, which the manifest names" >&2
                exit 1
            fi
            ;;
        *) if has "$entry"; then wanted="$wanted $entry"; fi ;;
        esac
    done
    first=
    for entry in $boot_modules; do
        if has "$entry"; then first="$first $entry"; fi
    done
    closure $first > boot
    closure $wanted $first > files
    (cd "$tree" && find . -maxdepth 1 -name modules.order -o -name 'modules.builtin*') >> files
    mkdir -p "$root/usr/lib/modules/$release"
    (cd "$tree" && xargs cp --parents -t "$root/usr/lib/modules/$release") < files
    chroot "$root" depmod "$release"
    while read -r file; do
        cp "$tree/$file" "$out/modules/"
        echo "${file##*/}"
    done < boot > "$out/order"
    cp -a "$root/usr/lib/modules/$release" "$out/tree"
    modules_bytes=$(bytes "$root/usr/lib/modules/$release")
else
    : > "$out/order"
    modules_bytes=0
fi
cp "$root/bin/busybox" "$out/busybox"

# Ours, whoever owns them on the host.
chown -R 0:0 overlay
chmod -R u=rwX,go=rX overlay
cp -a overlay/. "$root"

# What packages needed to be set up, and no guest does: the shell expands the patterns, in the guest's root.
(cd "$root" && rm -rf -- $remove)

# busybox stands in for programs that no package brings, and for no others. A file decides that: a shell's builtin of that name
# is no program for others.
applets=$(chroot "$root" /bin/busybox --list)
for applet in $applets; do
    there=
    for folder in usr/sbin usr/bin sbin bin; do
        if [ -e "$root/$folder/$applet" ] || [ -L "$root/$folder/$applet" ]; then there=1; fi
    done
    [ -n "$there" ] || ln -s /bin/busybox "$root/usr/bin/$applet"
done

# What only the build used, and what would differ from one build to the next.
rm -rf "$root"/var/cache/* "$root"/var/lib/apt/lists "$root"/var/log/* "$root"/tmp/* "$root"/run/* "$root"/boot
rm -f "$root"/etc/hostname "$root"/etc/resolv.conf "$root"/etc/machine-id "$root"/etc/*- "$root"/var/lib/dpkg/*-old
rm -rf "$root"/etc/apt "$root"/etc/dpkg

mv out ../.sanlab-out
rm -rf "$here"
cat > "$root/.sanlab-out/facts" <<END
untrimmed $untrimmed
trimmed $(bytes "$root")
modules_untrimmed $modules_untrimmed
modules $modules_bytes
END

echo "sanlab-phase: root" >&2
cd /
# Nothing is compressed: guests read what they need through the host's page cache, and under TCG lz4 costs more than it
# saves. No extended attributes: everything runs as root, and mkfs.erofs would look for them in /proc. /proc and /sys are
# mounted now and look different with and without root: the initramfs makes them.
mkfs.erofs --quiet -x-1 -T "$epoch" -U 5a41b1ab-0000-4000-8000-000000000001 \
    --exclude-regex='^(proc|sys)(/|$)' --exclude-regex='^dev/.' --exclude-regex='^\.sanlab-out' \
    "$root/.sanlab-out/root.erofs" "$root"
