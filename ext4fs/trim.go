package ext4fs

import (
	"context"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Trim gives free blocks in [off, off+length) bytes of the file system back to
// the device, in runs of minLen bytes or more, and returns how many bytes they
// have. Groups where nothing was freed since they were trimmed are left out.
// ErrNotSupported: the device cannot do that. ErrInvalid: the range begins
// beyond the end, or minLen is more than a group has.
func (f *FS) Trim(ctx context.Context, off, length, minLen uint64) (uint64, error) {
	if err := f.mayChange(); err != nil {
		return 0, err
	}
	d, ok := f.live.dev.(device.Discarder)
	if !ok {
		return 0, fmt.Errorf("trim: %w", ErrNotSupported)
	}
	bs, shift := uint64(f.BlockSize()), f.blockShift()
	from := off >> shift
	group := uint64(f.super.BlocksPerGroup)
	if from >= f.super.Blocks() || length < bs || minLen>>shift > group {
		return 0, fmt.Errorf("trim of %d bytes at %d, runs of %d: %w", length, off, minLen, ErrInvalid)
	}
	n := min(length>>shift, f.super.Blocks()-from)
	// What was freed is free after its commit only.
	if err := f.commitNow(); err != nil {
		return 0, err
	}
	sum, err := f.live.alloc.Trim(ctx, disk.BlockNum(from), disk.BlockNum(from+n), max(minLen>>shift, 1),
		func(bn disk.BlockNum, n uint64) error { return d.Discard(int64(bn)<<shift, int64(n)<<shift) })
	return sum << shift, err
}
