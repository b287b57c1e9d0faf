# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with scripts/bench and its other parts
# Timing, comparing and recording, for scripts/bench.
#
# $tmp/rows has a line for each result, of fields between tabs: measurement, what, against, unit, ours, theirs, ratio, its lower and
# upper quartile, limit, verdict (ok, over, none, skipped, failed), peak MiB of ours and of theirs, rounds, note.

tab=$(printf '\t')

# machine: what the results depend on, as "key TAB value".
machine() {
	printf 'date\t%s\n' "$(date -u +%Y-%m-%d)"
	printf 'cpu\t%s\n' "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | sed -n 1p)"
	printf 'cores\t%s\n' "$(nproc)"
	printf 'memory\t%s GiB\n' "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)"
	printf 'kernel\t%s %s\n' "$(uname -s)" "$(uname -r | sed 's/[^0-9.].*//')"
	printf 'go\t%s\n' "$(go env GOVERSION)"
	printf 'commit\t%s\n' "$(git -C "$source" describe --always --dirty 2>/dev/null || echo unknown)"
	printf 'load\t%s\n' "$(cut -d ' ' -f 1 /proc/loadavg)"
	printf 'records\t%s\n' "$records"
}

# row WHAT AGAINST LIMIT: what the next result is of. AGAINST and LIMIT may be empty. After it, reason=TEXT says
# why the limit may not be reached; with daemon=1 the peak of memory is not shown, as it would be that of clients.
row() { what=$1 against=$2 limit=$3 unit=s reason='' daemon=''; }

# needs PROGRAM...: ends the measurement where one is missing.
needs() {
	for program; do
		command -v "$program" >/dev/null || skip "$program is not installed"
	done
}

# skip REASON: ends the measurement with a row that says why.
skip() {
	record '' '' '' '' '' skipped '' '' '' "$1"
	exit 0
}

# failed STATUS: $measurement did not come to its end.
failed() {
	row "$measurement" '' ''
	record '' '' '' '' '' failed '' '' '' "status $1"
}

# record OURS THEIRS RATIO LOW HIGH VERDICT MIB MIB ROUNDS NOTE: adds to the rows, and prints.
record() {
	printf '%s\t' "$measurement" "$what" "$against" "$unit" "$1" "$2" "$3" "$4" "$5" "$limit" "$6" "$7" "$8" "$9" >>"$tmp/rows"
	shift 9
	printf '%s\n' "$1" >>"$tmp/rows"
	tail -n 1 "$tmp/rows" | awk -f "$parts/table.awk"
}

heading() { awk -f "$parts/table.awk" -v heading=1; }

# timed ROUNDS COMMAND...: runs each text with sh, in turn, after one run of each for nothing, if ROUNDS is 5 or more. Their times are
# in $tmp/times, what they wrote last is in $tmp/out.1 and so on. With $BEFORE, that is run before each, and not counted.
timed() {
	rounds=${ROUNDS:-$1} warmups=$(($1 >= 5))
	shift
	for text; do
		shift
		set -- "$@" -- sh -euc "$text"
	done
	timer "$rounds" "$warmups" "$tmp/out" "$@" >"$tmp/times"
}

# verdict: records medians and the ratio of the last two that were timed. The ratio is the median of all rounds' ratios, because what
# disturbs a round disturbs both sides.
verdict() {
	stats=$(awk -f "$parts/stats.awk" "$tmp/times")
	# shellcheck disable=SC2086 # words
	set -- $stats
	test -z "$daemon" || set -- "$1" "$2" "$3" "$4" "$5" '' '' "$8"
	record "$1" "$2" "$3" "$4" "$5" "$(judge "$3")" "$6" "$7" "$8" "$reason"
}

# judge VALUE: the verdict on a value.
judge() {
	awk -v value="$1" -v limit="$limit" 'BEGIN { print limit == "" ? "none" : value <= limit + 0 ? "ok" : "over" }'
}

# sizes OURS THEIRS: records a ratio of bytes.
sizes() {
	unit=bytes
	set -- "$1" "$2" "$(awk -v ours="$1" -v theirs="$2" 'BEGIN { printf "%.4f", ours / theirs }')"
	record "$1" "$2" "$3" '' '' "$(judge "$3")" '' '' 1 "$reason"
}

# same: what both printed last must be equal, or the comparison is of different work.
same() { cmp "$tmp/out.1" "$tmp/out.2"; }

# peak WHAT LIMIT COMMAND: runs a command once, and holds its peak of resident memory against LIMIT MiB.
peak() {
	row "$1" '' "$2"
	unit=MiB
	timer 1 0 "$tmp/out" -- sh -euc "exec $3" >"$tmp/times"
	set -- "$(awk '{ printf "%.1f %.1f", $3 / 1024, $2 / 1e9 }' "$tmp/times")"
	record "${1% *}" '' '' '' '' "$(judge "${1% *}")" "${1% *}" '' 1 "${1#* } s"
}
