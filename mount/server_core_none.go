//go:build windows || (linux && 386)

package mount

import "github.com/e4kit/e4kit/ext4fs"

// core is empty where go-fuse does not build.
type core struct{}

func newCore(*ext4fs.FS, *Options) core { return core{} }

func (*core) describe(*Stats) {}
