package format

import (
	"slices"
	"strings"
)

// usageType is what one stanza of mke2fs.conf says; zero is no opinion.
type usageType struct {
	blockSize  int // bytes; -1 is the page size
	inodeRatio int64
	inodeSize  int
}

// usageTypes are the stanzas of mke2fs.conf. "default" is empty there.
var usageTypes = map[string]usageType{
	"default":    {},
	"floppy":     {blockSize: 1024, inodeRatio: 8192},
	"small":      {blockSize: 1024, inodeRatio: 4096},
	"big":        {inodeRatio: 32768},
	"huge":       {inodeRatio: 65536},
	"news":       {inodeRatio: 4096},
	"largefile":  {inodeRatio: 1 << 20, blockSize: -1},
	"largefile4": {inodeRatio: 4 << 20, blockSize: -1},
	"hurd":       {blockSize: 4096, inodeSize: 128},
}

// usageDefaults is the stanza [defaults].
var usageDefaults = usageType{blockSize: 4096, inodeRatio: 16384, inodeSize: 256}

// defaultPage is the page size that largefile stands for: images are the same
// whatever machine makes them.
const defaultPage = 4096

// sizeUsage is the usage type of a file system of this size in bytes.
func sizeUsage(size int64) string {
	switch {
	case size < 3<<20:
		return "floppy"
	case size < 512<<20:
		return "small"
	case size < 4<<40:
		return "default"
	case size < 16<<40:
		return "big"
	}
	return "huge"
}

// UsageTypes are the names that Options.Usage takes, sorted.
func UsageTypes() []string {
	names := make([]string, 0, len(usageTypes))
	for name := range usageTypes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// resolveUsage finds the defaults for a size in bytes. The last of the types
// that has an opinion counts.
func (o *Options) resolveUsage(size int64) (usageType, error) {
	u := usageDefaults
	names := slices.Clone(o.Usage)
	if len(names) == 0 {
		names = []string{sizeUsage(size)}
	}
	if o.hurd() {
		names = append(names, "hurd")
	}
	for _, name := range names {
		t, ok := usageTypes[name]
		if !ok {
			return u, bad("usage type", name, "unknown; there are %s", strings.Join(UsageTypes(), ", "))
		}
		if t.blockSize != 0 {
			u.blockSize = t.blockSize
		}
		if t.inodeRatio != 0 {
			u.inodeRatio = t.inodeRatio
		}
		if t.inodeSize != 0 {
			u.inodeSize = t.inodeSize
		}
	}
	if u.blockSize < 0 {
		u.blockSize = defaultPage
	}
	return u, nil
}
