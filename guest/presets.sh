#!/bin/sh
# Makes presets say of every unit what it is: a first boot then changes none.
#
# systemd applies presets at a first boot, which is one whose machine-id is "uninitialized", and
# what no preset names is enabled: nftables.service, whose start removes all rules of a firewall,
# ssh.socket, iscsid.service. Packages apply them, too, when a unit comes for the first time, so
# units that are not there yet stay the distribution's affair.
# Source: systemd.preset(5); machine-id(5), "First Boot Semantics"; deb-systemd-helper(1p).
#
# Run as root in the system: sh presets.sh
set -eu

# Names of enabled instances of templates, one "TEMPLATE INSTANCE" a line.
instances() { # SCOPE
    find "/etc/systemd/$1" -type l -path '*.*/*' -name '*@?*.*' ! -lname /dev/null |
        sed -nE 's#.*/([^/@]+@)([^/]+)(\.[a-z]+)$#\1\3 \2#p' | sort -u
}

for scope in system user; do
    folder=/etc/systemd/$scope-preset
    mkdir -p "$folder"
    global=
    [ "$scope" = system ] || global=--global
    # Masked, static and generated units, and aliases, are no matter of presets.
    # Source: systemctl(1), "is-enabled".
    # shellcheck disable=SC2086 # empty, or one word
    systemctl --root=/ $global --no-legend --no-pager --full list-unit-files |
        awk '{ print $1, $2 }' >"$folder/states"
    {
        echo "# What each unit is in this image, or a first boot would change some of them."
        instances "$scope" | awk '
            { of[$1] = of[$1] " " $2 }
            END { for (name in of) print "enable " name of[name] }' | sort
        awk '$2 == "enabled" { print "enable", $1 }
            $2 ~ /^(disabled|enabled-runtime|indirect|linked)/ { print "disable", $1 }' "$folder/states"
    } >"$folder/new"
    rm "$folder/states"
    mv "$folder/new" "$folder/00-cube.preset"
done
