package alloc

import "github.com/e4kit/e4kit/ext4fs/disk"

// System reports whether one of n blocks from bn on holds the file system's own
// structures, or is one of Config.Zones: no file can have it, whatever its map
// says.
func (a *Allocator) System(bn disk.BlockNum, n uint64) bool {
	_, ok := a.inZone(bn, n)
	return ok
}
