package format

import (
	"context"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Bounds of the MMP update interval, in seconds.
const (
	mmpInterval    = 5
	mmpMaxInterval = 300
	mmpMinCheck    = 5
)

// writeMMP writes the block of multiple mount protection: nobody has the file
// system. It says nothing of the machine that made it.
func (m *image) writeMMP(ctx context.Context) error {
	sb := &m.p.sb
	if m.p.mmp == 0 {
		return nil
	}
	b := make([]byte, sb.BlockSize())
	r := disk.MMP{Magic: disk.MMPMagic, Seq: disk.MMPClean, Time: sb.MkfsTime, CheckInterval: max(sb.MMPInterval, mmpMinCheck)}
	r.Encode(b)
	if sb.HasMetadataCsum() {
		disk.SealMMP(sb.Seed(), b)
	}
	return m.write(ctx, m.p.mmp, b)
}
