# awk -f svg.awk MACHINE ROWS: a chart of what has a limit: a bar is the share of the limit that is used. No script, and colours for
# light and dark.

BEGIN { FS = "\t"; labels = 400; scale = 260; step = 19; top = 62 }

NR == FNR { machine[$1] = $2; next }

$10 != "" && ($11 == "ok" || $11 == "over") {
	value = $7 == "" ? $5 : $7
	what[++n] = $2 ($3 == "" ? "" : " / " $3)
	share[n] = value > 0 ? value / $10 : 0
	over[n] = $11 == "over"
	figure[n] = $4 == "MiB" ? sprintf("%.0f of %s MiB", value, $10) : sprintf("%.2f of %s", value, $10)
}

function escaped(s) {
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	gsub(/>/, "\\&gt;", s)
	return s
}

# text at x, y of a class; anchor is start or end.
function text(x, y, class, s) {
	printf "<text x=\"%d\" y=\"%d\" class=\"%s\">%s</text>\n", x, y, class, escaped(s)
}

END {
	width = labels + scale * 1.5 + 120
	height = top + n * step + 16
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n", width, height, width, height
	print "<title>ctbox: share of each limit that is used</title>"
	print "<style>"
	print "text { font: 12px sans-serif; fill: #24292f }"
	print ".head { font-size: 14px; font-weight: bold }"
	print ".label { text-anchor: end }"
	print ".note { fill: #57606a }"
	print ".ok { fill: #2da44e } .over { fill: #cf222e }"
	print ".limit { stroke: #57606a; stroke-width: 1; stroke-dasharray: 3 3 }"
	print "@media (prefers-color-scheme: dark) {"
	print "text { fill: #e6edf3 } .note { fill: #9198a1 } .ok { fill: #3fb950 } .over { fill: #f85149 } .limit { stroke: #9198a1 }"
	print "}"
	print "</style>"
	text(10, 20, "head", "ctbox beside other tools: a bar is the share of a limit that is used, so shorter is better")
	text(10, 40, "note", machine["cpu"] ", " machine["cores"] " cores, " machine["kernel"] ", " machine["go"] ", " machine["date"])
	for (i = 1; i <= n; i++) {
		y = top + (i - 1) * step
		length_ = scale * (share[i] > 1.5 ? 1.5 : share[i])
		text(labels - 8, y + 11, "label", what[i])
		printf "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\" class=\"%s\"/>\n", labels, y, length_, step - 5, over[i] ? "over" : "ok"
		text(labels + (share[i] > 1 ? length_ : scale) + 8, y + 11, "note", figure[i])
	}
	printf "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" class=\"limit\"/>\n", labels + scale, labels + scale, top - 8, height - 10
	print "</svg>"
}
