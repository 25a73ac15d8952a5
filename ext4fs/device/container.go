package device

import (
	"bytes"
	"context"
	"io"
)

// maxNesting is how many containers are undone one in another.
const maxNesting = 2

// container is a format that holds an image: what it looks like and how to
// get at the image.
type container struct {
	name  string
	match func(head []byte) bool
	// open of a compressed format decodes the stream once
	stream func(r *countingReader) (io.ReadCloser, error)
	// index of a format that can be read in place
	index func(d Device) (Device, error)
}

// headSize is what match gets to see, or less if the file is shorter.
const headSize = 64

var containers = []container{
	{name: "gzip", match: isGzip, stream: newGzip},
	{name: "zstd", match: isZstd, stream: newZstd},
	{name: "xz", match: isXz, stream: newXz},
	{name: androidFormat, match: isAndroidSparse, index: func(d Device) (Device, error) { return NewAndroidSparse(d) }},
}

// undo undoes containers until there is none. names tells which, the outermost
// first; closer, if not nil, frees what they took.
//
// An image that holds an ext file system is never taken for a container, even
// if its boot block begins like one. Past the deepest nesting the bytes are
// handed out as they are.
func undo(ctx context.Context, d Device, o *Options) (dev Device, names []string, closer io.Closer, err error) {
	for len(names) < maxNesting && !o.NoContainers {
		c := recognise(d)
		if c == nil {
			break
		}
		var inner Device
		if c.index != nil {
			inner, err = c.index(d)
		} else {
			var st *store
			if st, err = expand(ctx, d, c, o); err == nil {
				inner = st.device()
				// Only the last store is still read from: a stream is
				// decoded as a whole.
				if closer != nil {
					err = closer.Close()
				}
				closer = st
			}
		}
		if err != nil {
			if closer != nil {
				closer.Close()
			}
			return nil, nil, nil, err
		}
		names = append(names, c.name)
		d = inner
	}
	return d, names, closer, nil
}

// recognise finds the container that d is, nil if it is none.
func recognise(d Device) *container {
	head := make([]byte, min(headSize, max(d.Size(), 0)))
	n, _ := d.ReadAt(head, 0)
	head = head[:n]
	for i := range containers {
		if containers[i].match(head) {
			if rankExt(d, 0) == extFS {
				return nil
			}
			return &containers[i]
		}
	}
	return nil
}

func isGzip(b []byte) bool {
	// Deflate is the only method, and the upper flag bits are reserved.
	return len(b) >= 10 && b[0] == 0x1f && b[1] == 0x8b && b[2] == 8 && b[3]&0xe0 == 0
}

func isZstd(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	const frame, skippable = 0xfd2fb528, 0x184d2a50
	if m := le.Uint32(b); m != frame && m&^0xf != skippable {
		return false
	}
	return true
}

func isXz(b []byte) bool {
	return bytes.HasPrefix(b, xzMagic) && len(b) >= 12
}
