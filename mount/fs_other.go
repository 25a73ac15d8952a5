//go:build !linux && !windows

package mount

import (
	"github.com/e4kit/e4kit/ext4fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// newRaw answers nothing: the handler speaks the protocol as Linux does.
func newRaw(*ext4fs.FS, *Options) fuse.RawFileSystem { return fuse.NewDefaultRawFileSystem() }
