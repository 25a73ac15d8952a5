package device

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// OverlayCommitOptions say how to commit an overlay.
type OverlayCommitOptions struct {
	// Keep leaves the overlay above the changed base, ready for more; without
	// it the file says afterwards that it is committed, and can be removed.
	Keep bool
	// Progress is told how many bytes of all are written, after each piece.
	Progress func(done, total int64)
}

// CommitOverlay writes what the overlay file at path holds to base, the image
// for which it was made, open for writing. What is interrupted, by ctx, an error
// or a crash, is completed by doing it again: until then the image is neither
// the old nor the new one, and the overlay is refused by OpenOverlay. The
// superblock goes last. It returns how many bytes it wrote; none when all of it
// was in the base before.
//
// The errors are those of OpenOverlay and of the base.
func CommitOverlay(ctx context.Context, path string, base Writer, opt OverlayCommitOptions) (int64, error) {
	f, _, err := overlayOpenFile(path, false)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size, err := overlayCut(f, st.Size())
	if err == nil && size == base.Size() && st.Size() < overlayData(size)+size {
		err = &FormatError{Format: overlayFormat, Offset: st.Size(), Detail: "the file is cut off"}
	}
	if err != nil {
		return 0, overlayPathError(path, err)
	}
	n, err := commitOverlay(ctx, newHostWriter(f, st.Size(), 0), path, base, opt)
	if err != nil {
		return n, overlayPathError(path, err)
	}
	return n, nil
}

// commitOverlay is CommitOverlay of what lies in store.
func commitOverlay(ctx context.Context, store Writer, path string, base Writer, opt OverlayCommitOptions) (int64, error) {
	o, err := loadOverlay(store, path, base)
	if err != nil {
		return 0, err
	}
	if o.frame.sequence == 0 {
		return 0, &FormatError{Format: overlayFormat, Detail: "this is no overlay file"}
	}
	if o.head.state == overlayCommitted {
		return 0, nil
	}
	now, err := identify(base)
	if err != nil {
		return 0, err
	}
	if o.head.state == overlayCommitting {
		err = o.resumes(&now)
	} else {
		err = o.head.compare(path, &now)
	}
	if err != nil {
		return 0, err
	}
	if err := o.setState(overlayCommitting); err != nil {
		return 0, err
	}
	n, err := o.apply(ctx, base, opt.Progress)
	if err != nil {
		return n, err
	}
	if !opt.Keep {
		return n, o.setState(overlayCommitted)
	}
	if o.head, err = identify(base); err != nil {
		return n, err
	}
	return n, o.setState(overlayClean)
}

// resumes checks that a base is the one in which a commit was interrupted. It
// has the old superblock, or, sector by sector, that or the new one.
func (o *OverlayFile) resumes(now *overlayHeader) error {
	want := o.head.super
	if o.has(0) && o.size >= superOffset+superSize {
		if n, err := o.store.ReadAt(want[:], o.data+superOffset); n < superSize {
			return unexpected(err)
		}
	}
	const sector = 512
	for at := 0; at < superSize; at += sector {
		part := now.super[at : at+sector]
		if !bytes.Equal(part, want[at:at+sector]) && !bytes.Equal(part, o.head.super[at:at+sector]) {
			return &OverlayBaseError{o.path, "it is not the one to which the overlay was being written" + superNames(o.head.super[:], now.super[:])}
		}
	}
	return nil
}

// overlayCopy is how much is copied at once.
const overlayCopy = 1 << 20

// apply writes everything to the base, durably, the first chunk at last.
func (o *OverlayFile) apply(ctx context.Context, base Writer, progress func(done, total int64)) (int64, error) {
	buf := make([]byte, overlayCopy)
	done := int64(0)
	for off := int64(overlayChunk); off < o.size; {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		if p := o.pages[off/overlayChunk/overlayBits].Load(); p == nil {
			const span = overlayBits * overlayChunk
			off = (off/span + 1) * span
			continue
		}
		n, own := o.run(off, min(o.size-off, overlayCopy))
		if own {
			if err := o.applyRange(base, buf[:n], off); err != nil {
				return done, err
			}
			done += n
			if progress != nil {
				progress(done, o.Written())
			}
		}
		off += n
	}
	if err := base.Sync(); err != nil {
		return done, err
	}
	if !o.has(0) {
		return done, nil
	}
	first := min(o.size, overlayChunk)
	if err := o.applyRange(base, buf[:first], 0); err != nil {
		return done, err
	}
	return done + first, base.Sync()
}

// applyRange copies one piece; zeros become a hole where the base can.
func (o *OverlayFile) applyRange(base Writer, b []byte, off int64) error {
	if n, err := o.store.ReadAt(b, o.data+off); n < len(b) {
		return fmt.Errorf("read %d bytes of the overlay: %w", len(b), unexpected(err))
	}
	if allZero(b) {
		return Zero(base, off, int64(len(b)))
	}
	n, err := base.WriteAt(b, off)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
