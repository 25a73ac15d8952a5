package testimages

// Fill says what [FillTree] may use. The zero value fits any file system the
// kernel mounts.
type Fill struct {
	// BlockSize places data around the boundaries of blocks and of indirect
	// maps; 0 means 4096.
	BlockSize int64
	// BigXattr is the length of the longest attribute value to set. 0 means
	// what fits into a block beside others.
	BigXattr int
	// Portable leaves out what does not survive a trip through mke2fs -d or
	// a tmpfs: unwritten extents, inode flags, times that mke2fs cannot store.
	Portable bool
	// Names is how many files the folder of many names holds; 0 means 300.
	Names int
	// Plain leaves out what sets a feature bit of its own: attributes and
	// files above 2 GiB.
	Plain bool
	// Project sets project ids, which needs the project feature.
	Project bool
}

func (o Fill) withDefaults() Fill {
	if o.BlockSize == 0 {
		o.BlockSize = 4096
	}
	if o.BigXattr == 0 {
		o.BigXattr = int(o.BlockSize) / 2
	}
	if o.Names == 0 {
		o.Names = 300
	}
	return o
}

// Content returns n bytes that depend on seed only and hold no long runs of
// zeros, so that each file has its own digest and no block of it looks empty.
func Content(seed uint64, n int) []byte {
	b := make([]byte, n)
	x := seed*0x9e3779b97f4a7c15 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x>>32) | 1
	}
	return b
}
