# docker_start.sh FOLDER STEP...: in namespaces of its own, run the Docker daemon of FOLDER/root.
# A step is "start CONFIG [FLAG...]", which prints "starts" or why not, or a command of docker.
folder=$1
shift
mount -t proc proc /proc && mount -t tmpfs none /run && ip link set lo up || exit
export PATH="$folder/root/usr/bin:$folder/root/usr/sbin:$PATH" DOCKER_HOST=unix:///run/d.sock
mkdir -p "$folder/data" && mount -t tmpfs none "$folder/data" || exit
containerd --root "$folder/data/c" --state /run/c --address /run/c.sock >/run/containerd.log 2>&1 &
for _ in $(seq 300); do if [ -S /run/c.sock ]; then break; fi; sleep 0.2; done
daemon=
start() {
    if [ -n "$daemon" ]; then kill "$daemon" 2>/dev/null; wait "$daemon"; fi
    config=$1
    shift
    : >/run/log
    dockerd --config-file "$config" --containerd /run/c.sock --data-root "$folder/data/d" \
        --exec-root /run/d --pidfile /run/d.pid --iptables=false --bridge=none \
        --storage-driver=vfs --host "$DOCKER_HOST" "$@" >/run/log 2>&1 &
    daemon=$!
    for _ in $(seq 600); do
        if grep -q 'API listen' /run/log; then echo starts; return; fi
        if ! kill -0 "$daemon" 2>/dev/null; then tail -n 1 /run/log; return; fi
        sleep 0.2
    done
    echo 'no end'
}
for step in "$@"; do
    $step 2>&1
done
