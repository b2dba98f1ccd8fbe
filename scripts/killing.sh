# What the scripts that kill the command share. They set $1 (kills where their user names no number), $2 (their name) and the
# arguments of their user, and source it. Moves to a fresh folder, which goes at the end.
kills=${3:-$1}
seed=${SEED:-$(($(date +%s) % 100000))}
qaffe=${QAFFE:-$(dirname "$0")/../build/release/qaffe}
qaffe=$(realpath "$qaffe")
folder=$(mktemp -d "${TMPDIR:-/tmp}/$2-XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder"
round=0

# A number from 0 up to, not including, $1, for this round; the same sequence for the same seed.
random() {
  awk -v seed="$seed" -v round=$round -v below="$1" 'BEGIN { srand(seed * 1000 + round); print int(rand() * below) }'
}

# Kills process $1 at a random moment of $2 milliseconds, which it leaves in `pause`; false: it had ended already.
kill_within() {
  pause=$(random "$2")
  sleep "$(awk -v ms="$pause" 'BEGIN { printf "%.3f", ms / 1000 }')"
  killed=true
  kill -9 "$1" 2>/dev/null || killed=false
  wait "$1" 2>/dev/null || true
  $killed
}
