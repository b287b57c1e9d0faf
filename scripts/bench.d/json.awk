# awk -f json.awk MACHINE ROWS: both as one JSON object, keys as in lib.sh. What was not measured is left out.

BEGIN {
	FS = "\t"
	split("measurement what against unit ours theirs ratio low high limit verdict mib theirs_mib rounds note", keys, " ")
	numbers = " ours theirs ratio low high limit mib theirs_mib rounds "
}

function quoted(s) {
	gsub(/\\/, "\\\\", s)
	gsub(/"/, "\\\"", s)
	gsub(/[[:cntrl:]]/, " ", s)
	return "\"" s "\""
}

NR == 1 { print "{\n  \"machine\": {" }

NR == FNR {
	printf "%s    %s: %s", NR == 1 ? "" : ",\n", quoted($1), quoted($2)
	next
}

{
	printf "%s    {", FNR == 1 ? "\n  },\n  \"results\": [\n" : ",\n"
	for (i = 1; i <= 15; i++) {
		if ($i == "") continue
		printf "%s%s: %s", i == 1 ? "" : ", ", quoted(keys[i]), index(numbers, " " keys[i] " ") ? $i : quoted($i)
	}
	printf "}"
}

END { print "\n  ]\n}" }
