package main

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/dsnet/golib/unitconv"
)

// parseSize reads an exact byte count: 512, 4k, 64M, 1GiB, 0x1000. All units
// are powers of 1024 but for those that end in plain B after a letter: 1kB is
// 1000 bytes.
func parseSize(s string) (int64, error) {
	i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X") {
		i = -1
	}
	digits, unit := s, ""
	if i >= 0 {
		digits, unit = s[:i], s[i:]
	}
	n, err := strconv.ParseUint(digits, 0, 63)
	if err != nil || digits != "0" && digits[0] == '0' && !strings.HasPrefix(strings.ToLower(digits), "0x") {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	factor, ok := sizeUnit(unit)
	if !ok {
		return 0, fmt.Errorf("%q is not a size: unknown unit %q", s, unit)
	}
	high, low := bits.Mul64(n, factor)
	if high != 0 || low > math.MaxInt64 {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return int64(low), nil
}

func sizeUnit(unit string) (factor uint64, ok bool) {
	if unit == "" || unit == "B" {
		return 1, true
	}
	power := strings.IndexByte("KMGTPE", strings.ToUpper(unit[:1])[0]) + 1
	if power == 0 {
		return 0, false
	}
	base := uint64(1024)
	switch unit[1:] {
	case "", "iB", "ib":
	case "B":
		base = 1000
	default:
		return 0, false
	}
	factor = 1
	for range power {
		factor *= base
	}
	return factor, true
}

// humanSize is what ls -h and du -h print: three significant places, rounded
// up, with a unit of one letter.
func humanSize(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10)
	}
	const units = "KMGTPE"
	power, unit := 0, int64(1)
	for n/unit >= 1024 {
		unit *= 1024
		power++
	}
	if tenths := ceilDiv(n, unit, 10); tenths < 100 {
		return fmt.Sprintf("%d.%d%c", tenths/10, tenths%10, units[power-1])
	}
	whole := ceilDiv(n, unit, 1)
	if whole >= 1024 && power < len(units) {
		return fmt.Sprintf("1.0%c", units[power])
	}
	return fmt.Sprintf("%d%c", whole, units[power-1])
}

// ceilDiv is n*scale/unit rounded up.
func ceilDiv(n, unit, scale int64) int64 {
	high, low := bits.Mul64(uint64(n), uint64(scale))
	quotient, rest := bits.Div64(high, low, uint64(unit))
	if rest > 0 {
		quotient++
	}
	return int64(quotient)
}

// niceSize is for prose: "1.5GiB".
func niceSize(n int64) string {
	return unitconv.FormatPrefix(float64(n), unitconv.IEC, precision(n)) + "B"
}

func precision(n int64) int {
	if n < 1024 {
		return 0
	}
	return 1
}
