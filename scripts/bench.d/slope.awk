# Of lines "COMMAND NANOSECONDS KIB", where command 1 has a hundredth of the records, 2 a tenth and 3 all of them: the exponent that fits
# their shortest times best, and these.

{ t = $2 / 1e9; if (!($1 in least) || t < least[$1]) least[$1] = t }

END {
	for (i = 1; i <= 3; i++) {
		x[i] = i * log(10)
		y[i] = log(least[i])
		mx += x[i] / 3
		my += y[i] / 3
	}
	for (i = 1; i <= 3; i++) {
		above += (x[i] - mx) * (y[i] - my)
		below += (x[i] - mx) ^ 2
	}
	printf "%.3f", above / below
	printf " %.4f, %.4f, %.4f s for %d, %d, %d\n", least[1], least[2], least[3], records / 100, records / 10, records
}
