# Of lines "COMMAND NANOSECONDS KIB", prints for commands 1 and 2: median seconds of each, the median ratio and its quartiles, MiB, rounds.

{ time[$1, ++n[$1]] = $2 / 1e9; if ($3 > kib[$1]) kib[$1] = $3 }

# sorted: puts the first n of a in order; n is small.
function sorted(a, n,   i, j, x) {
	for (i = 2; i <= n; i++) {
		x = a[i]
		for (j = i - 1; j >= 1 && a[j] > x; j--) a[j + 1] = a[j]
		a[j + 1] = x
	}
}

# quantile: of n values in order, between two of them in proportion.
function quantile(a, n, q,   at, low) {
	at = 1 + q * (n - 1)
	low = int(at)
	return low >= n ? a[n] : a[low] + (at - low) * (a[low + 1] - a[low])
}

END {
	for (i = 1; i <= n[1]; i++) {
		ours[i] = time[1, i]
		theirs[i] = time[2, i]
		ratio[i] = ours[i] / theirs[i]
	}
	sorted(ours, n[1])
	sorted(theirs, n[1])
	sorted(ratio, n[1])
	printf "%.6f %.6f", quantile(ours, n[1], 0.5), quantile(theirs, n[1], 0.5)
	printf " %.4f %.4f %.4f", quantile(ratio, n[1], 0.5), quantile(ratio, n[1], 0.25), quantile(ratio, n[1], 0.75)
	printf " %.1f %.1f %d\n", kib[1] / 1024, kib[2] / 1024, n[1]
}
