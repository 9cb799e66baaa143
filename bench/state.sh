# Prints the state of a box after layer 1, a line for each thing: what it is, its name, its value.
# It runs on the box by `ssh HOST sudo bash -s`, and uses nothing of any tool that is compared.
# bench/equality.py puts FILES, UNITS, KERNEL and TREES before it. Without TREES it is the one
# script that checks what layer 1 checks, the limit of every tool; UPGRADE has apt plan an upgrade.
export LC_ALL=C.UTF-8
lines() { sed -u "s/^/$1 /"; }
content() { xargs -0 --no-run-if-empty sha256sum | sed -E 's/^([0-9a-f]+)  (.*)/content \2 \1/'; }
[ -z "$UPGRADE" ] || apt-get --simulate --quiet full-upgrade | sed -un "s/^Inst/upgrade/p" &
systemctl show --property=Id,LoadState,UnitFileState,ActiveState $UNITS |
    sed 's/^$/\x00/' | tr '\n' ' ' | tr '\0' '\n' | lines unit &
sshd -T | lines sshd &
wait
dpkg-query --show -f '${db:Status-Abbrev}${Package} ${Version}\n' | sed -n 's/^ii /package /p'
getent group | awk -F: '{ n = split($4, m, ","); for (i = 1; i <= n; i++) print "member", $1, m[i] }'
ufw status verbose | lines firewall
locale -a | lines locale
systemctl --failed --plain --no-legend | lines failed
for name in $KERNEL; do
    [ ! -w "/proc/sys/$name" ] || echo "kernel $name $(cat "/proc/sys/$name")"
done
stat --format='file %n %f %u %g %N' $FILES 2>&1
printf '%s\0' $FILES | content
[ -z "$TREES" ] || find $TREES -mindepth 1 -printf 'tree %p %M %U %G %l\n'
[ -z "$TREES" ] || find $TREES -type f -print0 | content
