package testimages

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// copyPiece is the unit of [CopyFile]; a piece of zeros becomes a hole.
const copyPiece = 64 << 10

// CopyFile copies the file from to the new file to. Where the host knows
// holes they are skipped, and pieces of zeros are left out: image files are
// mostly empty.
func CopyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	if err := out.Truncate(fi.Size()); err != nil {
		return err
	}
	buf := make([]byte, copyPiece)
	for off := int64(0); off < fi.Size(); {
		at, more := nextData(in, off)
		if !more {
			break
		}
		off = at - at%copyPiece
		n, err := in.ReadAt(buf, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("copy %s: %w", from, err)
		}
		if !allZero(buf[:n]) {
			if _, err := out.WriteAt(buf[:n], off); err != nil {
				return err
			}
		}
		off += int64(len(buf))
	}
	if isTrusted(from) {
		trust(to)
	}
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
