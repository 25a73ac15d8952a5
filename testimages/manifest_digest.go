package testimages

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	sparseLimit = 64 << 20 // above this size only the data is digested
	sparseChunk = 1024
	inlineXattr = 32  // longest xattr value shown in full
	inlineLink  = 512 // longest escaped link target shown in full
)

// digestFile returns the DATA field of a regular file of the given size.
func digestFile(f *os.File, size int64) (string, error) {
	if size > sparseLimit {
		return digestSparse(f, size)
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", err
	}
	if n != size {
		return "", fmt.Errorf("read %d of %d bytes", n, size)
	}
	return "sha256:" + hexSum(h), nil
}

func digestSparse(f *os.File, size int64) (string, error) {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for off := int64(0); off < size; {
		at, more := nextData(f, off)
		if !more {
			break
		}
		off = at - at%sparseChunk
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if err != nil && err != io.EOF {
			return "", err
		}
		if n == 0 {
			return "", io.ErrUnexpectedEOF
		}
		addChunks(h, off, buf[:n])
		off += int64(n)
	}
	return "sparse256:" + hexSum(h), nil
}

// addChunks feeds the chunks of b, which lies at off, that are not all zero.
func addChunks(h hash.Hash, off int64, b []byte) {
	var rec [8 + sparseChunk]byte
	for i := 0; i < len(b); i += sparseChunk {
		c := b[i:min(i+sparseChunk, len(b))]
		if allZero(c) {
			continue
		}
		binary.LittleEndian.PutUint64(rec[:], uint64(off)+uint64(i))
		clear(rec[8+copy(rec[8:], c):])
		h.Write(rec[:])
	}
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// linkField returns the DATA field of a symlink.
func linkField(target string) string {
	e := escape(target)
	switch {
	case len(e) > inlineLink:
		return fmt.Sprintf("%d:sha256:%x", len(target), sha256.Sum256([]byte(target)))
	case e == "-":
		return `\x2d`
	case e == "":
		return "-"
	}
	return e
}

// xattr is one extended attribute as the system calls give it.
type xattr struct {
	name  string
	value []byte
}

// xattrField returns the XATTRS field.
func xattrField(attrs []xattr) string {
	if len(attrs) == 0 {
		return "-"
	}
	items := make([]string, len(attrs))
	for i, a := range attrs {
		name := strings.NewReplacer(",", `\x2c`, "=", `\x3d`).Replace(escape(a.name))
		if len(a.value) <= inlineXattr {
			items[i] = fmt.Sprintf("%s=0x%x", name, a.value)
		} else {
			items[i] = fmt.Sprintf("%s=%d:sha256:%x", name, len(a.value), sha256.Sum256(a.value))
		}
	}
	slices.Sort(items)
	return strings.Join(items, ",")
}
