# Prints rows of scripts/bench for people; with -v heading=1, what stands over them.

BEGIN {
	FS = "\t"
	line = "%-56s %10s %10s %6s %11s %6s  %-7s %11s %3s\n"
	if (heading) {
		printf line, "", "ours", "theirs", "ratio", "quartiles", "limit", "", "peak MiB", "n"
		exit
	}
}

# amount: seconds with three digits that count, or a plain number.
function amount(x, unit) {
	if (x == "") return ""
	if (unit == "s") return x < 0.1 ? sprintf("%.2f ms", x * 1000) : sprintf("%.3f s", x)
	return unit == "bytes" ? x : sprintf("%s %s", x, unit)
}

{
	name = $2 ($3 == "" ? "" : " / " $3)
	if ($11 == "skipped" || $11 == "failed") {
		printf "%-56s %s: %s\n", name, $11, $15
		next
	}
	verdict = $11 == "over" ? "TOO MUCH" : $11 == "none" ? "" : $11
	ratio = $7 == "" ? "" : sprintf("%.3f", $7)
	quartiles = $8 == "" ? "" : sprintf("%.3f-%.3f", $8, $9)
	printf line, name, amount($5, $4), amount($6, $4), ratio, quartiles, $10, verdict, $13 == "" ? $12 : $12 "/" $13, $14
	if ($15 != "" && (verdict == "TOO MUCH" || $4 != "s")) printf "    %s\n", $15
}
