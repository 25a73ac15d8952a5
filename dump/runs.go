package dump

import "math/bits"

// clearRuns calls yield for every run of clear bits among the first n bits of
// b, lowest bit first. It works by words of 64 bits: a large image has many
// bitmaps, and most of their words are all of a kind.
func clearRuns(b []byte, n int, yield func(first, length int)) {
	start := -1
	n = min(n, 8*len(b))
	for at := 0; at < n; at += 64 {
		word := wordAt(b, at, n)
		switch {
		case word == 0:
			if start < 0 {
				start = at
			}
			continue
		case word == ^uint64(0):
			if start >= 0 {
				yield(start, at-start)
				start = -1
			}
			continue
		}
		for in := 0; in < 64; {
			rest := word >> in
			if start < 0 {
				// Ones shifted in from above are not there: look for a zero
				// among the bits that are left.
				in += bits.TrailingZeros64(^rest)
				if in < 64 {
					start = at + in
				}
				continue
			}
			if rest == 0 {
				break
			}
			in += bits.TrailingZeros64(rest)
			yield(start, at+in-start)
			start = -1
		}
	}
	if start >= 0 {
		yield(start, n-start)
	}
}

// wordAt is the 64 bits from bit at on; those from bit n on read as set.
func wordAt(b []byte, at, n int) uint64 {
	i := at >> 3
	var w uint64
	if len(b)-i >= 8 {
		w = le.Uint64(b[i:])
	} else {
		w = ^uint64(0)
		for k, c := range b[i:] {
			w &^= uint64(^c) << (8 * k)
		}
	}
	if n-at < 64 {
		w |= ^uint64(0) << (n - at)
	}
	return w
}
