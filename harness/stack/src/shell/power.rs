//! How a guest has another guest's power cut: the lab's power switch listens on the console, and answers with a file.

use std::time::Duration;

/// Has the power of `$node` cut, for `sh`: ends with 0 when it is off. `silence`: for so long, at least, whoever asks has not
/// heard of that node; a node that was off within that time is not cut off again.
pub(crate) fn cut(silence: Duration) -> String {
    let silence = silence.as_millis();
    format!(
        r#"read -r id </proc/sys/kernel/random/uuid
answer=/run/sanlab/power/$id
mkdir -p /run/sanlab/power
echo "<1>sanlab power off $node $id {silence}" >/dev/kmsg
tries=0
until [ -e "$answer" ]; do
    tries=$((tries + 1))
    if [ $tries -ge 300 ]; then
        echo "fence $node: the power switch has not answered request $id within 30 s" >&2
        exit 1
    fi
    sleep 0.1
done
read -r said <"$answer"
rm -f "$answer"
[ "$said" = off ] && exit 0
echo "fence $node: the power switch said: $said" >&2
exit 1
"#
    )
}
