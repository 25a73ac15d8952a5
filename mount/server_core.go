//go:build !windows && !(linux && 386)

package mount

import (
	"github.com/e4kit/e4kit/ext4fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// core is what a Server needs go-fuse for, which does not build everywhere.
type core struct {
	raw fuse.RawFileSystem // answers the operations
}

func newCore(fsys *ext4fs.FS, o *Options) core { return core{raw: newRaw(fsys, o)} }

// censused is a handler that counts what the kernel holds of it.
type censused interface{ Census() (nodes, handles int) }

// describe adds what the handler knows.
func (c *core) describe(st *Stats) {
	if h, ok := c.raw.(censused); ok {
		st.Nodes, st.OpenFiles = h.Census()
	}
}
