package device

import (
	"context"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// OverlayOn is OpenOverlay of what lies in w.
func OverlayOn(w Writer, base Device) (*OverlayFile, error) { return newOverlayFile(w, "test", base) }

// CommitOverlayOn is CommitOverlay of what lies in w.
func CommitOverlayOn(ctx context.Context, w, base Writer, o OverlayCommitOptions) (int64, error) {
	return commitOverlay(ctx, w, "test", base, o)
}

// OverlayStoreSize is the size of an overlay file above so many bytes.
func OverlayStoreSize(size int64) int64 {
	return overlayData(size) + (size+overlayChunk-1)/overlayChunk*overlayChunk
}

// OverlaySpan is how many bytes a page of the index speaks of.
const OverlaySpan = overlayBits * overlayChunk

// SealOverlay makes the checksums of the frames at the start of b right, and
// the numbers that every reader checks first.
func SealOverlay(b []byte) {
	for at := 0; at+overlayPage <= len(b) && at < 4*overlayPage; at += overlayPage {
		p := b[at : at+overlayPage]
		if allZero(p) {
			continue
		}
		le.PutUint32(p[8:], uint32(at/overlayPage/2))
		le.PutUint32(p[12:], 0)
		le.PutUint32(p[12:], disk.Sum(^uint32(0), p))
	}
}
