# awk -f readme.awk MACHINE ROWS README.md: the last, with what stands between its two marks made anew.

BEGIN { FS = "\t" }

FNR == 1 { file++ }
file == 1 { machine[$1] = $2; next }
file == 2 {
	row[++n] = $0
	if (!($1 in most) || $10 != "" && $5 / $10 > share[$1]) { # of memory, the chart has all
		most[$1] = n
		share[$1] = $10 == "" ? 0 : $5 / $10
	}
	next
}

/^<!-- bench: begin/ { print; results(); inside = 1 }
/^<!-- bench: end/ { inside = 0 }
!inside

function results(   i, f) {
	printf "Measured on %s at commit %s: %s, %s cores, %s, %s, %s; load %s at the start.", machine["date"], machine["commit"], machine["cpu"], machine["cores"],
		machine["memory"], machine["kernel"], machine["go"], machine["load"]
	print " Medians of times; the median ratio, and its quartiles.\n"
	print "| what | against | ours | theirs | ratio | limit | peak MiB, ours / theirs |"
	print "|---|---|---:|---:|---:|---:|---:|"
	for (i = 1; i <= n; i++) {
		split(row[i], f, FS)
		if (f[10] == "" && f[11] != "failed") continue
		if (f[1] ~ /^memory/ && i != most[f[1]]) continue
		line(f)
	}
	print ""
}

function line(f) {
	gsub(/</, "\\&lt;", f[2])
	gsub(/>/, "\\&gt;", f[2])
	gsub(/>/, "\\&gt;", f[3])
	if (f[11] == "skipped" || f[11] == "failed") {
		printf "| %s | %s | | | %s | %s | |\n", f[2], f[3], f[11] ": " f[15], f[10]
		return
	}
	printf "| %s | %s | %s | %s | %s | %s | %s |\n", f[2], f[3], amount(f[5], f[4]), amount(f[6], f[4]),
		f[7] == "" ? "" : bold(sprintf("%.2f", f[7]), f) (f[8] == "" ? "" : sprintf(" (%.2f-%.2f)", f[8], f[9])), f[4] == "MiB" ? bold(f[10] " MiB", f) : f[10], f[13] == "" ? f[12] : f[12] " / " f[13]
	if (f[11] == "over" && f[15] != "") printf "| | *not reached*: %s | | | | | |\n", f[15]
}

# bold: a limit that is broken is to be seen.
function bold(s, f) { return f[11] == "over" ? "**" s "**" : s }

function amount(x, unit) {
	if (x == "") return ""
	if (unit == "s") return x < 0.1 ? sprintf("%.2f ms", x * 1000) : sprintf("%.2f s", x)
	if (unit == "bytes") return sprintf("%.0f kB", x / 1e3)
	return unit == "exponent" ? sprintf("n^%.2f", x) : x " " unit
}
