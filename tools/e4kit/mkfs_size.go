package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs/format"
)

// mkfsSize reads SIZE and --free.
func (e *env) mkfsSize(c *cli.Context, o *mkfsOptions) error {
	f := &o.format
	switch o.size {
	case "":
	case "auto":
		f.Size = format.SizeAuto
	case "min":
		f.Size = format.SizeMin
	default:
		n, err := parseFSSize(o.size, f.BlockSize)
		if err != nil {
			return e.usagef("SIZE: %v", err)
		}
		f.Size = n
	}
	if !c.IsSet("free") {
		return nil
	}
	if o.size != "auto" && o.size != "" {
		return e.usagef("--free goes with SIZE auto")
	}
	f.Size = format.SizeAuto
	text := c.String("free")
	if number, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := strconv.ParseFloat(number, 64)
		if err != nil || !(percent >= 0 && percent < 100) {
			return e.usagef("--free %s: want a percentage below 100", text)
		}
		f.FreePercent = percent
		return nil
	}
	n, err := parseSize(text)
	if err != nil {
		return e.usagef("--free: %v", err)
	}
	f.Free = n
	return nil
}

// parseFSSize reads the size of a file system as mke2fs does: without a unit in
// KiB, or in blocks if their size was given; s is a sector of 512 bytes.
func parseFSSize(text string, blockSize int) (int64, error) {
	unit := int64(1024)
	if blockSize != 0 {
		unit = int64(blockSize)
	}
	digits := text
	if last := len(text) - 1; last > 0 && (text[last] == 's' || text[last] == 'S') {
		digits, unit = text[:last], 512
	}
	u, err := strconv.ParseUint(digits, 10, 63)
	n := int64(u)
	if err != nil {
		if digits != text {
			return 0, fmt.Errorf("%q is not a size", text)
		}
		if n, err = parseSize(text); err != nil {
			return 0, err
		}
		unit = 1
	}
	switch {
	case n <= 0:
		return 0, fmt.Errorf("%q is not a size", text)
	case n > math.MaxInt64/unit:
		return 0, fmt.Errorf("%q is too large", text)
	}
	return n * unit, nil
}
